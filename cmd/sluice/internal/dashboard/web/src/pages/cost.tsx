import { useState } from "react";
import { question, type CacheRow, type CostRow, type DearRow, type JobsRow, type WasteRow } from "../api";
import { rangeOf, seriesOf, TimeChart } from "../chart";
import { axisDollars, capital, count, dateTime, dollars, millis, money, percent } from "../format";
import { link, useAsk, useQuery, useSession, useTick, useWindow } from "../hooks";
import { Answer, Card, Choice, Share, Status, Table, Tile } from "../ui";
import { usePoolColors } from "./overview";
import { tint } from "./performance";

type Rows<T> = { rows: T[] };

const dimensions: [string, string][] = [
  ["tenant", "Tenant"], ["pool", "Pool"], ["model", "Model"], ["provider", "Provider"], ["route", "Route"], ["class", "Class"], ["status", "Status"],
];

export function Cost() {
  const w = useWindow(useTick(30));
  const { query, set } = useQuery();
  const { tenant } = useSession();
  const color = usePoolColors();
  const where: Record<string, string> = Object.fromEntries(query.getAll("where").map((x) => [x.slice(0, x.indexOf("=")), x.slice(x.indexOf("=") + 1)]));
  const by = query.get("by") ?? (tenant ? "model" : "tenant");
  const [label, setLabel] = useState(by.startsWith("label:") ? by.slice(6) : "");
  const total = useAsk<Rows<CostRow>>(question("cost", w, { where }), w.key);
  const time = useAsk<Rows<CostRow>>(question("cost", w, { by: [w.unit, by], where, limit: 10_000 }), w.key);
  const table = useAsk<Rows<CostRow>>(question("cost", w, { by: [by], where, limit: 200 }), w.key);
  const ofJobs = Object.fromEntries(Object.entries(where).filter(([k]) => ["tenant", "route", "class", "status"].includes(k)));
  const jobs = useAsk<Rows<JobsRow>>(question("jobs", w, { where: ofJobs }), w.key);
  const dearest = useAsk<Rows<DearRow>>(question("dearest", w, { where: ofJobs, limit: 10 }), w.key);
  const waste = useAsk<Rows<WasteRow>>(question("waste", w, { where }), w.key);
  const cache = useAsk<Rows<CacheRow>>(tenant ? null : question("cache", w), w.key);

  const options = dimensions.filter(([d]) => !(d in where) && (d !== "tenant" || !tenant));
  const wheres = (x: Record<string, string>) => Object.entries(x).map(([k, v]) => `${k}=${v}`);
  const drill = (value: string) => {
    const next = { ...where, [by]: value };
    const then = dimensions.find(([d]) => !(d in next) && (d !== "tenant" || !tenant))?.[0] ?? by;
    set({ where: wheres(next), by: then });
  };
  const saved = cache.data?.rows.reduce((s, r) => s + (r.saved_nano_usd ?? 0), 0);
  const job = jobs.data?.rows[0];
  return (
    <>
      <div className="bar">
        <Choice label="Group by" value={by} options={options} onChange={(v) => set({ by: v })} />
        <form className="inline" onSubmit={(e) => { e.preventDefault(); if (label) set({ by: "label:" + label.toLowerCase() }); }}>
          <label><span className="sr">Group by a label</span><input type="search" placeholder="label, such as team" value={label} onChange={(e) => setLabel(e.target.value)} pattern="[A-Za-z0-9_\-]{1,64}" /></label>
          <button type="submit" aria-pressed={by.startsWith("label:")}>Label</button>
        </form>
      </div>
      {Object.keys(where).length > 0 && (
        <p className="filters">
          {Object.entries(where).map(([k, v]) => (
            <button key={k} type="button" className="chip" onClick={() => set({ where: wheres(Object.fromEntries(Object.entries(where).filter(([x]) => x !== k))) })} aria-label={`Remove the filter ${k} is ${v}`}>
              {k} <b>{v || "(none)"}</b> <i aria-hidden="true">×</i>
            </button>
          ))}
        </p>
      )}
      <Answer of={total} height={96}>
        {({ rows: [t] }) => t ? (
          <div className="tiles">
            <Tile label="Spend" value={money(t.spend_nano_usd)} note={t.unknown_cost ? `${count(t.unknown_cost)} attempts of unknown cost` : `${count(t.attempts)} attempts`} />
            <Tile label="Per job" value={job?.jobs ? dollars(job.spend_nano_usd / job.jobs / 1e9) : "–"} note={job?.jobs ? `${count(job.jobs)} jobs, ${Math.max(0, job.attempts / job.jobs - 1).toFixed(2)} retries each` : ""} />
            <Tile label="Per successful answer" value={t.succeeded ? dollars(t.spend_nano_usd / t.succeeded / 1e9) : "–"} note={`${percent(t.attempts ? t.succeeded / t.attempts : -1)} succeed`} />
            <Tile label="Per 1,000 tokens" value={t.tokens_in + t.tokens_out ? dollars((t.spend_nano_usd / (t.tokens_in + t.tokens_out) / 1e9) * 1000) : "–"} note={`${count(t.tokens_in)} in · ${count(t.tokens_out)} out`} />
            <Tile label="Wasted" value={money(t.wasted_nano_usd)} tone={t.spend_nano_usd && t.wasted_nano_usd / t.spend_nano_usd > 0.05 ? "warn" : undefined} note={`${percent(t.spend_nano_usd ? t.wasted_nano_usd / t.spend_nano_usd : 0)} of the spend`} />
            {!tenant && <Tile label="Saved by caches" value={saved === undefined ? "–" : money(saved)} note={`${percent(t.tokens_in ? t.tokens_cached / t.tokens_in : 0)} of the tokens in`} />}
          </div>
        ) : null}
      </Answer>
      <Card title={`Spend by ${by.replace("label:", "label ")}`} note={`per ${w.unit}`}>
        <Answer of={time} height={280}>
          {({ rows }) => { const x = seriesOf(rows, w, (r) => r.spend_nano_usd / 1e9); return x.times.length ? <TimeChart title={`Spend by ${by} over time`} times={x.times} range={rangeOf(w)} series={tint(x.series, by, color)} format={dollars} axis={axisDollars} kind="bars" height={250} /> : <p className="empty">Nothing was spent in this window.</p>; }}
        </Answer>
      </Card>
      <Card title={`By ${by.replace("label:", "label ")}`} note="choose a row to look inside">
        <Answer of={table}>
          {({ rows }) => {
            const sum = rows.reduce((s, r) => s + r.spend_nano_usd, 0);
            return (
              <Table caption={`Cost by ${by}`} rows={rows} rowKey={(r) => r.keys.join()} empty="Nothing was spent in this window."
                columns={[
                  { head: capital(by.replace("label:", "")), cell: (r) => <button type="button" className="linkish" onClick={() => drill(r.keys[0]!)}>{r.keys[0] || "(none)"}</button>, sort: (r) => r.keys[0]! },
                  { head: "Spend", num: true, cell: (r) => money(r.spend_nano_usd), sort: (r) => r.spend_nano_usd },
                  { head: "Of all", wide: true, cell: (r) => <><Share value={sum ? r.spend_nano_usd / sum : 0} /><small>{percent(sum ? r.spend_nano_usd / sum : 0)}</small></> },
                  { head: "Attempts", num: true, cell: (r) => count(r.attempts), sort: (r) => r.attempts },
                  { head: "Per success", num: true, cell: (r) => (r.succeeded ? dollars(r.spend_nano_usd / r.succeeded / 1e9) : "–"), sort: (r) => (r.succeeded ? r.spend_nano_usd / r.succeeded : 0) },
                  { head: "Tokens in", num: true, cell: (r) => count(r.tokens_in), sort: (r) => r.tokens_in },
                  { head: "Tokens out", num: true, cell: (r) => count(r.tokens_out), sort: (r) => r.tokens_out },
                  { head: "Wasted", num: true, cell: (r) => money(r.wasted_nano_usd), sort: (r) => r.wasted_nano_usd },
                  { head: "Unknown", num: true, cell: (r) => count(r.unknown_cost), sort: (r) => r.unknown_cost },
                ]} />
            );
          }}
        </Answer>
      </Card>
      <div className="grid two-one">
        <Card title="Dearest jobs">
          <Answer of={dearest}>
            {({ rows }) => (
              <Table caption="Dearest jobs" rows={rows} rowKey={(r) => r.tenant + r.job_id} empty="No job in this window cost anything."
                columns={[
                  { head: "Job", cell: (r) => <a className="mono" title={r.job_id} href={link(`jobs/${encodeURIComponent(r.job_id)}`, { tenant: r.tenant })}>{r.job_id}</a> },
                  { head: "Tenant", cell: (r) => r.tenant },
                  { head: "Route", cell: (r) => r.route },
                  { head: "Result", cell: (r) => <Status status={r.status} /> },
                  { head: "Time", num: true, cell: (r) => millis(r.total_ms) },
                  { head: "Finished", cell: (r) => dateTime(r.finished_at) },
                  { head: "Cost", num: true, cell: (r) => money(r.spend_nano_usd) },
                ]} />
            )}
          </Answer>
        </Card>
        <Card title="Wasted" note="attempts that gave no answer">
          <Answer of={waste}>
            {({ rows }) => (
              <Table caption="Wasted money" rows={rows} rowKey={(r) => r.reason} empty="Every attempt in this window succeeded."
                columns={[
                  { head: "Reason", cell: (r) => <Status status={r.reason} /> },
                  { head: "Attempts", num: true, cell: (r) => count(r.attempts) },
                  { head: "Spend", num: true, cell: (r) => money(r.spend_nano_usd) },
                ]} />
            )}
          </Answer>
        </Card>
      </div>
    </>
  );
}
