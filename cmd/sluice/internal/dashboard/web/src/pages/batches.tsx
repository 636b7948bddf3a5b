import { useRef, useState } from "react";
import { post, type Batch } from "../api";
import { ago, count, dateTime, money, percent, rate, span } from "../format";
import { link, useAsk, useQuery, useTick } from "../hooks";
import { Answer, Badge, Card, Choice, Confirm, Share, Status, Table, Tile } from "../ui";

const ended = (b: Batch) => ["completed", "failed", "expired", "cancelled"].includes(b.status);
const done = (b: Batch) => b.succeeded + b.failed + b.cancelled + b.expired;
const tenantOf = (b: Batch) => `?tenant=${encodeURIComponent(b.tenant)}`;
const order = ["validating", "in_progress", "finalizing", "cancelling"]; 
const rank = (s: string) => (order.includes(s) ? order.indexOf(s) : order.length);
const shows: [string, string][] = [["", "All"], ["open", "Under way"], ["ended", "Ended"]];

export function Batches() {
  const { path, query } = useQuery();
  return path[1] ? <BatchDetail key={path[1]} id={path[1]} tenant={query.get("tenant") ?? ""} /> : <BatchList />;
}

type Seen = { at: number; done: number };

/** Lines per second of each batch: over the last 20 s that this page has seen, or else since its start. */
function usePace(): (b: Batch) => number {
  const seen = useRef(new Map<string, Seen[]>());
  return (b) => {
    const now = Date.now() / 1000, n = done(b);
    const list = seen.current.get(b.id) ?? [];
    const last = list.at(-1);
    if (!last || last.done !== n || now - last.at >= 1) list.push({ at: now, done: n });
    while (list.length > 2 && now - list[0]!.at > 20) list.shift();
    seen.current.set(b.id, list);
    const first = list[0]!;
    if (now - first.at >= 3 && n > first.done) return (n - first.done) / (now - first.at);
    const start = b.at.in_progress;
    return start && n && now > start ? n / (now - start) : 0;
  };
}

function left(b: Batch, pace: number): string {
  if (ended(b)) return "";
  if (!b.lines || !pace) return "–";
  return span((b.lines - done(b)) / pace);
}

const Progress = ({ batch: b }: { batch: Batch }) => (
  <div className="parts" role="meter" aria-valuenow={done(b)} aria-valuemin={0} aria-valuemax={b.lines} aria-label={`${b.id}: lines done`}>
    {([["good", b.succeeded], ["bad", b.failed + b.expired], ["plain", b.cancelled]] as const).map(([kind, n]) => n > 0 && <i key={kind} className={kind} style={{ width: `${(n / Math.max(1, b.lines)) * 100}%` }} />)}
  </div>
);

function BatchList() {
  const { query, set } = useQuery();
  const show = query.get("show") ?? "";
  const [find, setFind] = useState("");
  const batches = useAsk<{ batches: Batch[]; more: boolean }>("batches?limit=200", String(useTick(2)));
  const pace = usePace();
  return (
    <>
      <div className="bar">
        <Choice label="Which" value={show} options={shows} onChange={(v) => set({ show: v })} />
        <label><span className="sr">Narrow the list</span><input type="search" placeholder="batch, tenant or model" value={find} onChange={(e) => setFind(e.target.value)} /></label>
      </div>
      <Answer of={batches}>
        {({ batches: all, more }) => {
          const list = all.filter((b) => (!show || ended(b) === (show === "ended")) && [b.id, b.tenant, b.model, b.status].join(" ").includes(find.trim()));
          return (
            <Card title="Batches" note={more ? "the newest 200" : "newest first, kept for 30 days"}>
              <Table caption="Batches" rows={list} rowKey={(b) => b.tenant + "/" + b.id} empty={<>No batches. Submit one: <code>sluice batch submit FILE.jsonl</code></>}
                columns={[
                  { head: "Batch", cell: (b) => <a className="mono" title={b.id} href={link(`batches/${encodeURIComponent(b.id)}`, { tenant: b.tenant })}>{b.id}</a>, sort: (b) => b.id },
                  { head: "Tenant", cell: (b) => b.tenant, sort: (b) => b.tenant },
                  { head: "Status", cell: (b) => <Status status={b.status} />, sort: (b) => b.status },
                  { head: "Progress", wide: true, cell: (b) => <><Progress batch={b} /><small>{b.lines ? percent(done(b) / b.lines, 0) : "–"}</small></>, sort: (b) => (b.lines ? done(b) / b.lines : 0) },
                  { head: "Lines", num: true, cell: (b) => count(b.lines), sort: (b) => b.lines },
                  { head: "Failed", num: true, cell: (b) => count(b.failed + b.expired), sort: (b) => b.failed + b.expired },
                  { head: "Left", num: true, cell: (b) => left(b, pace(b)) },
                  { head: "Model", cell: (b) => b.model ?? "several" },
                  { head: "Created", cell: (b) => <time dateTime={new Date(b.at.validating! * 1000).toISOString()}>{ago(new Date(b.at.validating! * 1000).toISOString())}</time>, sort: (b) => b.at.validating ?? 0 },
                  { head: "Cost so far", num: true, cell: (b) => money(b.cost_nano_usd), sort: (b) => b.cost_nano_usd },
                ]} />
            </Card>
          );
        }}
      </Answer>
    </>
  );
}

function BatchDetail({ id, tenant }: { id: string; tenant: string }) {
  const tick = useTick(1);
  const [over, setOver] = useState(false);
  const [n, again] = useState(0);
  const [ask, setAsk] = useState(false);
  const [fault, setFault] = useState("");
  const path = `batches/${encodeURIComponent(id)}`, q = tenant ? `?tenant=${encodeURIComponent(tenant)}` : "";
  const batch = useAsk<Batch>(path + q, over ? `${n}` : `${n}/${tick}`);
  const pace = usePace();
  if (batch.data && ended(batch.data) !== over) setOver(!over);
  const cancel = () => post(`${path}/cancel${q}`).then(() => { setFault(""); again((x) => x + 1); }, (e: Error) => setFault(e.message));
  return (
    <>
      <p className="crumbs"><a href="#/batches">Batches</a> <span aria-hidden="true">›</span> <span className="mono">{id}</span></p>
      {fault && <p className="banner" role="alert">{fault}</p>}
      <Answer of={batch}>{(b) => <Whole batch={b} pace={pace(b)} cancel={() => setAsk(true)} />}</Answer>
      <Confirm open={ask} title="Cancel this batch?" action="Cancel the batch" back="Let it run" onDone={(yes) => { if (yes) void cancel(); setAsk(false); }}>
        <p>Lines that are running are stopped, those that wait never start. What has ended stays, with its cost and its results.</p>
      </Confirm>
    </>
  );
}

function Whole({ batch: b, pace, cancel }: { batch: Batch; pace: number; cancel: () => void }) {
  const at = (s: string) => (b.at[s] ? new Date(b.at[s]! * 1000) : undefined);
  const end = at("completed") ?? at("failed") ?? at("expired") ?? at("cancelled");
  const n = done(b), errors = Object.entries(b.errors ?? {}).sort((x, y) => y[1] - x[1]);
  const forecast = n && b.lines ? (b.cost_nano_usd / n) * b.lines : undefined;
  const jobs = (more: Record<string, string>) => link("jobs", { batch: b.id, tenant: b.tenant, ...more });
  return (
    <>
      <div className="tiles">
        <Tile label="Status" value={<Status status={b.status} />} note={end ? dateTime(end) : `expires ${dateTime(new Date(b.expires_at * 1000))}`} />
        <Tile label="Tenant · model" value={b.tenant} note={`${b.model ?? "several models"} · ${b.endpoint}`} />
        <Tile label="Done" value={<>{count(n)}<small> of {count(b.lines)}</small></>} note={`${count(b.succeeded)} succeeded · ${count(b.failed + b.expired)} failed · ${count(b.cancelled)} cancelled`} />
        <Tile label={end ? "Took" : "Left"} value={end ? span((end.getTime() - at("validating")!.getTime()) / 1000) : left(b, pace)} note={end ? `created ${dateTime(at("validating")!)}` : `${rate(pace)} lines/s`} />
        <Tile label="Cost so far" value={money(b.cost_nano_usd)} note={b.lines_of_unknown_cost ? `${count(b.lines_of_unknown_cost)} lines of unknown cost` : !end && forecast ? `about ${money(forecast)} for all` : n ? `${money(b.cost_nano_usd / n)} a line` : ""} />
        <Tile label="Tokens" value={count(b.usage.input_tokens + b.usage.output_tokens)} note={`${count(b.usage.input_tokens)} in · ${count(b.usage.output_tokens)} out`} />
      </div>
      <Card title="Progress" note={`${b.api === "openai" ? "OpenAI’s" : "Anthropic’s"} batch, placement ${b.placement}`}
        actions={<>
          {b.results.map((side) => <a key={side} className="button" download href={`/admin/v1/batches/${encodeURIComponent(b.id)}/${side}${tenantOf(b)}`}>{side === "output" ? "Results" : "Errors"} (JSONL)</a>)}
          <a className="button" href={jobs({})}>Jobs</a>
          {!ended(b) && b.status !== "cancelling" && b.status !== "finalizing" && <button type="button" onClick={cancel}>Cancel batch</button>}
        </>}>
        <div className="big"><Progress batch={b} /></div>
        <ul className="legend">
          <li><i style={{ background: "var(--good)" }} /><span>succeeded</span><b>{count(b.succeeded)}</b></li>
          <li><i style={{ background: "var(--bad)" }} /><span>failed or expired</span><b>{count(b.failed + b.expired)}</b></li>
          <li><i style={{ background: "var(--muted)" }} /><span>cancelled</span><b>{count(b.cancelled)}</b></li>
          <li><i style={{ background: "var(--line)" }} /><span>to do</span><b>{count(Math.max(0, b.lines - n))}</b></li>
        </ul>
      </Card>
      <div className="grid halves">
        <Card title="Errors by kind" note="of the lines that failed">
          {errors.length ? (
            <ul className="bars">
              {errors.map(([code, x]) => (
                <li key={code}><span><Badge tone="bad">{code}</Badge></span><b>{count(x)}</b><Share value={x / Math.max(1, b.failed + b.expired + b.cancelled)} color="var(--bad)" /></li>
              ))}
            </ul>
          ) : b.failed + b.expired ? <p className="empty">{count(b.failed)} failed, {count(b.expired)} expired.</p> : <p className="empty">No line has failed.</p>}
          {b.failed > 0 && <p className="after"><a href={jobs({ status: "failed" })}>Jobs that failed</a></p>}
        </Card>
        <Card title="Steps">
          <Table caption="Steps of the batch" rows={Object.entries(b.at).sort((x, y) => x[1] - y[1] || rank(x[0]) - rank(y[0]))} rowKey={([s]) => s}
            columns={[
              { head: "Reached", cell: ([s]) => <Status status={s} /> },
              { head: "At", cell: ([, t]) => <time dateTime={new Date(t * 1000).toISOString()}>{dateTime(new Date(t * 1000))}</time> },
            ]} />
        </Card>
      </div>
      {b.faults && b.faults.length > 0 && (
        <Card title="Why it failed" note="nothing of it ran">
          <Table caption="Faults of the input" rows={b.faults} rowKey={(f, i) => `${f.line}/${i}`}
            columns={[{ head: "Line", num: true, cell: (f) => f.line || "" }, { head: "Code", cell: (f) => <Badge tone="bad">{f.code}</Badge> }, { head: "What", wide: true, cell: (f) => f.message }]} />
        </Card>
      )}
      {b.metadata && Object.keys(b.metadata).length > 0 && <p className="filters">{Object.entries(b.metadata).map(([k, v]) => <span key={k} className="chip">{k} <b>{v}</b></span>)}</p>}
    </>
  );
}
