import { useState } from "react";
import { type Text } from "../api";
import { dateTime } from "../format";
import { useAsk, useSession } from "../hooks";
import { Answer, Card, Status } from "../ui";

/** What was said in a job, once somebody asks for it. */
export function JobText({ id, tenant }: { id: string; tenant: string }) {
  const { role, tenant: own } = useSession();
  const [shown, show] = useState(false);
  const q = tenant ? `?tenant=${encodeURIComponent(tenant)}` : "";
  const texts = useAsk<{ texts: Text[] }>(shown ? `jobs/${encodeURIComponent(id)}/text${q}` : null);
  if (role !== "admin" && !own) return null;
  return (
    <Card title="Prompt and answer" note="of tenants that keep them, redacted" actions={!shown && <button type="button" onClick={() => show(true)}>Show what was said</button>}>
      {shown && (
        <Answer of={texts}>
          {({ texts: list }) =>
            list.length ? list.map((t) => (
              <section key={t.attempt} className="said" aria-label={`What was said in attempt ${t.attempt}`}>
                <p>Attempt {t.attempt} · {t.pool} · {t.model} · <Status status={t.status} /> <small>kept until {dateTime(t.expires_at)}{left(t)}</small></p>
                <pre tabIndex={0} aria-label={`Prompt of attempt ${t.attempt}`}>{t.prompt}</pre>
                <pre tabIndex={0} aria-label={`Answer of attempt ${t.attempt}`}>{t.answer || "(no answer)"}</pre>
              </section>
            )) : <p className="empty">Nothing is kept of this job.</p>
          }
        </Answer>
      )}
    </Card>
  );
}

const left = (t: Text) => {
  const kinds = Object.entries(t.redactions ?? {}).map(([kind, n]) => `${n} ${kind}`);
  return kinds.length ? ` · left out: ${kinds.join(", ")}` : "";
};
