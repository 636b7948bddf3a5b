import { useState } from "react";
import type { Dead } from "../api";
import { ago, bytes, money } from "../format";
import { link, useAsk, useSession, useTick } from "../hooks";
import { Answer, Badge, Card, Confirm, Table } from "../ui";
import { requeue } from "./jobs";

export function DeadLetters() {
  const tick = useTick(5);
  const [n, again] = useState(0);
  const { role } = useSession();
  const [ask, setAsk] = useState<Dead | "all" | null>(null);
  const [said, setSaid] = useState("");
  const dead = useAsk<{ dead: Dead[] }>("dead?limit=500", `${tick}/${n}`);
  const run = (d: Dead | "all") =>
    requeue(d === "all" ? { all: true } : { tenant: d.tenant, job: d.job_id }).then(
      (r) => { setSaid(r.requeued.length === 1 ? `${r.requeued[0]} is queued again.` : `${r.requeued.length} jobs are queued again.`); again((x) => x + 1); },
      (e: Error) => setSaid(e.message),
    );
  return (
    <>
      <p role="status" className={said ? "banner info" : "sr"}>{said}</p>
      <Answer of={dead}>
        {({ dead: list }) => (
          <Card title={`${list.length} ${list.length === 1 ? "dead letter" : "dead letters"}`} note="jobs that ran out of attempts, kept for 30 days"
            actions={role === "admin" && list.length > 0 && <button type="button" onClick={() => setAsk("all")}>Requeue all</button>}>
            <Table caption="Dead letters" rows={[...list].reverse()} rowKey={(d) => d.tenant + "/" + d.job_id} empty="No job has run out of attempts. Good."
              columns={[
                { head: "Job", cell: (d) => <a className="mono" title={d.job_id} href={link(`jobs/${encodeURIComponent(d.job_id)}`, { tenant: d.tenant })}>{d.job_id}</a>, sort: (d) => d.job_id },
                { head: "Tenant", cell: (d) => d.tenant, sort: (d) => d.tenant },
                { head: "Route", cell: (d) => d.route, sort: (d) => d.route },
                { head: "Last error", cell: (d) => <Badge tone="bad">{d.error_code || "unknown"}</Badge>, sort: (d) => d.error_code ?? "" },
                { head: "Pool", cell: (d) => d.pool ?? "", sort: (d) => d.pool ?? "" },
                { head: "Attempts", num: true, cell: (d) => d.attempts, sort: (d) => d.attempts },
                { head: "Request", num: true, cell: (d) => bytes(d.body_bytes), sort: (d) => d.body_bytes },
                { head: "Cost", num: true, cell: (d) => money(d.cost_nano_usd), sort: (d) => d.cost_nano_usd ?? -1 },
                { head: "Dead since", cell: (d) => <time dateTime={d.at} title={d.at}>{ago(d.at)}</time>, sort: (d) => d.at },
                ...(role === "admin" ? [{ head: "Action", cell: (d: Dead) => <button type="button" aria-label={`Requeue ${d.job_id}`} onClick={() => setAsk(d)}>Requeue</button> }] : []),
              ]} />
          </Card>
        )}
      </Answer>
      <Confirm open={!!ask} title={ask === "all" ? "Requeue all dead letters?" : `Requeue ${ask ? ask.job_id : ""}?`} action="Requeue" onDone={(yes) => { if (yes && ask) void run(ask); setAsk(null); }}>
        <p>{ask === "all" ? "Every dead letter goes on under its job ID with attempts anew, and costs what it costs." : "It goes on under its job ID with attempts anew, and costs what it costs."}</p>
      </Confirm>
    </>
  );
}
