import { createContext, useCallback, useContext, useEffect, useMemo, useRef, useState, useSyncExternalStore } from "react";
import { api, type Figures, type Live, type Session, type Window } from "./api";

// The address: #/page/part?name=value. All of a view's state is in it.

const hash = () => window.location.hash || "#/";
const onHash = (f: () => void) => {
  window.addEventListener("hashchange", f);
  return () => window.removeEventListener("hashchange", f);
};

export function useAddress() {
  const h = useSyncExternalStore(onHash, hash);
  return useMemo(() => {
    const [path = "", query = ""] = h.replace(/^#\/?/, "").split("?");
    return { path: path.split("/").map(decodeURIComponent), query: new URLSearchParams(query) };
  }, [h]);
}

export function link(path: string, query: URLSearchParams | Record<string, string> = {}): string {
  const q = new URLSearchParams(query).toString();
  return "#/" + path + (q ? "?" + q : "");
}

/** Changes some parameters of the address; "" removes one. */
export function useQuery() {
  const { path, query } = useAddress();
  const set = useCallback((change: Record<string, string | string[]>) => {
    const [p = "", q = ""] = hash().replace(/^#\/?/, "").split("?");
    const next = new URLSearchParams(q);
    for (const [k, v] of Object.entries(change)) {
      next.delete(k);
      for (const x of Array.isArray(v) ? v : [v]) if (x !== "") next.append(k, x);
    }
    window.location.hash = link(p, next);
  }, []);
  return { path, query, set };
}

export const ranges: Record<string, [string, number]> = {
  "15m": ["15 minutes", 15 * 60],
  "1h": ["1 hour", 3600],
  "6h": ["6 hours", 6 * 3600],
  "24h": ["24 hours", 24 * 3600],
  "7d": ["7 days", 7 * 86_400],
  "30d": ["30 days", 30 * 86_400],
};

/** The window that the time picker says, and the unit for charts over it. */
export function useWindow(tick: number): Window & { unit: "minute" | "hour" | "day"; key: string } {
  const { query } = useAddress();
  const from = query.get("from");
  const to = query.get("to");
  const name = query.get("range") ?? "1h";
  return useMemo(() => {
    const range = ranges[name] ?? ranges["1h"]!;
    const until = to ? new Date(to) : undefined;
    const since = from ? new Date(from) : new Date(Date.now() - range[1] * 1000);
    const hours = ((until ?? new Date()).getTime() - since.getTime()) / 3.6e6;
    const unit = hours <= 6.1 ? "minute" : hours <= 24 * 7.1 ? "hour" : "day";
    return { since, until, unit, key: `${name}${from}${to}${tick}` };
  }, [name, from, to, tick]);
}

/** Asks once per key, and keeps the last answer while the next is on its way. */
export function useAsk<T>(path: string | null, key = ""): { data?: T; error?: Error; loading: boolean } {
  const [state, set] = useState<{ data?: T; error?: Error; loading: boolean }>({ loading: true });
  useEffect(() => {
    if (path === null) return;
    const stop = new AbortController();
    set((s) => ({ ...s, loading: true }));
    api<T>(path, { signal: stop.signal }).then(
      (data) => !stop.signal.aborted && set({ data, loading: false }),
      (error) => !stop.signal.aborted && set((s) => ({ data: s.data, error, loading: false })),
    );
    return () => stop.abort();
  }, [path, key]);
  return state;
}

/** Counts up every so many seconds while the page is visible. */
export function useTick(seconds: number): number {
  const [n, set] = useState(0);
  useEffect(() => {
    const t = setInterval(() => document.visibilityState === "visible" && set((x) => x + 1), seconds * 1000);
    return () => clearInterval(t);
  }, [seconds]);
  return n;
}

/** What is kept of a live view: a few numbers for each pool. */
export type Sample = { t: number; total: Figures; running: number; pools: Map<string, { rate: number; used: number }> };

function sampleOf(now: Live): Sample {
  const rates = new Map(now.live.pools.map((p) => [p.name, p.attempts_per_s]));
  return {
    t: Date.parse(now.live.at) / 1000, total: now.live.total, running: now.pools.reduce((s, p) => s + p.running, 0),
    pools: new Map(now.pools.map((p) => [p.name, { rate: rates.get(p.name) ?? 0, used: p.concurrency ? p.running / p.concurrency : 0 }])),
  };
}

export type LiveState = { now?: Live; samples: Sample[]; connected: boolean };

const keep = 300; // five minutes

/** The live view, and what it was in the last five minutes. */
export function useLiveFeed(on: boolean): LiveState {
  const [state, set] = useState<LiveState>({ samples: [], connected: false });
  const samples = useRef<Sample[]>([]);
  useEffect(() => {
    if (!on) return;
    const source = new EventSource("/admin/v1/live");
    source.addEventListener("live", (e) => {
      const now = JSON.parse((e as MessageEvent<string>).data) as Live;
      samples.current = [...samples.current.slice(1 - keep), sampleOf(now)];
      set({ now, samples: samples.current, connected: true });
    });
    source.onerror = () => {
      set((s) => ({ ...s, connected: false }));
      if (source.readyState === EventSource.CLOSED) void api("session").catch(() => undefined);
    };
    return () => source.close();
  }, [on]);
  return state;
}

export const LiveContext = createContext<LiveState>({ samples: [], connected: false });
export const useLive = () => useContext(LiveContext);

export const SessionContext = createContext<Session>({ role: "", keys: false, admin_key: false });
export const useSession = () => useContext(SessionContext);

export const ThemeContext = createContext("light");
