// What the gateway's /admin/v1 answers, and how to ask it.

export type Spread = { p50: number; p90?: number; p95: number; p99: number };

export type Figures = {
  name?: string;
  attempts_per_s: number;
  jobs_per_s: number;
  tokens_per_s: number;
  ended: number;
  failed: number;
  success: number; // -1: nothing ended
  spend_nano_usd: number;
  unknown_cost: number;
  latency_ms: Spread;
  ttft_ms: Spread;
};

export type Recent = {
  at: string; tenant: string; job_id: string; route: string; strategy: string; pool: string; model: string; attempt: number;
  candidates: number; excluded: number; status: string; error_code?: string; latency_ms: number; cost_nano_usd?: number;
  decision?: Decision; // where it is known without asking
};
export type Decided = { at: string; tenant: string; job_id: string; attempt: number; status: string; error_code: string; latency_ms: number; cost_nano_usd: number | null; decision: Decision };

export type Used = { limit: number; used: number };

export type Pool = {
  name: string; adapter: string; provider: string; region?: string; tier?: string; weight: number; concurrency: number;
  models: { name: string; upstream: string; priced: boolean }[]; queued: number; running: number; workers: number; draining: boolean;
  health?: {
    circuit: string; ejected: boolean; down: boolean; unhealthy?: boolean; draining: boolean; until?: string; success: number; samples: number; score: number;
    latency_ms: { p50: number; p95: number }; ttft_ms: { p50: number; p95: number }; requests?: Used; tokens?: Used;
  };
};

export type Live = {
  live: { at: string; total: Figures; pools: Figures[]; routes: Figures[]; recent: Recent[] };
  pools: Pool[];
  streams: { name: string; messages: number; bytes: number }[];
  error?: string;
};

export type CostRow = {
  keys: string[]; spend_nano_usd: number; attempts: number; unknown_cost: number; succeeded: number; failed: number; wasted_nano_usd: number;
  tokens_in: number; tokens_cached: number; tokens_out: number; latency_ms: Spread; ttft_ms: Spread;
};
export type JobsRow = {
  keys: string[]; jobs: number; succeeded: number; failed: number; attempts: number; spend_nano_usd: number; unknown_cost: number;
  wait_ms: Spread; total_ms: Spread;
};
export type WasteRow = { keys: string[]; reason: string; attempts: number; spend_nano_usd: number };
export type ShareRow = { route: string; pool: string; model: string; attempts: number; share: number; expected: number; spend_nano_usd: number };
export type CacheRow = { pool: string; model: string; cache_read_tokens: number; hit_share: number; saved_nano_usd?: number };
export type DearRow = {
  finished_at: string; tenant: string; job_id: string; route: string; class: string; status: string; attempts: number;
  spend_nano_usd: number; total_ms: number;
};

export type Candidate = { p: string; m: string; w: number; d: number; s: number; x?: string };
export type Decision = { r: string; sg: string; p?: string; m?: string; c: Candidate[]; ru?: string[]; ex?: string; va?: string; fb?: number };
export type Step = {
  seq: number; at: string; status: string; reason?: string; until?: string; attempt?: number; pool?: string; model?: string; outcome?: string;
  error_code?: string; usage?: Record<string, number>; cost_nano_usd?: number; ttft_ms?: number; latency_ms?: number; worker?: string; decision?: Decision;
};
export type Job = {
  job_id: string; tenant: string; status: string; reason?: string; until?: string; class?: string; route?: string; batch_id?: string;
  attempts: number; cost_nano_usd?: number; submitted_at?: string; history?: Step[];
};
export type Text = {
  attempt: number; at: string; expires_at: string; route: string; pool: string; model: string; status: string;
  prompt: string; answer: string; prompt_bytes: number; answer_bytes: number; redactions?: Record<string, number>;
};
export type Batch = {
  id: string; tenant: string; api: "openai" | "anthropic"; endpoint: string; model?: string; status: string; at: Record<string, number>; expires_at: number;
  placement: string; metadata?: Record<string, string>; lines: number; succeeded: number; failed: number; cancelled: number; expired: number;
  errors?: Record<string, number>; usage: { input_tokens: number; output_tokens: number }; cost_nano_usd: number; lines_of_unknown_cost: number;
  faults?: { code: string; message: string; line?: number }[]; results: string[];
};
export type Dead = {
  tenant: string; job_id: string; class: string; route: string; attempts: number; at: string; error_code?: string; pool?: string;
  body_bytes: number; cost_nano_usd?: number; history?: Job;
};
export type Route = { model: string; strategy: string; candidates: { pool: string; model: string; weight: number }[] };
export type Session = { role: "" | "viewer" | "admin"; tenant?: string; keys: boolean; admin_key: boolean };

export class ApiError extends Error {
  constructor(readonly status: number, message: string) {
    super(message);
  }
}

export async function api<T>(path: string, init?: RequestInit): Promise<T> {
  let r: Response;
  try {
    r = await fetch("/admin/v1/" + path, { ...init, headers: init?.body ? { "Content-Type": "application/json" } : undefined });
  } catch (e) {
    if (init?.signal?.aborted) throw e;
    throw new ApiError(0, "Sluice does not answer. Is it running?");
  }
  if (r.status === 204) return undefined as T;
  const text = await r.text();
  let body: any;
  try {
    body = JSON.parse(text);
  } catch {
    throw new ApiError(r.status, `The answer is not understood (HTTP ${r.status}).`);
  }
  if (!r.ok) {
    if (r.status === 401) window.dispatchEvent(new Event("sluice-logged-out"));
    throw new ApiError(r.status, body?.error?.message ?? `HTTP ${r.status}`);
  }
  return body as T;
}

export const post = <T,>(path: string, body?: unknown) => api<T>(path, { method: "POST", body: JSON.stringify(body ?? {}) });

export type Window = { since: Date; until?: Date };

export function question(name: string, w: Window, p: { by?: string[]; where?: Record<string, string>; limit?: number } = {}): string {
  const q = new URLSearchParams({ since: w.since.toISOString().replace(/\.\d+Z/, "Z") });
  if (w.until) q.set("until", w.until.toISOString().replace(/\.\d+Z/, "Z"));
  if (p.by?.length) q.set("by", p.by.join(","));
  for (const [k, v] of Object.entries(p.where ?? {})) q.append("where", `${k}=${v}`);
  if (p.limit) q.set("limit", String(p.limit));
  return `analytics/${name}?${q}`;
}
