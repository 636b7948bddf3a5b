import { useState } from "react";
import { api, post, type Job, type Step } from "../api";
import { dateTime, millis, money } from "../format";
import { link, useAsk, useQuery, useTick } from "../hooks";
import { Answer, Badge, Card, Choice, Status, Table, Tile } from "../ui";
import { DecisionView } from "./decisions";
import { JobText } from "./text";

const statuses: [string, string][] = [["", "All"], ["running", "Running"], ["waiting", "Waiting"], ["succeeded", "Succeeded"], ["failed", "Failed"], ["cancelled", "Cancelled"], ["expired", "Expired"]];

export function Jobs() {
  const { path, query } = useQuery();
  return path[1] ? <JobDetail id={path[1]} tenant={query.get("tenant") ?? ""} /> : <JobList />;
}

function JobList() {
  const tick = useTick(3);
  const { query, set } = useQuery();
  const status = query.get("status") ?? "";
  const [find, setFind] = useState("");
  const jobs = useAsk<{ jobs: Job[] }>("jobs?" + new URLSearchParams({ limit: "200", ...Object.fromEntries(["status", "tenant", "batch"].map((k) => [k, query.get(k) ?? ""]).filter(([, v]) => v)) }), String(tick));
  return (
    <>
      <div className="bar">
        <Choice label="Status" value={status} options={statuses} onChange={(v) => set({ status: v })} />
        <form className="inline" onSubmit={(e) => { e.preventDefault(); if (find) window.location.hash = link(`jobs/${encodeURIComponent(find.trim())}`, query.get("tenant") ? { tenant: query.get("tenant")! } : {}); }}>
          <label><span className="sr">Find a job by its ID, or narrow the list</span><input type="search" placeholder="job ID, tenant, route" value={find} onChange={(e) => setFind(e.target.value)} /></label>
          <button type="submit">Open job</button>
        </form>
      </div>
      {["tenant", "batch"].some((k) => query.get(k)) && (
        <p className="filters">
          {["tenant", "batch"].filter((k) => query.get(k)).map((k) => (
            <button key={k} type="button" className="chip" onClick={() => set({ [k]: "" })} aria-label={`Remove the filter ${k} is ${query.get(k)}`}>{k} <b>{query.get(k)}</b> <i aria-hidden="true">×</i></button>
          ))}
        </p>
      )}
      <Card title="Newest jobs" note="from the ledger; jobs that nobody has started yet are not in it">
        <Answer of={jobs}>
          {({ jobs: list }) => (
            <Table caption="Jobs" rows={list.filter((j) => !find || [j.job_id, j.tenant, j.route, j.class, j.batch_id].join(" ").includes(find.trim()))} rowKey={(j) => j.tenant + "/" + j.job_id} empty="No jobs."
              columns={[
                { head: "Job", cell: (j) => <a className="mono" title={j.job_id} href={link(`jobs/${encodeURIComponent(j.job_id)}`, { tenant: j.tenant })}>{j.job_id}</a>, sort: (j) => j.job_id },
                { head: "Tenant", cell: (j) => <button type="button" className="linkish" title="Only this tenant’s" onClick={() => set({ tenant: j.tenant })}>{j.tenant}</button>, sort: (j) => j.tenant },
                { head: "Route", cell: (j) => j.route ?? "", sort: (j) => j.route ?? "" },
                { head: "Class", cell: (j) => j.class ?? "", sort: (j) => j.class ?? "" },
                { head: "Status", cell: (j) => <><Status status={j.status} />{j.reason && <small> {j.reason}</small>}</>, sort: (j) => j.status },
                { head: "Attempts", num: true, cell: (j) => j.attempts, sort: (j) => j.attempts },
                { head: "Submitted", cell: (j) => (j.submitted_at ? <time dateTime={j.submitted_at}>{dateTime(j.submitted_at)}</time> : ""), sort: (j) => j.submitted_at ?? "" },
                { head: "Cost", num: true, cell: (j) => money(j.cost_nano_usd), sort: (j) => j.cost_nano_usd ?? -1 },
              ]} />
          )}
        </Answer>
      </Card>
    </>
  );
}

const terminal = new Set(["succeeded", "failed", "cancelled", "expired"]);

function JobDetail({ id, tenant }: { id: string; tenant: string }) {
  const [n, again] = useState(0);
  const tick = useTick(2);
  const [done, setDone] = useState(false);
  const q = tenant ? `?tenant=${encodeURIComponent(tenant)}` : "";
  const job = useAsk<Job>(`jobs/${encodeURIComponent(id)}${q}`, done ? `${n}` : `${n}/${tick}`);
  const [fault, setFault] = useState("");
  if (job.data && terminal.has(job.data.status) !== done) setDone(!done);
  return (
    <>
      <p className="crumbs"><a href="#/jobs">Jobs</a> <span aria-hidden="true">›</span> <span className="mono">{id}</span></p>
      {fault && <p className="banner" role="alert">{fault}</p>}
      <Answer of={job}>
        {(j) => {
          const steps = j.history ?? [];
          const first = Date.parse(j.submitted_at ?? steps[0]?.at ?? "");
          const last = Date.parse(steps.at(-1)?.at ?? "") || Date.now();
          return (
            <>
              <div className="tiles">
                <Tile label="Status" value={<Status status={j.status} />} note={[j.reason, j.until && "until " + dateTime(j.until)].filter(Boolean).join(" ")} />
                <Tile label="Tenant · class" value={j.tenant} note={<>{j.class}{j.batch_id && <> · <a href={link(`batches/${encodeURIComponent(j.batch_id)}`, { tenant: j.tenant })}>batch</a></>}</>} />
                <Tile label="Route" value={j.route || "–"} note={j.submitted_at ? "submitted " + dateTime(j.submitted_at) : ""} />
                <Tile label="Attempts" value={j.attempts} />
                <Tile label="From submission" value={millis(last - first)} note={terminal.has(j.status) ? "to the end" : "so far"} />
                <Tile label="Cost" value={money(j.cost_nano_usd)} />
              </div>
              <Card title="Time line" actions={!terminal.has(j.status) && <button type="button" onClick={() => post(`jobs/${encodeURIComponent(id)}/cancel${q}`).then(() => again((x) => x + 1), (e: Error) => setFault(e.message))}>Cancel job</button>}>
                <TimeLine steps={steps} from={first} to={last} />
              </Card>
              <JobText id={id} tenant={tenant} />
              {steps.filter((s) => s.decision && !s.outcome).map((s) => (
                <Card key={s.seq} title={s.attempt ? `Decision for attempt ${s.attempt}` : `Decision without an attempt: ${[s.status, s.reason].filter(Boolean).join(", ")}`} note={`${dateTime(s.at)} · route ${s.decision!.r}, ${s.decision!.sg}`}>
                  <DecisionView of={s.decision!} />
                </Card>
              ))}
              <Card title="Records">
                <Table caption="Records of the job" rows={steps} rowKey={(s) => String(s.seq)}
                  columns={[
                    { head: "Time", cell: (s) => <time dateTime={s.at}>{dateTime(s.at)}</time> },
                    { head: "Status", cell: (s) => <><Status status={s.status} />{s.reason && <small> {s.reason}</small>}</> },
                    { head: "Attempt", num: true, cell: (s) => s.attempt || "" },
                    { head: "Pool · model", cell: (s) => [s.pool, s.model].filter(Boolean).join(" · ") },
                    { head: "Outcome", cell: (s) => (s.outcome ? <><Badge tone={s.outcome === "succeeded" ? "good" : "bad"}>{s.outcome}</Badge>{s.error_code && <small> {s.error_code}</small>}</> : s.error_code ?? "") },
                    { head: "Tokens", num: true, cell: (s) => (s.outcome && s.usage ? `${(s.usage.i ?? 0) + (s.usage.cr ?? 0) + (s.usage.cw ?? 0)} in, ${(s.usage.o ?? 0) + (s.usage.r ?? 0)} out` : "") },
                    { head: "First token", num: true, cell: (s) => (s.ttft_ms ? millis(s.ttft_ms) : "") },
                    { head: "Latency", num: true, cell: (s) => (s.latency_ms ? millis(s.latency_ms) : "") },
                    { head: "Cost", num: true, cell: (s) => (s.outcome ? money(s.cost_nano_usd) : "") },
                  ]} />
              </Card>
            </>
          );
        }}
      </Answer>
    </>
  );
}

type Span = { kind: string; from: number; to: number; text: string };

/** Waits and attempts, each as long as it took. */
export function spansOf(steps: Step[], from: number): Span[] {
  const spans: Span[] = [];
  let at = from;
  for (const s of steps) {
    const t = Date.parse(s.at);
    if (s.status === "running" && !s.outcome) {
      if (t > at) spans.push({ kind: "pause", from: at, to: t, text: spans.length ? "waits" : "queued" });
      spans.push({ kind: "open", from: t, to: t, text: `attempt ${s.attempt} at ${s.pool}` });
      at = t;
    } else if (s.outcome) {
      const open = spans.findLast((x) => x.kind === "open");
      if (open) {
        open.to = t;
        open.kind = s.outcome === "succeeded" ? "good" : s.outcome === "cancelled" ? "plain" : "bad";
        open.text += ` · ${s.outcome}${s.error_code ? " " + s.error_code : ""}`;
      }
      at = t;
    }
  }
  return spans;
}

function TimeLine({ steps, from, to }: { steps: Step[]; from: number; to: number }) {
  const spans = spansOf(steps, from);
  const end = Math.max(to, from + 1);
  for (const s of spans) if (s.kind === "open") s.to = end;
  if (!spans.length) return <p className="empty">No attempt has started.</p>;
  return (
    <ol className="timeline">
      {spans.map((s, i) => (
        <li key={i}>
          <span>{s.text}</span>
          <div><i className={s.kind} style={{ left: `${((s.from - from) / (end - from)) * 100}%`, width: `max(3px, ${((s.to - s.from) / (end - from)) * 100}%)` }} /></div>
          <b>{millis(s.to - s.from || 0.5)}</b>
        </li>
      ))}
    </ol>
  );
}

export const requeue = (body: { tenant?: string; job?: string; all?: boolean }) => api<{ requeued: string[] }>("dead/requeue", { method: "POST", body: JSON.stringify(body) });
