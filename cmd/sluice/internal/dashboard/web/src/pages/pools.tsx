import { useState } from "react";
import { post, type Pool } from "../api";
import { Spark, TimeChart, type Series } from "../chart";
import { count, millis, money, percent, rate } from "../format";
import { useLive, useSession } from "../hooks";
import { Badge, Card, Confirm, Meter } from "../ui";
import { poolState, rateOf, usePoolColors } from "./overview";

export function Pools() {
  const { now, samples } = useLive();
  const { role } = useSession();
  const color = usePoolColors();
  const [ask, setAsk] = useState<Pool | null>(null);
  const [fault, setFault] = useState("");
  if (!now) return <div className="wait tall" role="status" aria-label="Waiting for the live view" />;
  const times = samples.map((s) => s.t);
  const used: Series[] = now.pools.map((p) => ({ label: p.name, color: color(p.name), values: samples.map((s) => s.pools.get(p.name)?.used ?? null) }));
  const change = (p: Pool, op: "drain" | "resume") =>
    post(`pools/${encodeURIComponent(p.name)}/${op}`).then(() => setFault(""), (e: Error) => setFault(e.message));
  return (
    <>
      {fault && <p className="banner" role="alert">{fault}</p>}
      <Card title="Utilisation" note="share of each pool’s places that is in use, last five minutes">
        <TimeChart title="Utilisation of the pools over the last five minutes" times={times} range={[Math.min(times[0]!, times.at(-1)! - 60), times.at(-1)!]} series={used} format={(v) => percent(v, 0)} max={1} height={180} />
      </Card>
      <div className="cards">
        {now.pools.map((p) => {
          const f = now.live.pools.find((x) => x.name === p.name);
          const h = p.health;
          const [tone, text] = poolState(p);
          return (
            <section key={p.name} className="card pool" style={{ "--pool": color(p.name) } as React.CSSProperties} aria-label={`Pool ${p.name}`}>
              <header>
                <div>
                  <h2>{p.name}</h2>
                  <p>{[p.provider, p.adapter !== p.provider && p.adapter, p.region, p.tier].filter(Boolean).join(" · ")}</p>
                </div>
                <Badge tone={tone}>{text}</Badge>
              </header>
              <div className="use">
                <div><span>In use</span><b>{p.running} of {p.concurrency}</b></div>
                <Meter value={p.running} max={p.concurrency} label={`${p.name}: places in use`} tone="use" />
              </div>
              <dl className="facts">
                <div><dt>Queued</dt><dd>{count(p.queued)}</dd></div>
                <div><dt>Rate</dt><dd>{rate(f?.attempts_per_s ?? 0)}/s</dd></div>
                <div><dt>Success</dt><dd>{percent(f?.success ?? (h?.samples ? h.success : -1))}</dd></div>
                <div><dt>Latency p50</dt><dd>{millis(f?.latency_ms.p50 || h?.latency_ms.p50)}</dd></div>
                <div><dt>Latency p95</dt><dd>{millis(f?.latency_ms.p95 || h?.latency_ms.p95)}</dd></div>
                <div><dt>First token p95</dt><dd>{millis(f?.ttft_ms.p95 || h?.ttft_ms.p95)}</dd></div>
                <div><dt>Spend/min</dt><dd>{money(f?.spend_nano_usd ?? 0)}</dd></div>
                <div><dt>Tokens out</dt><dd>{count(f?.tokens_per_s ?? 0)}/s</dd></div>
                <div><dt>Workers</dt><dd>{p.workers}</dd></div>
              </dl>
              <Spark values={samples.map((s) => rateOf(s, p.name))} color={color(p.name)} />
              {[["Requests a minute", h?.requests] as const, ["Tokens a minute", h?.tokens] as const].map(([name, u]) => u && (
                <div className="use" key={name}>
                  <div><span>{name}</span><b>{count(u.used)} of {count(u.limit)}</b></div>
                  <Meter value={u.used} max={u.limit} label={`${p.name}: ${name}`} />
                </div>
              ))}
              <p className="models">{p.models.map((m) => <span key={m.name} className={"chip" + (m.priced ? "" : " warn")} title={m.priced ? m.upstream : "no price is known"}>{m.name}{m.priced ? "" : " (no price)"}</span>)}</p>
              {role === "admin" && (
                <footer>
                  {p.draining
                    ? <button type="button" onClick={() => void change(p, "resume")}>Resume</button>
                    : <button type="button" onClick={() => setAsk(p)}>Drain</button>}
                </footer>
              )}
            </section>
          );
        })}
      </div>
      <Confirm open={!!ask} title={`Drain ${ask?.name ?? ""}?`} action="Drain" onDone={(yes) => { if (yes && ask) void change(ask, "drain"); setAsk(null); }}>
        <p>It gets no new jobs; those that it has are finished. It stays drained until it is resumed.</p>
      </Confirm>
    </>
  );
}
