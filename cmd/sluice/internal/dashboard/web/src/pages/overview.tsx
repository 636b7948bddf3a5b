import { colorOf, TimeChart, type Series } from "../chart";
import { clock, count, millis, money, percent, rate } from "../format";
import { link, useLive, type Sample } from "../hooks";
import type { Pool } from "../api";
import { Badge, Card, Dot, Meter, Share, Status, Table, Tile } from "../ui";

export const rateOf = (s: Sample, pool: string): number => s.pools.get(pool)?.rate ?? 0;

export function poolState(p: Pool): ["good" | "warn" | "bad" | "plain", string] {
  const h = p.health;
  if (p.draining) return ["warn", "draining"];
  if (h?.down || p.workers === 0) return ["bad", "no worker"];
  if (h && h.circuit !== "closed") return ["bad", h.circuit === "open" ? "circuit open" : "probing"];
  if (h?.unhealthy) return ["bad", "unhealthy"];
  if (h?.ejected) return ["warn", "ejected"];
  return ["good", "healthy"];
}

/** The color of a pool, the same wherever it is shown; pools that are gone share one. */
export function usePoolColors(): (name: string) => string {
  const { now } = useLive();
  const sorted = (now?.pools ?? []).map((p) => p.name).sort();
  return (n) => (sorted.includes(n) ? colorOf(sorted.indexOf(n)) : "var(--c8)");
}

export function Overview() {
  const { now, samples } = useLive();
  const color = usePoolColors();
  if (!now) return <div className="wait tall" role="status" aria-label="Waiting for the live view" />;
  const t = now.live.total;
  const running = now.pools.reduce((s, p) => s + p.running, 0);
  const places = now.pools.reduce((s, p) => s + p.concurrency, 0);
  const queued = now.pools.reduce((s, p) => s + p.queued, 0);
  const backlog = now.streams.find((s) => /JOBS$/i.test(s.name))?.messages ?? 0;
  const of = (f: (s: Sample) => number) => samples.map(f);
  const names = now.pools.map((p) => p.name);
  const times = samples.map((s) => s.t);
  const busy = names.filter((n) => samples.some((s) => rateOf(s, n)));
  const perPool: Series[] = busy.sort().map((n) => ({ label: n, color: color(n), values: samples.map((s) => rateOf(s, n)) }));
  const ended = now.live.pools.reduce((s, p) => s + p.ended, 0);
  return (
    <>
      {now.error && <p className="banner" role="alert">{now.error}</p>}
      <div className="tiles">
        <Tile label="Jobs" value={<>{rate(t.jobs_per_s)}<small>/s</small></>} note={`${rate(t.attempts_per_s)} attempts/s`} values={of((s) => s.total.jobs_per_s)} />
        <Tile label="Success, last minute" value={percent(t.success)} note={`${count(t.failed)} of ${count(t.ended)} failed`} values={of((s) => Math.max(0, s.total.success))} tone={t.success < 0 ? undefined : t.success < 0.9 ? "bad" : t.success < 0.98 ? "warn" : "good"} color="var(--good)" />
        <Tile label="Latency p95" value={millis(t.latency_ms.p95)} note={`p50 ${millis(t.latency_ms.p50)} · p99 ${millis(t.latency_ms.p99)}`} values={of((s) => s.total.latency_ms.p95)} color="var(--c1)" />
        <Tile label="First token p95" value={millis(t.ttft_ms.p95)} note={`p50 ${millis(t.ttft_ms.p50)}`} values={of((s) => s.total.ttft_ms.p95)} color="var(--c3)" />
        <Tile label="Spend, last minute" value={money(t.spend_nano_usd)} note={t.unknown_cost ? `${count(t.unknown_cost)} attempts of unknown cost` : `${count(t.tokens_per_s)} tokens/s out`} values={of((s) => s.total.spend_nano_usd)} color="var(--c2)" />
        <Tile label="In flight" value={<>{count(running)}<small> of {count(places)}</small></>} note={`${count(queued)} at pools · ${count(backlog)} in backlog`} values={of((s) => s.running)} color="var(--c4)" />
      </div>
      <div className="grid two-one">
        <Card title="Requests by pool" note="attempts per second, last five minutes">
          <TimeChart title="Attempts per second by pool over the last five minutes" times={times} range={[Math.min(times[0]!, times.at(-1)! - 60), times.at(-1)!]} series={perPool} format={rate} kind="area" axis={(v) => String(Number(v.toPrecision(3)))} height={innerWidth > 1100 ? Math.min(430, Math.max(236, now.pools.length * 66 - 50)) : 220} />
          {!perPool.length && <p className="empty over">No attempts yet. Send a job: <code>sluice submit "Hello"</code></p>}
        </Card>
        <Card title="Distribution" note="share of the attempts of the last minute">
          <ul className="bars">
            {now.pools.map((p) => {
              const f = now.live.pools.find((x) => x.name === p.name);
              const share = ended ? (f?.ended ?? 0) / ended : 0;
              return (
                <li key={p.name}>
                  <span><Dot color={color(p.name)} />{p.name}</span>
                  <b>{percent(share)}</b>
                  <Share value={share} color={color(p.name)} />
                  <small>weight {p.weight} · {rate(f?.attempts_per_s ?? 0)}/s · success {percent(f?.success ?? -1, 0)}</small>
                </li>
              );
            })}
          </ul>
        </Card>
      </div>
      <Card title="Pools" note="queues and places as they are now">
        <Table
          caption="Pools" rows={now.pools} rowKey={(p) => p.name}
          columns={[
            { head: "Pool", cell: (p) => <a href={link("pools")}><Dot color={color(p.name)} />{p.name}</a>, sort: (p) => p.name },
            { head: "State", cell: (p) => { const [tone, text] = poolState(p); return <Badge tone={tone}>{text}</Badge>; }, sort: (p) => poolState(p)[1] },
            { head: "In use", wide: true, cell: (p) => <><Meter value={p.running} max={p.concurrency} label={`${p.name}: places in use`} tone="use" /><small>{p.running} of {p.concurrency}</small></>, sort: (p) => p.running / p.concurrency },
            { head: "Queued", num: true, cell: (p) => count(p.queued), sort: (p) => p.queued },
            { head: "Rate", num: true, cell: (p) => rate(now.live.pools.find((x) => x.name === p.name)?.attempts_per_s ?? 0) + "/s" },
            { head: "p50", num: true, cell: (p) => millis(now.live.pools.find((x) => x.name === p.name)?.latency_ms.p50) },
            { head: "p95", num: true, cell: (p) => millis(now.live.pools.find((x) => x.name === p.name)?.latency_ms.p95) },
            { head: "First token p95", num: true, cell: (p) => millis(now.live.pools.find((x) => x.name === p.name)?.ttft_ms.p95) },
            { head: "Spend/min", num: true, cell: (p) => money(now.live.pools.find((x) => x.name === p.name)?.spend_nano_usd ?? 0) },
          ]}
        />
      </Card>
      <Card title="Latest attempts" note="as they end" actions={<a className="button" href={link("decisions")}>All decisions</a>}>
        <Table
          caption="Latest attempts" rows={now.live.recent.slice(0, 8)} rowKey={(r) => r.tenant + r.job_id + r.attempt + r.at} empty="No attempt has ended yet."
          columns={[
            { head: "Time", cell: (r) => <time dateTime={r.at}>{clock(r.at)}</time> },
            { head: "Job", cell: (r) => <a className="mono" title={r.job_id} href={link(`jobs/${encodeURIComponent(r.job_id)}`, { tenant: r.tenant })}>{r.job_id}</a> },
            { head: "Tenant", cell: (r) => r.tenant },
            { head: "Route", cell: (r) => r.route },
            { head: "Pool", cell: (r) => <><Dot color={color(r.pool)} />{r.pool}</> },
            { head: "Result", cell: (r) => <Status status={r.status} /> },
            { head: "Latency", num: true, cell: (r) => millis(r.latency_ms) },
            { head: "Cost", num: true, cell: (r) => money(r.cost_nano_usd) },
          ]}
        />
      </Card>
    </>
  );
}
