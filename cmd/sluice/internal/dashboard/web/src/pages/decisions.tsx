import { useState } from "react";
import { question, type Decided, type Decision, type Job, type Recent, type Route } from "../api";
import { clock, dateTime, millis, money } from "../format";
import { link, useAsk, useLive, useQuery, useTick, useWindow } from "../hooks";
import { Answer, Badge, Card, Choice, Dot, Share, Status, Table, TimePicker } from "../ui";
import { usePoolColors } from "./overview";

/** Every candidate with its score, or why it was left out. */
export function DecisionView({ of }: { of: Decision }) {
  const color = usePoolColors();
  const worst = Math.max(...of.c.filter((c) => !c.x).map((c) => Math.abs(c.s)), 1e-12);
  const list = [...of.c].sort((a, b) => Number(!!a.x) - Number(!!b.x) || a.s - b.s);
  return (
    <>
      {(of.ru?.length || of.ex || of.fb) && (
        <p className="filters">
          {of.ru?.map((r) => <span key={r} className="chip">rule <b>{r}</b></span>)}
          {of.ex && <span className="chip">experiment <b>{of.ex}</b> {of.va}</span>}
          {of.fb ? <span className="chip">fallback <b>step {of.fb}</b></span> : null}
        </p>
      )}
      <Table caption={`Candidates of route ${of.r}`} rows={list} rowKey={(c, i) => c.p + c.m + i} empty="The route has no candidates."
        columns={[
          { head: "Candidate", cell: (c) => <span className={c.x ? "out" : ""}><Dot color={color(c.p)} />{c.p} <small>{c.m}</small></span> },
          { head: "Verdict", cell: (c) => (c.p === of.p && c.m === of.m && !c.x ? <Badge tone="good">chosen</Badge> : c.x ? <Badge tone="warn">{c.x}</Badge> : <Badge tone="plain">eligible</Badge>) },
          { head: "Score (lower is better)", wide: true, cell: (c) => (c.x ? "" : <><Share value={Math.abs(c.s) / worst} color={color(c.p)} /><small>{Number(c.s.toPrecision(4))}</small></>) },
          { head: "Depth", num: true, cell: (c) => c.d },
          { head: "Weight", num: true, cell: (c) => c.w },
        ]} />
    </>
  );
}

/** The time of what was today, and the date of what was not. */
const today = (t: string) => (new Date(t).toDateString() === new Date().toDateString() ? clock(t) : dateTime(t));

const filters = ["route", "pool", "status", "tenant"] as const;
const outcomes = ["succeeded", "failed", "interrupted", "cancelled"];

/** The decisions of now as they come, or those of a window that is past. */
export function Decisions() {
  const { query, set } = useQuery();
  const past = query.get("view") === "past";
  const routes = useAsk<{ routes: Route[] }>("routes");
  const { now } = useLive();
  const where: Record<string, string> = Object.fromEntries(filters.map((f) => [f, query.get(f) ?? ""]).filter(([, v]) => v));
  const [open, setOpen] = useState<Recent | null>(null);
  const options: Record<string, string[]> = {
    route: (routes.data?.routes ?? []).map((r) => r.model), pool: (now?.pools ?? []).map((p) => p.name), status: outcomes,
  };
  return (
    <>
      <div className="bar">
        <Choice label="Which decisions" value={past ? "past" : ""} options={[["", "As they come"], ["past", "Past"]]} onChange={(v) => set({ view: v })} />
        {filters.map((f) => options[f]
          ? (
            <label key={f}><span className="sr">Only of this {f}</span>
              <select value={where[f] ?? ""} onChange={(e) => set({ [f]: e.target.value })}>
                <option value="">Any {f === "status" ? "result" : f}</option>
                {options[f].map((o) => <option key={o}>{o}</option>)}
              </select>
            </label>
          )
          : where[f] && <button key={f} type="button" className="chip" aria-label={`Remove the filter ${f} is ${where[f]}`} onClick={() => set({ [f]: "" })}>{f} <b>{where[f]}</b> <i aria-hidden="true">×</i></button>)}
        {past && <TimePicker />}
      </div>
      <div className="grid decided">
        {past ? <Past where={where} open={open} choose={setOpen} /> : <Latest where={where} open={open} choose={setOpen} />}
        <div className="stack">
          {open && <Explain of={open} />}
          <Card title="Routes" note="candidates and weights in force">
            <Answer of={routes}>{({ routes: list }) => <Routes list={list} />}</Answer>
          </Card>
        </div>
      </div>
    </>
  );
}

type ListProps = { where: Record<string, string>; open: Recent | null; choose: (r: Recent) => void };

function Latest({ where, open, choose }: ListProps) {
  const { now } = useLive();
  const [hold, setHold] = useState<Recent[] | null>(null);
  const recent = hold ?? now?.live.recent ?? [];
  const rows = recent.filter((r) => filters.every((f) => !where[f] || r[f] === where[f]));
  return (
    <Card title="Latest decisions" note="as attempts end; choose one to see its candidates"
      actions={<button type="button" aria-pressed={!!hold} onClick={() => setHold(hold ? null : recent)}>{hold ? "Go on" : "Hold"}</button>}>
      <List rows={rows} open={open} choose={(r) => { setHold(recent); choose(r); }} time={clock} empty="No such attempt has ended since this page was opened." />
    </Card>
  );
}

function Past({ where, open, choose }: ListProps) {
  const w = useWindow(useTick(60));
  const found = useAsk<{ rows: Decided[] }>(question("decisions", w, { where, limit: 200 }), w.key);
  return (
    <Card title="Past decisions" note="the newest 200 of the window; choose one to see its candidates">
      <Answer of={found}>
        {({ rows }) => (
          <List open={open} choose={choose} time={today} empty="No such attempt ended in this window."
            rows={rows.map((x) => ({
              at: x.at, tenant: x.tenant, job_id: x.job_id, route: x.decision.r, strategy: x.decision.sg, pool: x.decision.p ?? "", model: x.decision.m ?? "", attempt: x.attempt,
              candidates: x.decision.c.length, excluded: x.decision.c.filter((c) => c.x).length, status: x.status, error_code: x.error_code, latency_ms: x.latency_ms,
              cost_nano_usd: x.cost_nano_usd ?? undefined, decision: x.decision,
            }))} />
        )}
      </Answer>
    </Card>
  );
}

function List({ rows, open, choose, time, empty }: { rows: Recent[]; open: Recent | null; choose: (r: Recent) => void; time: (t: string) => string; empty: string }) {
  const color = usePoolColors();
  const same = (r: Recent) => !!open && open.job_id === r.job_id && open.tenant === r.tenant && open.attempt === r.attempt;
  return (
    <Table caption="Decisions" rows={rows} rowKey={(r) => r.tenant + r.job_id + r.attempt + r.at} empty={empty}
      columns={[
        { head: "Time", cell: (r) => <time dateTime={r.at}>{time(r.at)}</time> },
        { head: "Job", cell: (r) => <button type="button" className="linkish mono" title={r.job_id} aria-pressed={same(r)} onClick={() => choose(r)}>{r.job_id}</button> },
        { head: "Tenant", cell: (r) => r.tenant },
        { head: "Route", cell: (r) => <span title={r.strategy}>{r.route}</span> },
        { head: "Chosen", cell: (r) => <span title={r.model}><Dot color={color(r.pool)} />{r.pool}</span> },
        { head: "Of", num: true, cell: (r) => (r.excluded ? `${r.candidates - r.excluded} (${r.excluded} out)` : r.candidates) },
        { head: "Result", cell: (r) => <span title={r.error_code}><Status status={r.status} /></span> },
        { head: "Latency", num: true, cell: (r) => millis(r.latency_ms) },
        { head: "Cost", num: true, cell: (r) => money(r.cost_nano_usd) },
      ]} />
  );
}

function Routes({ list }: { list: Route[] }) {
  const color = usePoolColors();
  return (
    <ul className="routes">
      {list.map((r) => {
        const sum = r.candidates.reduce((s, c) => s + c.weight, 0);
        return (
          <li key={r.model}>
            <h3>{r.model} <Badge tone="info">{r.strategy}</Badge></h3>
            {r.candidates.map((c) => (
              <p key={c.pool + c.model}><span><Dot color={color(c.pool)} />{c.pool} <small>{c.model}</small></span><Share value={sum ? c.weight / sum : 0} color={color(c.pool)} /><small>{c.weight}</small></p>
            ))}
          </li>
        );
      })}
    </ul>
  );
}

function Explain({ of }: { of: Recent }) {
  const job = useAsk<Job>(of.decision ? null : `jobs/${encodeURIComponent(of.job_id)}?tenant=${encodeURIComponent(of.tenant)}`);
  const view = (d?: Decision) => (d ? <><p className="facts-line">route <b>{d.r}</b> · {d.sg}</p><DecisionView of={d} /></> : <p className="empty">The decision is not kept any more.</p>);
  return (
    <Card title={`Why ${of.pool}?`} note={<>attempt {of.attempt} of <a className="mono" href={link(`jobs/${encodeURIComponent(of.job_id)}`, { tenant: of.tenant })}>{of.job_id}</a></>}>
      {of.decision ? view(of.decision) : <Answer of={job}>{(j) => view(j.history?.find((s) => s.attempt === of.attempt && s.decision)?.decision)}</Answer>}
    </Card>
  );
}
