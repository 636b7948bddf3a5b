import { question, type CostRow, type ShareRow } from "../api";
import { rangeOf, seriesOf, TimeChart } from "../chart";
import { axisMillis, capital, count, millis, percent } from "../format";
import { useAsk, useQuery, useSession, useTick, useWindow } from "../hooks";
import { Answer, Card, Choice, Dot, Share, Table, Tile } from "../ui";
import { usePoolColors } from "./overview";

type Rows<T> = { rows: T[] };

export function Performance() {
  const w = useWindow(useTick(30));
  const { query, set } = useQuery();
  const { tenant } = useSession();
  const color = usePoolColors();
  const by = query.get("by") ?? "pool";
  const total = useAsk<Rows<CostRow>>(question("cost", w, {}), w.key);
  const all = useAsk<Rows<CostRow>>(question("cost", w, { by: [w.unit], limit: 5000 }), w.key);
  const split = useAsk<Rows<CostRow>>(question("cost", w, { by: [w.unit, by], limit: 10_000 }), w.key);
  const table = useAsk<Rows<CostRow>>(question("cost", w, { by: [by], limit: 200 }), w.key);
  const shares = useAsk<Rows<ShareRow>>(tenant ? null : question("shares", w), w.key);
  const ended = (r: CostRow) => r.succeeded + r.failed;
  return (
    <>
      <Answer of={total} height={96}>
        {({ rows: [t] }) => t ? (
          <div className="tiles">
            <Tile label="Attempts" value={count(t.attempts)} note={`${count(t.failed)} failed`} />
            <Tile label="Success" value={percent(ended(t) ? t.succeeded / ended(t) : -1, 2)} tone={!ended(t) ? undefined : t.succeeded / ended(t) < 0.95 ? "warn" : "good"} note="of attempts that were not cancelled" />
            <Tile label="Latency p50" value={millis(t.latency_ms.p50)} note={`p90 ${millis(t.latency_ms.p90)}`} />
            <Tile label="Latency p95" value={millis(t.latency_ms.p95)} note={`p99 ${millis(t.latency_ms.p99)}`} />
            <Tile label="First token p50" value={millis(t.ttft_ms.p50)} note={`p90 ${millis(t.ttft_ms.p90)}`} />
            <Tile label="First token p95" value={millis(t.ttft_ms.p95)} note={`p99 ${millis(t.ttft_ms.p99)}`} />
          </div>
        ) : null}
      </Answer>
      <div className="bar">
        <Choice label="Split by" value={by} onChange={(v) => set({ by: v })} options={[["pool", "Pool"], ["model", "Model"], ["provider", "Provider"], ["route", "Route"]]} />
      </div>
      <div className="grid halves">
        <Card title="Latency" note={`percentiles per ${w.unit}`}>
          <Answer of={all} height={250}>
            {({ rows }) => {
              const p = (f: (r: CostRow) => number) => seriesOf(rows, w, (r) => f(r) || null, { sum: false });
              const x = p((r) => r.latency_ms.p50);
              return <TimeChart title="Latency percentiles over time" times={x.times} range={rangeOf(w)} format={axisMillis} series={[
                { label: "p50", values: x.series[0]?.values ?? [], color: "var(--c0)" },
                { label: "p95", values: p((r) => r.latency_ms.p95).series[0]?.values ?? [], color: "var(--c2)" },
                { label: "p99", values: p((r) => r.latency_ms.p99).series[0]?.values ?? [], color: "var(--c5)" },
              ]} />;
            }}
          </Answer>
        </Card>
        <Card title={`Latency p95 by ${by}`} note={`per ${w.unit}`}>
          <Answer of={split} height={250}>
            {({ rows }) => { const x = seriesOf(rows, w, (r) => r.latency_ms.p95 || null, { sum: false }); return <TimeChart title={`Latency p95 by ${by} over time`} times={x.times} range={rangeOf(w)} series={tint(x.series, by, color)} format={axisMillis} />; }}
          </Answer>
        </Card>
        <Card title={`Success by ${by}`} note={`share of attempts per ${w.unit}`}>
          <Answer of={split} height={250}>
            {({ rows }) => { const x = seriesOf(rows, w, (r) => (ended(r) ? r.succeeded / ended(r) : null), { sum: false }); return <TimeChart title={`Success rate by ${by} over time`} times={x.times} range={rangeOf(w)} series={tint(x.series, by, color)} format={(v) => percent(v, 0)} max={1} />; }}
          </Answer>
        </Card>
        <Card title={`Requests by ${by}`} note={`attempts per ${w.unit}`}>
          <Answer of={split} height={250}>
            {({ rows }) => { const x = seriesOf(rows, w, (r) => r.attempts); return <TimeChart title={`Attempts by ${by} over time`} times={x.times} range={rangeOf(w)} series={tint(x.series, by, color)} format={count} kind="bars" />; }}
          </Answer>
        </Card>
      </div>
      <Card title={`Percentiles by ${by}`}>
        <Answer of={table}>
          {({ rows }) => (
            <Table caption={`Percentiles by ${by}`} rows={rows} rowKey={(r) => r.keys.join()} empty="No attempts in this window."
              columns={[
                { head: capital(by), cell: (r) => r.keys[0], sort: (r) => r.keys[0]! },
                { head: "Attempts", num: true, cell: (r) => count(r.attempts), sort: (r) => r.attempts },
                { head: "Success", num: true, cell: (r) => percent(ended(r) ? r.succeeded / ended(r) : -1, 2), sort: (r) => (ended(r) ? r.succeeded / ended(r) : -1) },
                { head: "p50", num: true, cell: (r) => millis(r.latency_ms.p50), sort: (r) => r.latency_ms.p50 },
                { head: "p95", num: true, cell: (r) => millis(r.latency_ms.p95), sort: (r) => r.latency_ms.p95 },
                { head: "p99", num: true, cell: (r) => millis(r.latency_ms.p99), sort: (r) => r.latency_ms.p99 },
                { head: "First token p50", num: true, cell: (r) => millis(r.ttft_ms.p50), sort: (r) => r.ttft_ms.p50 },
                { head: "First token p95", num: true, cell: (r) => millis(r.ttft_ms.p95), sort: (r) => r.ttft_ms.p95 },
              ]} />
          )}
        </Answer>
      </Card>
      {!tenant && (
        <Card title="Distribution against the weights" note="what each candidate got of its route, and what the weights of the latest decision ask for">
          <Answer of={shares}>
            {({ rows }) => {
              return (
                <Table caption="Distribution over pools" rows={rows} rowKey={(r) => r.route + r.pool + r.model} empty="No attempts in this window."
                  columns={[
                    { head: "Route", cell: (r) => r.route, sort: (r) => r.route },
                    { head: "Pool", cell: (r) => <><Dot color={color(r.pool)} />{r.pool}</>, sort: (r) => r.pool },
                    { head: "Model", cell: (r) => r.model },
                    { head: "Share", wide: true, cell: (r) => <Share value={r.share} color={color(r.pool)} /> },
                    { head: "Got", num: true, cell: (r) => percent(r.share), sort: (r) => r.share },
                    { head: "Weights", num: true, cell: (r) => percent(r.expected), sort: (r) => r.expected },
                    { head: "Difference", num: true, cell: (r) => (r.expected < 0 ? "–" : `${r.share >= r.expected ? "+" : "−"}${Math.abs((r.share - r.expected) * 100).toFixed(1)} pt`), sort: (r) => r.share - r.expected },
                    { head: "Attempts", num: true, cell: (r) => count(r.attempts), sort: (r) => r.attempts },
                  ]} />
              );
            }}
          </Answer>
        </Card>
      )}
    </>
  );
}

/** Pools keep their colors from chart to chart. */
export function tint<T extends { label: string; color?: string }>(series: T[], by: string, color: (name: string) => string): T[] {
  if (by !== "pool") return series;
  return series.map((s) => (s.color ? s : { ...s, color: color(s.label) }));
}
