import { question, type CostRow, type JobsRow, type Window } from "../api";
import { TimeChart, unitSeconds } from "../chart";
import { axisDollars, count, dateTime, dollars } from "../format";
import { useAsk, useTick } from "../hooks";
import { Answer, Badge, Card, Meter, Table } from "../ui";

type Budget = {
  scope: string; window: string; unit?: string; rolling?: boolean; limit: number; spent: number; held: number; left: number;
  id: string; window_start?: string; window_end?: string; forecast?: number; on_exceeded: string; behind?: boolean;
};

const inDollars = (b: Budget) => !b.unit || b.unit === "usd";
const amount = (b: Budget, n: number) => (inDollars(b) ? dollars(n / 1e9) : `${count(n)} ${b.unit}`);

/** When what is left is used up at the pace of late; undefined: not within the window. */
function emptyAt(b: Budget): Date | undefined {
  const end = Date.parse(b.window_end ?? ""), pace = ((b.forecast ?? 0) - b.spent) / (end - Date.now());
  if (!(pace > 0) || b.forecast! <= b.limit) return undefined;
  return new Date(Date.now() + Math.max(0, b.limit - b.spent) / pace);
}

export function Budgets() {
  const tick = useTick(3);
  const budgets = useAsk<{ budgets: Budget[] | null }>("budgets", String(tick));
  return (
    <>
      <Card title="Budgets" note="what is spent and held of each, and what the pace comes to">
        <Answer of={budgets}>
          {({ budgets: list }) => (
            <Table caption="Budgets" rows={list ?? []} rowKey={(b) => b.id} empty="No budget is set: see `sluice budget set`."
              columns={[
                { head: "Scope", cell: (b) => b.scope, sort: (b) => b.scope },
                { head: "Window", cell: (b) => (b.rolling ? "rolling " : "") + b.window },
                { head: "Used", wide: true, cell: (b) => <><Meter value={b.spent + b.held} max={b.limit} label={`${b.scope}: used`} /><small>{b.limit ? `${(((b.spent + b.held) / b.limit) * 100).toFixed(1)} %` : "–"}</small></>, sort: (b) => (b.limit ? (b.spent + b.held) / b.limit : 0) },
                { head: "Spent", num: true, cell: (b) => amount(b, b.spent), sort: (b) => b.spent },
                { head: "Held", num: true, cell: (b) => amount(b, b.held), sort: (b) => b.held },
                { head: "Left", num: true, cell: (b) => amount(b, b.left), sort: (b) => b.left },
                { head: "Limit", num: true, cell: (b) => amount(b, b.limit), sort: (b) => b.limit },
                { head: "Forecast", num: true, cell: (b) => (b.forecast === undefined ? "–" : <span className={b.forecast > b.limit ? "badge bad" : ""}>{amount(b, b.forecast)}</span>) },
                { head: "Ends", cell: (b) => (b.window_end && !b.rolling ? dateTime(b.window_end) : "–") },
                { head: "When exceeded", cell: (b) => <Badge tone="info">{b.on_exceeded}</Badge> },
              ]} />
          )}
        </Answer>
      </Card>
      {budgets.data && (
        <div className="grid halves">
          {(budgets.data.budgets ?? []).filter((b) => b.window_start && b.window_end && !b.rolling && whereOf(b)).slice(0, 12).map((b) => <BurnDown key={b.id} budget={b} tick={Math.floor(tick / 5)} />)}
        </div>
      )}
    </>
  );
}

/** The questions' filters that a scope's terms are; null where there is no such question. */
function whereOf(b: Budget): Record<string, string> | null {
  const where: Record<string, string> = {};
  for (const term of b.scope === "global" ? [] : b.scope.split(",")) {
    const [kind = "", rest = ""] = [term.slice(0, term.indexOf(":")), term.slice(term.indexOf(":") + 1)];
    if (kind === "label") where["label:" + rest.slice(0, rest.indexOf("="))] = rest.slice(rest.indexOf("=") + 1);
    else where[kind === "key" ? "tenant" : kind] = rest;
  }
  const ofJobs = Object.keys(where).every((k) => k === "tenant" || k === "route" || k.startsWith("label:"));
  return b.unit === "jobs" && !ofJobs ? null : where;
}

/** What was left of a budget at each time of its window, and what the pace leaves. */
function BurnDown({ budget: b, tick }: { budget: Budget; tick: number }) {
  const start = Date.parse(b.window_start!) / 1000, end = Date.parse(b.window_end!) / 1000, now = Date.now() / 1000;
  const unit: keyof typeof unitSeconds = now - start <= 6.1 * 3600 ? "minute" : now - start <= 8 * 86_400 ? "hour" : "day";
  const w: Window = { since: new Date(start * 1000) };
  const jobs = b.unit === "jobs";
  const spent = useAsk<{ rows: (CostRow & JobsRow)[] }>(question(jobs ? "jobs" : "cost", w, { by: [jobs && unit === "minute" ? "hour" : unit], where: whereOf(b)!, limit: 10_000 }), String(tick));
  const worth = (r: CostRow & JobsRow) => (jobs ? r.jobs : inDollars(b) ? r.spend_nano_usd : r.tokens_in + r.tokens_out);
  const scale = inDollars(b) ? 1e9 : 1;
  const gone = emptyAt(b);
  const note = b.left <= 0 ? "nothing is left" : gone ? `used up ${gone.getTime() < end * 1000 ? "about " + dateTime(gone) : "after its end"} at the pace of late` : b.forecast === undefined ? "" : `${amount(b, Math.max(0, b.limit - b.forecast))} would be left at the end`;
  return (
    <Card title={b.id} note={note}>
      <Answer of={spent} height={230}>
        {({ rows }) => {
          const at = new Map(rows.map((r) => [Date.parse(r.keys[0]!.replace(" ", "T") + (r.keys[0]!.length > 10 ? ":00Z" : "T00:00:00Z")) / 1000, worth(r)]));
          const step = unitSeconds[jobs && unit === "minute" ? "hour" : unit];
          const times: number[] = [start], left: (number | null)[] = [b.limit / scale];
          let sum = 0;
          for (let t = Math.floor(start / step) * step; t + step < now; t += step) {
            sum += at.get(t) ?? 0;
            times.push(t + step);
            left.push((b.limit - sum) / scale);
          }
          times.push(now, end);
          left.push((b.limit - b.spent) / scale, null); // the budget's own word counts
          const even = times.map((t) => (b.limit * (1 - (t - start) / (end - start))) / scale);
          const ahead: (number | null)[] = times.map(() => null);
          if (b.forecast !== undefined) {
            ahead[ahead.length - 2] = (b.limit - b.spent) / scale;
            ahead[ahead.length - 1] = Math.max(0, b.limit - b.forecast) / scale;
          }
          if (gone && gone.getTime() / 1000 < end) { // to nothing, and then along it
            times.splice(-1, 0, gone.getTime() / 1000);
            left.splice(-1, 0, null);
            even.splice(-1, 0, (b.limit * (1 - (gone.getTime() / 1000 - start) / (end - start))) / scale);
            ahead.splice(-1, 0, 0);
          }
          const shown = (v: number) => (inDollars(b) ? dollars(v) : count(v));
          return <TimeChart title={`Burn-down of the budget ${b.id}`} times={times} range={[start, end]} format={shown} axis={inDollars(b) ? axisDollars : count} height={200} legendAt={times.findLastIndex((t) => t <= now)} series={[
            { label: "left", values: left, color: b.left <= 0 ? "var(--bad)" : "var(--c0)" },
            { label: "at this pace", values: ahead, color: "var(--c5)", dash: [5, 4] },
            { label: "spent evenly", values: even, color: "var(--muted)", dash: [2, 4] },
          ]} />;
        }}
      </Answer>
    </Card>
  );
}
