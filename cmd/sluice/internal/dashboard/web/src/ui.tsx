import { useEffect, useRef, useState, type ReactNode } from "react";
import { ApiError } from "./api";
import { Spark } from "./chart";
import { ranges, useQuery } from "./hooks";

export function Card({ title, note, actions, children, className = "" }: { title?: ReactNode; note?: ReactNode; actions?: ReactNode; children: ReactNode; className?: string }) {
  return (
    <section className={"card " + className}>
      {(title || actions) && (
        <header>
          <div>
            <h2>{title}</h2>
            {note && <p>{note}</p>}
          </div>
          {actions && <div className="actions">{actions}</div>}
        </header>
      )}
      {children}
    </section>
  );
}

export function Tile({ label, value, note, values, tone, color }: { label: string; value: ReactNode; note?: ReactNode; values?: number[]; tone?: "good" | "warn" | "bad"; color?: string }) {
  return (
    <div className={"tile " + (tone ?? "")}>
      <span className="label">{label}</span>
      <strong>{value}</strong>
      <span className="note">{note ?? "\u00a0"}</span>
      {values && <Spark values={values} color={color} />}
    </div>
  );
}

export function Badge({ tone, children }: { tone: "good" | "warn" | "bad" | "info" | "plain"; children: ReactNode }) {
  return <span className={"badge " + tone}>{children}</span>;
}

const statusTone: Record<string, "good" | "warn" | "bad" | "info" | "plain"> = {
  succeeded: "good", failed: "bad", expired: "bad", interrupted: "bad", cancelled: "plain", running: "info", waiting: "warn", queued: "plain",
  completed: "good", in_progress: "info", validating: "info", finalizing: "info", cancelling: "warn",
};

export const Status = ({ status }: { status: string }) => <Badge tone={statusTone[status] ?? "plain"}>{status.replace("_", " ")}</Badge>;

/** A bar of how much of something is used, with the figures as text. */
export function Meter({ value, max, label, tone }: { value: number; max: number; label: string; tone?: string }) {
  const share = max > 0 ? Math.min(1, value / max) : 0;
  return (
    <div className="meter" role="meter" aria-valuenow={value} aria-valuemin={0} aria-valuemax={max} aria-label={label}>
      <div className={tone ?? (share > 0.95 ? "bad" : share > 0.8 ? "warn" : "")} style={{ width: `${share * 100}%` }} />
    </div>
  );
}

export type Column<T> = { head: string; num?: boolean; cell: (row: T) => ReactNode; wide?: boolean; sort?: (row: T) => number | string };

export function Table<T>({ rows, columns, rowKey, empty = "Nothing here.", caption }: { rows: T[]; columns: Column<T>[]; rowKey: (row: T, i: number) => string; empty?: ReactNode; caption: string }) {
  const [by, setBy] = useState<{ i: number; down: boolean } | null>(null);
  const sort = by && columns[by.i]?.sort;
  const list = sort
    ? [...rows].sort((a, b) => {
        const x = sort(a), y = sort(b);
        const c = typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y));
        return by.down ? -c : c;
      })
    : rows;
  if (!rows.length) return <p className="empty">{empty}</p>;
  return (
    <div className="scroll" tabIndex={0} role="region" aria-label={caption}>
      <table>
        <caption className="sr">{caption}</caption>
        <thead>
          <tr>
            {columns.map((c, i) => (
              <th key={c.head} scope="col" className={c.num ? "num" : ""} aria-sort={by?.i === i ? (by.down ? "descending" : "ascending") : undefined}>
                {c.sort ? (
                  <button type="button" className="sort" onClick={() => setBy((b) => ({ i, down: b?.i === i ? !b.down : !!c.num }))}>
                    {c.head}
                    <i aria-hidden="true">{by?.i === i ? (by.down ? "↓" : "↑") : ""}</i>
                  </button>
                ) : (
                  c.head
                )}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {list.map((r, i) => (
            <tr key={rowKey(r, i)}>
              {columns.map((c) => (
                <td key={c.head} className={(c.num ? "num " : "") + (c.wide ? "wide" : "")}>{c.cell(r)}</td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** What to show while an answer is on its way, or did not come. */
export function Answer<T>({ of, children, height = 120 }: { of: { data?: T; error?: Error; loading: boolean }; children: (data: T) => ReactNode; height?: number }) {
  if (of.error && !of.data) {
    const away = of.error instanceof ApiError && (of.error.status >= 500 || of.error.status === 0);
    return (
      <p className="empty" role="status" style={{ minHeight: height }}>
        {away ? "This needs ClickHouse, or the server: " : ""}
        {of.error.message}
      </p>
    );
  }
  if (!of.data) return <div className="wait" style={{ minHeight: height }} role="status" aria-label="Loading" />;
  return <>{children(of.data)}</>;
}

const local = (d: Date) => new Date(d.getTime() - d.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);

/** The time picker: a range back from now, or from and to. */
export function TimePicker() {
  const { query, set } = useQuery();
  const from = query.get("from"), to = query.get("to");
  const [own, setOwn] = useState(false);
  const range = from || own ? "own" : (query.get("range") ?? "1h");
  return (
    <div className="picker">
      <label>
        <span className="sr">Time range</span>
        <select
          value={range}
          onChange={(e) => {
            setOwn(e.target.value === "own");
            if (e.target.value !== "own") set({ range: e.target.value, from: "", to: "" });
            else set({ from: new Date(Date.now() - 86_400_000).toISOString(), to: "" });
          }}
        >
          {Object.entries(ranges).map(([k, [name]]) => (
            <option key={k} value={k}>Last {name}</option>
          ))}
          <option value="own">From … to …</option>
        </select>
      </label>
      {range === "own" && (
        <>
          <label><span className="sr">From</span>
            <input type="datetime-local" value={from ? local(new Date(from)) : ""} onChange={(e) => e.target.value && set({ from: new Date(e.target.value).toISOString() })} />
          </label>
          <span aria-hidden="true">–</span>
          <label><span className="sr">To (empty: now)</span>
            <input type="datetime-local" value={to ? local(new Date(to)) : ""} onChange={(e) => set({ to: e.target.value ? new Date(e.target.value).toISOString() : "" })} />
          </label>
        </>
      )}
    </div>
  );
}

/** A tab list that is a set of toggle buttons. */
export function Choice({ label, value, options, onChange }: { label: string; value: string; options: [string, string][]; onChange: (v: string) => void }) {
  return (
    <div className="choice" role="group" aria-label={label}>
      {options.map(([v, name]) => (
        <button key={v} type="button" aria-pressed={v === value} onClick={() => onChange(v)}>{name}</button>
      ))}
    </div>
  );
}

/** Asks before something is done that cannot be taken back. */
export function Confirm({ open, title, children, action, back = "Cancel", onDone }: { open: boolean; title: string; children: ReactNode; action: string; back?: string; onDone: (yes: boolean) => void }) {
  const box = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    if (open && !box.current?.open) box.current?.showModal();
    if (!open && box.current?.open) box.current.close();
  }, [open]);
  return (
    <dialog ref={box} aria-label={title} onClose={() => open && onDone(false)}>
      <h2>{title}</h2>
      <div>{children}</div>
      <div className="buttons">
        <button type="button" onClick={() => onDone(false)}>{back}</button>
        <button type="button" className="primary" onClick={() => onDone(true)}>{action}</button>
      </div>
    </dialog>
  );
}

export function Share({ value, color = "var(--accent)" }: { value: number; color?: string }) {
  return <span className="share" aria-hidden="true"><i style={{ width: `${Math.min(100, value * 100)}%`, background: color }} /></span>;
}

export const Dot = ({ color }: { color: string }) => <i className="dot" style={{ background: color }} aria-hidden="true" />;
