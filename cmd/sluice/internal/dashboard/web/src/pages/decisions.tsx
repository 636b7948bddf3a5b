import { useState } from "react";
import type { Decision, Job, Recent, Route } from "../api";
import { clock, millis, money } from "../format";
import { link, useAsk, useLive } from "../hooks";
import { Answer, Badge, Card, Dot, Share, Status, Table } from "../ui";
import { poolColors } from "./overview";

/** Every candidate with its score, or why it was left out. */
export function DecisionView({ of }: { of: Decision }) {
  const color = poolColors(of.c.map((c) => c.p));
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

export function Decisions() {
  const { now } = useLive();
  const [hold, setHold] = useState<Recent[] | null>(null);
  const [open, setOpen] = useState<Recent | null>(null);
  const routes = useAsk<{ routes: Route[] }>("routes");
  const recent = hold ?? now?.live.recent ?? [];
  const color = poolColors((now?.pools ?? []).map((p) => p.name));
  return (
    <>
      <div className="grid two-one">
        <Card title="Latest decisions" note="as attempts end; choose one to see its candidates"
          actions={<button type="button" aria-pressed={!!hold} onClick={() => setHold(hold ? null : recent)}>{hold ? "Go on" : "Hold"}</button>}>
          <Table caption="Latest decisions" rows={recent} rowKey={(r) => r.tenant + r.job_id + r.attempt + r.at} empty="No attempt has ended since this page was opened."
            columns={[
              { head: "Time", cell: (r) => <time dateTime={r.at}>{clock(r.at)}</time> },
              { head: "Job", cell: (r) => <button type="button" className="linkish mono" title={r.job_id} aria-pressed={open === r} onClick={() => { setHold(recent); setOpen(r); }}>{r.job_id}</button> },
              { head: "Route", cell: (r) => <>{r.route} <small>{r.strategy}</small></> },
              { head: "Chosen", cell: (r) => <><Dot color={color(r.pool)} />{r.pool} <small>{r.model}</small></> },
              { head: "Of", num: true, cell: (r) => (r.excluded ? `${r.candidates - r.excluded} (${r.excluded} out)` : r.candidates) },
              { head: "Result", cell: (r) => <Status status={r.status} /> },
              { head: "Latency", num: true, cell: (r) => millis(r.latency_ms) },
              { head: "Cost", num: true, cell: (r) => money(r.cost_nano_usd) },
            ]} />
        </Card>
        <div className="stack">
          {open && <Explain of={open} />}
          <Card title="Routes" note="candidates and weights in force">
            <Answer of={routes}>
              {({ routes: list }) => (
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
              )}
            </Answer>
          </Card>
        </div>
      </div>
    </>
  );
}

function Explain({ of }: { of: Recent }) {
  const job = useAsk<Job>(`jobs/${encodeURIComponent(of.job_id)}?tenant=${encodeURIComponent(of.tenant)}`);
  return (
    <Card title={`Why ${of.pool}?`} note={<>attempt {of.attempt} of <a className="mono" href={link(`jobs/${encodeURIComponent(of.job_id)}`, { tenant: of.tenant })}>{of.job_id}</a></>}>
      <Answer of={job}>
        {(j) => {
          const d = j.history?.find((s) => s.attempt === of.attempt && s.decision)?.decision;
          return d ? <DecisionView of={d} /> : <p className="empty">The decision is not kept any more.</p>;
        }}
      </Answer>
    </Card>
  );
}
