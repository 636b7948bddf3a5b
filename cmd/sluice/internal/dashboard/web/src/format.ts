// Numbers and times for people.

const plain = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

export const count = (n: number) => (Math.abs(n) < 10_000 ? plain.format(n) : compact.format(n));

export function rate(n: number): string {
  if (n === 0) return "0";
  return n < 10 ? n.toFixed(1) : count(n);
}

/** Dollars from nano-dollars: as many digits as say something. */
export function money(nano: number | undefined | null): string {
  if (nano === undefined || nano === null) return "unknown";
  return dollars(nano / 1e9);
}

export function dollars(d: number): string {
  if (d < 0) return "−" + dollars(-d);
  const a = d;
  if (a === 0) return "$0";
  if (a >= 10_000) return "$" + compact.format(d);
  if (a >= 1) return "$" + new Intl.NumberFormat("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 }).format(d);
  if (a >= 0.01) return "$" + d.toFixed(4);
  if (a >= 0.000001) return "$" + d.toFixed(6);
  return "$" + d.toExponential(1);
}

/** As dollars, for an axis: no digits that say nothing. */
export const axisDollars = (d: number) => (d && d < 1 ? "$" + Number(d.toPrecision(3)) : dollars(d));

export function millis(ms: number | undefined): string {
  if (!ms) return "–";
  if (ms < 1) return ms.toFixed(2) + " ms";
  if (ms < 1000) return Math.round(ms) + " ms";
  if (ms < 60_000) return (ms / 1000).toFixed(ms < 10_000 ? 2 : 1) + " s";
  return Math.floor(ms / 60_000) + " m " + Math.round((ms % 60_000) / 1000) + " s";
}

/** As millis, for an axis: nothing is 0 there. */
export const axisMillis = (ms: number) => (ms ? millis(ms) : "0");

export const capital = (s: string) => s.charAt(0).toUpperCase() + s.slice(1);

/** A time that something takes, roughly. */
export function span(seconds: number): string {
  if (seconds < 60) return Math.max(1, Math.round(seconds)) + " s";
  if (seconds < 3600) return Math.floor(seconds / 60) + " min " + Math.round(seconds % 60) + " s";
  if (seconds < 86_400) return Math.floor(seconds / 3600) + " h " + Math.round((seconds % 3600) / 60) + " min";
  return (seconds / 86_400).toFixed(1) + " d";
}

export function percent(x: number, digits = 1): string {
  if (x < 0 || Number.isNaN(x)) return "–";
  if (x === 1) return "100 %";
  return (Math.min(x, 0.9999) * 100).toFixed(digits) + " %";
}

export function bytes(n: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let i = 0;
  while (n >= 1024 && i < units.length - 1) {
    n /= 1024;
    i++;
  }
  return `${i ? n.toFixed(1) : n} ${units[i]}`;
}

export const clock = (t: string | Date) =>
  new Date(t).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });

export const dateTime = (t: string | Date) =>
  new Date(t).toLocaleString([], { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });

export function ago(t: string): string {
  const s = Math.max(0, (Date.now() - Date.parse(t)) / 1000);
  if (s < 60) return `${Math.floor(s)} s ago`;
  if (s < 3600) return `${Math.floor(s / 60)} min ago`;
  if (s < 86_400) return `${Math.floor(s / 3600)} h ago`;
  return `${Math.floor(s / 86_400)} d ago`;
}
