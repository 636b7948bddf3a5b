import { useContext, useEffect, useId, useMemo, useRef, useState } from "react";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { ThemeContext } from "./hooks";

export type Series = { label: string; values: (number | null)[]; color?: string; dash?: number[] };

export const palette = Array.from({ length: 9 }, (_, i) => `--c${i}`);

/** A colour that stays with a name as long as the names stay the same. */
export const colorOf = (i: number) => `var(${palette[i % palette.length]})`;

const resolve = (el: Element, color: string) =>
  getComputedStyle(el).getPropertyValue(color.replace(/^var\(|\)$/g, "")).trim() || color;

type Props = {
  title: string;
  times: number[]; // seconds
  series: Series[];
  format: (v: number) => string;
  axis?: (v: number) => string; // default: format
  kind?: "line" | "area" | "bars"; // area and bars are stacked
  height?: number;
  max?: number;
  range?: [number, number]; // seconds; default: what there is
  legend?: boolean;
  legendAt?: number; // which values the legend shows without a cursor; default: the last
};

/** A chart over time. What it shows is also in its legend, as text. */
export function TimeChart({ title, times, series, format, axis = format, kind = "line", height = 220, max, range, legend = true, legendAt = times.length - 1 }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const theme = useContext(ThemeContext);
  const [hover, setHover] = useState<number | null>(null);
  const stacked = kind !== "line";
  const data = useMemo(() => stack(times, series, stacked), [times, series, stacked]);
  const names = series.map((s) => s.label).join("\n");
  const axisRef = useRef(axis);
  axisRef.current = axis;
  const rangeRef = useRef(range);
  rangeRef.current = range;
  const dataRef = useRef(data);
  dataRef.current = data;

  useEffect(() => {
    const el = box.current!;
    const text = resolve(el, "var(--muted)");
    const grid = resolve(el, "var(--line)");
    const font = "12px system-ui, sans-serif";
    const bars = kind === "bars" ? uPlot.paths.bars!({ size: [0.86, 64], align: 1 }) : undefined;
    const opts: uPlot.Options = {
      width: el.clientWidth || 300,
      height,
      padding: [8, 28, 0, 0],
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false }, points: { size: 6 } },
      scales: { x: { time: true, range: (_u, lo, hi) => rangeRef.current ?? [lo ?? 0, hi ?? 1] }, y: { range: (_u, lo, hi) => [Math.min(0, lo ?? 0), max ?? (hi > 0 ? hi * 1.08 : 1)] } },
      axes: [
        { stroke: text, font, grid: { show: false }, ticks: { show: false }, space: 76, size: (_u, v) => (v?.some((x) => x?.includes("\n")) ? 46 : 34), gap: 8, values: tickLabels },
        { stroke: text, font, grid: { stroke: grid, width: 1 }, ticks: { show: false }, size: 62, space: 36, values: (_u, v) => v.map((x) => axisRef.current(x)) },
      ],
      series: [
        {},
        ...series.map((s, i) => {
          const c = resolve(el, s.color ?? colorOf(i));
          return {
            label: s.label, stroke: c, width: kind === "bars" ? 0 : 1.75, dash: s.dash, spanGaps: false, paths: bars,
            fill: kind === "line" ? undefined : kind === "bars" ? c : c + "59", points: { show: (u: uPlot) => kind === "line" && u.data[0].length < 2 },
          } satisfies uPlot.Series;
        }),
      ],
      // A stacked area is filled down to the next one only.
      bands: kind === "area" ? series.slice(1).map((_, i) => ({ series: [i + 1, i + 2] as [number, number] })) : undefined,
      hooks: { setCursor: [(u) => setHover(u.cursor.idx ?? null)] },
    };
    const u = new uPlot(opts, dataRef.current, el);
    plot.current = u;
    const size = new ResizeObserver(() => u.setSize({ width: el.clientWidth, height }));
    size.observe(el);
    return () => {
      size.disconnect();
      u.destroy();
      plot.current = null;
    };
    // A new set of series is a new chart; new values are not.
  }, [names, kind, height, theme, max]);

  useEffect(() => plot.current?.setData(data), [data]);

  const at = hover ?? legendAt;
  const id = useId();
  return (
    <figure className="chart" aria-labelledby={id}>
      <figcaption id={id} className="sr">{title}</figcaption>
      <div ref={box} className="plot" style={{ height }} role="img" aria-label={title} />
      {legend && (
        <ul className="legend">
          {series.map((s, i) => (
            <li key={s.label}>
              <i style={{ background: s.color ?? colorOf(i) }} />
              <span>{s.label}</span>
              <b>{s.values[at] === null || s.values[at] === undefined ? "–" : format(s.values[at]!)}</b>
            </li>
          ))}
        </ul>
      )}
    </figure>
  );
}

/** Stacked from the last series up, so that the first lies on top and is drawn first. */
function stack(times: number[], series: Series[], stacked: boolean): uPlot.AlignedData {
  if (!stacked) return [times, ...series.map((s) => s.values)] as uPlot.AlignedData;
  const sum = new Array<number>(times.length).fill(0);
  const rows = series.toReversed().map((s) => s.values.map((v, i) => (sum[i]! += v ?? 0)));
  return [times, ...rows.reverse()] as uPlot.AlignedData;
}

function tickLabels(_u: uPlot, splits: number[]): string[] {
  const span = (splits.at(-1) ?? 0) - (splits[0] ?? 0);
  let day = "";
  return splits.map((s) => {
    const d = new Date(s * 1000);
    const date = d.toLocaleDateString([], { month: "short", day: "numeric" });
    if (span > 3 * 86_400) return date;
    const time = d.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: span < 240 ? "2-digit" : undefined, hour12: false });
    if (span > 20 * 3600 && date !== day) {
      day = date;
      return `${time}\n${date}`;
    }
    return time;
  });
}

/** A line without axes, for a tile. */
export function Spark({ values, color = "var(--accent)" }: { values: number[]; color?: string }) {
  const w = 120, h = 30;
  if (values.length < 2) return <svg className="spark" viewBox={`0 0 ${w} ${h}`} aria-hidden="true" />;
  const top = Math.max(...values, 1e-9);
  const p = values.map((v, i) => `${((i / (values.length - 1)) * w).toFixed(1)},${(h - 2 - (v / top) * (h - 4)).toFixed(1)}`);
  return (
    <svg className="spark" viewBox={`0 0 ${w} ${h}`} preserveAspectRatio="none" aria-hidden="true">
      <polygon points={`0,${h} ${p.join(" ")} ${w},${h}`} fill={color} opacity="0.13" />
      <polyline points={p.join(" ")} fill="none" stroke={color} strokeWidth="1.6" vectorEffect="non-scaling-stroke" />
    </svg>
  );
}

export const unitSeconds = { minute: 60, hour: 3600, day: 86_400 };

const timeOf = (key: string) => Date.parse(key.replace(" ", "T") + (key.length > 10 ? ":00Z" : "T00:00:00Z")) / 1000;

type Over = { since: Date; until?: Date; unit: keyof typeof unitSeconds };

/** The whole window in seconds, for a chart's axis. */
export function rangeOf(w: Over): [number, number] {
  const u = unitSeconds[w.unit];
  return [Math.floor(w.since.getTime() / 1000 / u) * u, (w.until ?? new Date()).getTime() / 1000];
}

/** Rows whose first key is a time, as series by the second key; the rest of many names is one. Times without rows are there too. */
export function seriesOf<T extends { keys: string[] }>(rows: T[], w: Over, value: (r: T) => number | null, opts: { top?: number; sum?: boolean } = {}): { times: number[]; series: Series[] } {
  const { top = 7, sum = true } = opts;
  const [from, to] = rangeOf(w);
  const times: number[] = [];
  if (rows.length) for (let t = from; t <= to; t += unitSeconds[w.unit]) times.push(t);
  const at = new Map(times.map((t, i) => [t, i]));
  const by = new Map<string, (number | null)[]>();
  const total = new Map<string, number>();
  for (const r of rows) {
    const name = r.keys[1] ?? "all";
    const v = value(r);
    const list = by.get(name) ?? new Array<number | null>(times.length).fill(sum ? 0 : null);
    const i = at.get(timeOf(r.keys[0]!));
    if (i !== undefined) list[i] = v;
    by.set(name, list);
    total.set(name, (total.get(name) ?? 0) + (v ?? 0));
  }
  const names = [...by.keys()].sort((a, b) => total.get(b)! - total.get(a)! || a.localeCompare(b));
  const series: Series[] = names.slice(0, top).map((n) => ({ label: n || "(none)", values: by.get(n)! }));
  const rest = names.slice(top);
  if (sum && rest.length) {
    series.push({ label: `${rest.length} more`, color: "var(--c8)", values: times.map((_, i) => rest.reduce((s, n) => s + (by.get(n)![i] ?? 0), 0)) });
  }
  return { times, series };
}
