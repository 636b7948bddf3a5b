import { count, dateTime, dollars } from "../format";
import { useAsk, useTick } from "../hooks";
import { Answer, Badge, Card, Meter, Table } from "../ui";

type Budget = {
  scope: string; window: string; unit?: string; rolling?: boolean; limit: number; spent: number; held: number; left: number;
  id: string; window_end?: string; forecast?: number; on_exceeded: string; behind?: boolean;
};

export function Budgets() {
  const budgets = useAsk<{ budgets: Budget[] | null }>("budgets", String(useTick(3)));
  const show = (b: Budget, n: number) => (!b.unit || b.unit === "usd" ? dollars(n / 1e9) : `${count(n)} ${b.unit}`);
  return (
    <Card title="Budgets" note="what is spent and held of each, and what the pace comes to">
      <Answer of={budgets}>
        {({ budgets: list }) => (
          <Table caption="Budgets" rows={list ?? []} rowKey={(b) => b.id} empty="No budget is set: see `sluice budget set`."
            columns={[
              { head: "Scope", cell: (b) => b.scope, sort: (b) => b.scope },
              { head: "Window", cell: (b) => (b.rolling ? "rolling " : "") + b.window },
              { head: "Used", wide: true, cell: (b) => <><Meter value={b.spent + b.held} max={b.limit} label={`${b.scope}: used`} /><small>{b.limit ? `${(((b.spent + b.held) / b.limit) * 100).toFixed(1)} %` : "–"}</small></>, sort: (b) => (b.limit ? (b.spent + b.held) / b.limit : 0) },
              { head: "Spent", num: true, cell: (b) => show(b, b.spent), sort: (b) => b.spent },
              { head: "Held", num: true, cell: (b) => show(b, b.held), sort: (b) => b.held },
              { head: "Left", num: true, cell: (b) => show(b, b.left), sort: (b) => b.left },
              { head: "Limit", num: true, cell: (b) => show(b, b.limit), sort: (b) => b.limit },
              { head: "Forecast", num: true, cell: (b) => (b.forecast === undefined ? "–" : <span className={b.forecast > b.limit ? "badge bad" : ""}>{show(b, b.forecast)}</span>) },
              { head: "Ends", cell: (b) => (b.window_end && !b.rolling ? dateTime(b.window_end) : "–") },
              { head: "When exceeded", cell: (b) => <Badge tone="info">{b.on_exceeded}</Badge> },
            ]} />
        )}
      </Answer>
    </Card>
  );
}
