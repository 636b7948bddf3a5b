// Drives the dashboard of a real `sluice up` in headless Chromium under live
// load: every page, both widths, both themes; no console error, no serious
// fault that axe finds, first paint, no growth, keys, log-in and roles.
//
//   node test/run.mjs            BIN=…/bin/sluice, CHROMIUM=/usr/bin/chromium
//   SHOTS=../../../docs/dashboard …   writes screenshots there
//   SECONDS=60 …                 watches the live page for that long (60 unless said)
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { chromium } from "playwright-core";

const bin = resolve(process.env.BIN ?? "../../../../../bin/sluice");
const chrome = process.env.CHROMIUM ?? ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find(existsSync);
const shots = process.env.SHOTS && resolve(process.env.SHOTS);
const seconds = Number(process.env.SECONDS ?? 60);
if (!chrome || !existsSync(bin)) {
  console.error(`SKIPPED, NOT TESTED: the dashboard needs ${chrome ? bin + " (make build)" : "Chromium (Debian: apt-get install chromium), or CHROMIUM=path"}`);
  process.exit(process.env.CI ? 1 : 0);
}
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

const port = () => new Promise((done, fail) => {
  const s = createServer().once("error", fail).listen(0, "127.0.0.1", () => { const p = s.address().port; s.close(() => done(p)); });
});
const sleep = (ms) => new Promise((r) => setTimeout(r, ms));

let failed = 0, passed = 0;
function check(ok, what, detail = "") {
  if (ok) { passed++; return; }
  failed++;
  console.error(`FAIL  ${what}${detail ? ": " + detail : ""}`);
}

const dir = mkdtempSync(join(tmpdir(), "sluice-web-"));
const [http, nats, ch] = [await port(), await port(), await port()];
const base = `http://127.0.0.1:${http}`;
const config = (keys) => `
nats: {embedded: {listen: "127.0.0.1:${nats}"}}
clickhouse: {embedded: {listen: "127.0.0.1:${ch}", password: "file:${join(dir, "ch")}"}}
http: {listen: "127.0.0.1:${http}"${keys ? `, admin_key: "file:${join(dir, "admin")}"` : ""}}
data_dir: ${join(dir, "data")}
pools:
  - {name: openai-us, adapter: simulated, concurrency: 48, weight: 3, region: us-east, simulated: {ttft: 60ms, tokens_per_second: 300}, models: {gpt-4o-mini: {price: {input: 0.15, output: 0.6}}}}
  - {name: azure-eu, adapter: simulated, concurrency: 32, weight: 2, region: eu-west, simulated: {ttft: 90ms, tokens_per_second: 200, error_share: 0.04}, models: {gpt-4o-mini: {price: {input: 0.165, output: 0.66}}}}
  - {name: local-llama, adapter: simulated, concurrency: 16, weight: 1, region: eu-west, simulated: {ttft: 180ms, tokens_per_second: 90}, models: {llama-3.3-70b: {price: {input: 0.1, output: 0.1}}}}
  - {name: overnight, adapter: simulated, concurrency: 4, region: us-east, tier: cheap, simulated: {ttft: 250ms, tokens_per_second: 80}, models: {gpt-4o-mini: {price: {input: 0.075, output: 0.3}}, preview: {}}}
  - {name: broken, adapter: simulated, concurrency: 2, simulated: {error_share: 1, errors: [server_error]}, models: {gone: {price: {input: 1, output: 2}}}}
  - {name: retired, adapter: simulated, concurrency: 2, simulated: {error_share: 1, errors: [garble]}, models: {old: {price: {input: 1, output: 2}}}}
routes:
  - {model: chat, strategy: least_connections, candidates: [{pool: openai-us}, {pool: azure-eu}, {pool: local-llama}]}
  - {model: code, strategy: weighted_round_robin, candidates: [{pool: openai-us}, {pool: local-llama}]}
  - {model: nightly, candidates: [{pool: overnight, model: gpt-4o-mini}]}
  - {model: preview, candidates: [{pool: overnight, model: preview}]}
  - {model: broken, candidates: [{pool: broken}]}
  - {model: retired, candidates: [{pool: retired}]}
budgets:
  - {scope: "tenant:acme", limit_usd: 0.05, window: day}
  - {scope: global, limit_usd: 25, window: month}
workers: {max_attempts: 2, retry_backoff: 50ms}
${keys ? `tenants:\n  - {name: acme, key: "file:${join(dir, "acme")}", text: {keep: 1h}}\n` : ""}`;
for (const [name, text] of Object.entries({ ch: "pw", admin: "root-key-1", acme: "acme-key-1" })) writeFileSync(join(dir, name), text);

async function up(keys) {
  writeFileSync(join(dir, "sluice.yaml"), config(keys));
  const p = spawn(bin, ["up", "--config", join(dir, "sluice.yaml")], { stdio: ["ignore", "pipe", "pipe"] });
  let log = "";
  for (const s of [p.stdout, p.stderr]) s.on("data", (d) => (log += d));
  const ended = new Promise((r) => p.once("exit", r));
  for (let i = 0; ; i++) {
    const there = await fetch(base + "/readyz").then((r) => r.ok, () => false);
    if (there) break;
    if (i > 300) throw new Error("sluice up does not answer:\n" + log);
    await sleep(100);
  }
  return async () => { p.kill("SIGTERM"); await ended; };
}

/** Submits a batch of so many lines, every so many of which name a model without a price, which the budgets refuse. */
async function submitBatch(tenant, lines, refused, tokens) {
  const text = Array.from({ length: lines }, (_, i) => JSON.stringify({ custom_id: `line-${i}`, method: "POST", url: "/v1/chat/completions",
    body: { model: i % refused === 3 ? "preview" : "nightly", max_tokens: tokens, messages: [{ role: "user", content: `Summarise document ${i}` }] } })).join("\n");
  const form = new FormData();
  form.set("purpose", "batch");
  form.set("file", new Blob([text]), "documents.jsonl");
  const json = async (path, init) => {
    const r = await fetch(base + path, { ...init, headers: { ...init.headers, "Sluice-Tenant": tenant } });
    const b = await r.json();
    if (!r.ok) throw new Error(`${path}: ${JSON.stringify(b)}`);
    return b;
  };
  const file = await json("/v1/files", { method: "POST", body: form });
  return (await json("/v1/batches", { method: "POST", headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ input_file_id: file.id, endpoint: "/v1/chat/completions", completion_window: "24h", metadata: { team: "docs" } }) })).id;
}

let loading = true;
async function load() {
  const tenants = ["acme", "globex", "initech", "umbrella"], teams = ["search", "docs", "growth"];
  const call = (i, model) => fetch(base + "/v1/chat/completions", {
    method: "POST", signal: AbortSignal.timeout(20_000),
    headers: { "Content-Type": "application/json", "Sluice-Tenant": tenants[Math.floor(i / 3) % 4], "Sluice-Label-Team": teams[i % 3], "Sluice-Class": i % 5 ? "interactive" : "standard" },
    body: JSON.stringify({ model, stream: i % 3 === 0, max_tokens: 20 + (i * 7) % 90, messages: [{ role: "user", content: `Question ${i}: what is ${i * 17} of it?` }] }),
  }).then((r) => r.text(), () => undefined);
  const open = new Set();
  for (let i = 0; loading; i++) {
    // A job fails for good where no other is in trouble: one at each of the two.
    const p = call(i, i === 5 ? "broken" : i === 7 ? "retired" : i % 4 ? "chat" : "code");
    open.add(p);
    void p.finally(() => open.delete(p));
    await sleep(60);
  }
  await Promise.all(open);
}

const browser = await chromium.launch({ executablePath: chrome, args: ["--no-sandbox"] });

async function open(path, width, theme) {
  const page = await browser.newPage({ viewport: { width, height: width > 800 ? 1000 : 850 }, colorScheme: theme, reducedMotion: "reduce" });
  page.faults = [];
  page.on("console", (m) => m.type() === "error" && page.faults.push(m.text()));
  page.on("pageerror", (e) => page.faults.push(e.message));
  await page.goto(base + "/#/" + path);
  return page;
}

async function look(page, name, width, theme) {
  await page.evaluate(axe);
  const found = await page.evaluate(async () => (await window.axe.run(document, { resultTypes: ["violations"] })).violations
    .filter((v) => v.impact === "serious" || v.impact === "critical").map((v) => `${v.id} (${v.nodes.length}): ${v.nodes[0].html.slice(0, 140)} ${v.nodes[0].failureSummary ?? ""}`));
  check(found.length === 0, `${name} ${width} ${theme}: axe`, found.join("\n      "));
  check(page.faults.length === 0, `${name} ${width} ${theme}: console`, page.faults.join("\n      "));
  const outside = await page.evaluate(() => [...document.querySelectorAll("nav a, nav button")].filter((a) => { const r = a.getBoundingClientRect(); return r.left < 0 || r.right > innerWidth; }).length);
  check(outside === 0, `${name} ${width} ${theme}: links outside of the window`, String(outside));
  const over = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  check(over <= 0, `${name} ${width} ${theme}: wider than the window`, `by ${over} px`);
  if (shots) {
    mkdirSync(shots, { recursive: true });
    await page.screenshot({ path: join(shots, `${name}-${width}-${theme}.png`) });
  }
}

const pages = { overview: "", pools: "pools", performance: "performance?range=15m", cost: "cost?range=15m", decisions: "decisions", past: "decisions?view=past&range=15m", jobs: "jobs", batches: "batches", budgets: "budgets", dead: "dead" };

/** What a page holds after a forced garbage collection. */
async function weigh(cdp) {
  for (let i = 0; i < 3; i++) { await cdp.send("HeapProfiler.collectGarbage"); await sleep(100); }
  const heap = (await cdp.send("Runtime.getHeapUsage")).usedSize, dom = await cdp.send("Memory.getDOMCounters");
  return { heap, nodes: dom.nodes, listeners: dom.jsEventListeners, live: cdp.live.size };
}

let stop = async () => {};
try {
  stop = await up(false);
  const loaded = load();
  await sleep(12_000);

  const quick = await submitBatch("globex", 60, 12, 8), long = await submitBatch("acme", 4000, 25, 40);
  const first = await open("", 1600, "light");
  await first.waitForSelector(".tile strong");
  // Of five loads the quickest: what else the machine does is not the page's.
  const paints = [];
  for (let i = 0; i < 5; i++) {
    await first.reload();
    await first.locator(".tile strong").first().waitFor();
    paints.push(await first.evaluate(() => performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? -1));
  }
  const paint = Math.min(...paints);
  console.log(`first contentful paint after ${paints.map((p) => p.toFixed(0)).join(", ")} ms`);
  check(paint >= 0 && paint < 1000, "first paint under 1 s", `${paint} ms`);
  const cdp = await first.context().newCDPSession(first);
  cdp.live = new Set(); // connections of live updates that are open
  cdp.on("Network.requestWillBeSent", (e) => e.request.url.endsWith("/admin/v1/live") && cdp.live.add(e.requestId));
  for (const end of ["Network.loadingFinished", "Network.loadingFailed"]) cdp.on(end, (e) => cdp.live.delete(e.requestId));
  await cdp.send("Network.enable");
  await first.reload();
  await first.waitForSelector(".tile strong");
  await sleep(5000);
  const was = await weigh(cdp);
  const weights = [was];
  for (let i = 1; i <= 3; i++) {
    await sleep((seconds * 1000) / 3);
    weights.push(await weigh(cdp));
  }
  const is = weights.at(-1);
  console.log(`${seconds} s of live load: heap ${weights.map((w) => (w.heap / 1e6).toFixed(2)).join(", ")} MB, ${weights.map((w) => w.nodes).join(", ")} nodes, ` +
    `${weights.map((w) => w.listeners).join(", ")} listeners, ${weights.map((w) => w.live).join(", ")} live connections`);
  // Five minutes of samples are kept, of about 3 kB: that much may come, and no more.
  check(is.heap - was.heap < 500_000 + seconds * 5_000, "the heap does not grow");
  check(is.nodes < was.nodes * 1.1 + 100 && is.listeners < was.listeners * 1.1 + 50, "nothing is left behind");
  check(weights.every((w) => w.live === 1), "one live connection");
  check(!(await first.textContent(".tile strong")).startsWith("0/"), "jobs flow");

  const looks = [[1600, "light"], [1600, "dark"], [400, "light"], [400, "dark"]];
  const lively = []; // pages that show what came since they were opened
  for (const name of ["overview", "pools"]) for (const [width, theme] of looks) lively.push([name, width, theme, await open(pages[name], width, theme)]);
  await sleep(shots ? 40_000 : 3000);
  for (const [name, width, theme, page] of lively) {
    await look(page, name, width, theme);
    await page.close();
  }
  for (const [name, path] of Object.entries({ ...pages, batch: `batches/${long}?tenant=acme` })) {
    if (name === "overview" || name === "pools") continue;
    for (const [width, theme] of looks) {
      const page = await open(path, width, theme);
      await page.waitForSelector("#main .card, #main .tile");
      await page.waitForFunction(() => !document.querySelector("#main .wait"), null, { timeout: 20_000 });
      await sleep(600);
      await look(page, name, width, theme);
      await page.close();
    }
  }

  // From page to page and back: nothing stays.
  const tour = async () => {
    for (const key of ["2", "3", "4", "5", "6", "7", "8", "9", "1"]) {
      await first.keyboard.press(key);
      await first.locator("#main .card, #main .tile").first().waitFor(); // a handle, as waitForSelector gives, keeps its page alive
      await sleep(300);
    }
  };
  await tour();
  const before = await weigh(cdp);
  for (let i = 0; i < 4; i++) await tour();
  await sleep(2000);
  const after = await weigh(cdp);
  console.log(`4 tours of all pages: heap ${(before.heap / 1e6).toFixed(2)} to ${(after.heap / 1e6).toFixed(2)} MB, ${before.nodes} to ${after.nodes} nodes, ` +
    `${before.listeners} to ${after.listeners} listeners, ${after.live} live connection`);
  check(after.heap - before.heap < 2_000_000 && after.nodes < before.nodes * 1.15 + 200 && after.listeners < before.listeners * 1.15 + 100 && after.live === 1, "pages leave nothing behind");

  // A batch: how far it is, what failed, its files; then another is cancelled.
  await first.goto(base + "/#/batches");
  await first.waitForSelector(`a[title=${quick}]`);
  check((await first.locator("tbody tr").count()) === 2, "the list has both batches");
  await first.click(`a[title=${quick}]`);
  await first.waitForSelector(".badge:text-is('completed')");
  const shown = await first.textContent("#main");
  check(/60 of 60/.test(shown) && /55 succeeded · 5 failed/.test(shown) && shown.includes("price_unknown"), "a batch's counts and errors", shown.slice(0, 600));
  for (const [side, lines] of [["Results", 55], ["Errors", 5]]) {
    const [file] = await Promise.all([first.waitForEvent("download"), first.click(`a.button:has-text("${side}")`)]);
    const text = readFileSync(await file.path(), "utf8").trim().split("\n");
    check(text.length === lines && text.every((l) => JSON.parse(l).custom_id), `the file of ${side}`, `${text.length} lines`);
  }
  await first.goto(base + `/#/batches/${long}?tenant=acme`);
  await first.waitForSelector(".badge:text-is('in progress')");
  await first.waitForFunction(() => /\d lines\/s/.test(document.querySelector("#main")?.textContent ?? ""));
  await first.click("button:text-is('Cancel batch')");
  await first.click("dialog[open] .primary");
  await first.waitForSelector(".tile .badge:text-is('cancelled')", { timeout: 60_000 });
  check(true, "a batch is cancelled");

  // Keys: pages, help, theme, search.
  await first.keyboard.press("4");
  await first.waitForFunction(() => location.hash === "#/cost");
  await first.waitForSelector("table .linkish");
  const tenant = await first.textContent("table .linkish");
  await first.focus("table .linkish");
  await first.keyboard.press("Enter"); // drill down
  await first.waitForSelector(".filters .chip");
  check((await first.textContent(".filters")).includes(tenant), "a row opens what is inside", await first.textContent(".filters"));
  check((await first.getAttribute(".choice button[aria-pressed=true]", "aria-pressed")) === "true", "the next dimension is chosen");
  await first.keyboard.press("t");
  check((await first.getAttribute("html", "data-theme")) === "dark", "t changes the theme");
  await first.keyboard.press("?");
  check(await first.isVisible("dialog[open]"), "? shows the keys");
  await first.keyboard.press("Escape");
  await first.keyboard.press("/");
  check(await first.evaluate(() => document.activeElement?.type === "search"), "/ goes to the search field");

  // Decisions of the past: filtered, one of them opened.
  await first.goto(base + "/#/decisions?view=past&range=15m");
  await first.goto(base + "/#/decisions?view=past&range=15m&status=failed&route=broken");
  await first.locator("td .linkish").first().waitFor();
  check((await first.locator("tbody .badge:text-is('failed')").count()) === (await first.locator(".decided > .card tbody tr").count()), "only what failed");
  await first.locator("td .linkish").first().click();
  await first.locator("h2:text-is('Why broken?')").waitFor();
  check((await first.textContent(".stack")).includes("chosen"), "a past decision names the chosen candidate");

  // Budgets: what was left at each time.
  await first.goto(base + "/#/budgets");
  await first.locator(".chart canvas").nth(1).waitFor();
  check(/at the pace of late|would be left|nothing is left/.test(await first.textContent(".grid.halves")), "a budget burns down", await first.textContent(".grid.halves"));

  // A job: its time line and its decision.
  await first.goto(base + "/#/jobs?status=succeeded");
  await first.waitForSelector("td a.mono");
  await first.click("td a.mono");
  await first.waitForSelector(".timeline i.good");
  check((await first.textContent("#main")).includes("chosen"), "the decision names the chosen candidate");
  await look(first, "job", 1600, "dark");

  // Dead letters: requeue one.
  await first.goto(base + "/#/dead");
  await first.waitForSelector("td button");
  await first.click("td button");
  await first.click("dialog[open] .primary");
  await first.waitForSelector(".banner.info");
  check(/\S+ is queued again\./.test(await first.textContent(".banner.info")), "a dead letter is queued again", await first.textContent(".banner.info"));
  check(first.faults.length === 0, "console", first.faults.join("\n"));

  loading = false;
  await loaded;
  await stop();

  // With tenants: log in as one, and as the administrator.
  stop = await up(true);
  const page = await open("", 1600, "light");
  await page.waitForSelector("#key");
  await look(Object.assign(page, { faults: [] }), "login", 1600, "light");
  await page.fill("#key", "wrong");
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => document.querySelector("#fault")?.textContent);
  await page.fill("#key", "acme-key-1");
  await page.keyboard.press("Enter");
  await page.waitForSelector(".frame");
  check((await page.textContent(".top")).includes("tenant acme"), "a tenant's key shows its tenant");
  await page.goto(base + "/#/pools");
  await page.waitForSelector(".pool");
  check((await page.locator(".pool footer button").count()) === 0, "a viewer cannot drain");
  check((await page.evaluate(() => fetch("/admin/v1/pools/openai-us/drain", { method: "POST" }).then((r) => r.status))) === 403, "nor by hand");

  // What was said in a job of a tenant that keeps it.
  const key = { Authorization: "Bearer acme-key-1", "Content-Type": "application/json" };
  const said = await fetch(base + "/v1/chat/completions", { method: "POST", headers: key, body: JSON.stringify({ model: "chat", max_tokens: 20, messages: [{ role: "user", content: "I am jo@ex.org. Hi!" }] }) });
  const id = said.headers.get("Sluice-Job");
  for (let i = 0; i < 300; i++, await sleep(200)) {
    const kept = await fetch(`${base}/admin/v1/jobs/${id}/text`, { headers: key });
    if (kept.ok && (await kept.json()).texts.length) break;
  }
  await page.goto(`${base}/#/jobs/${id}?tenant=acme`);
  await page.click("text=Show what was said");
  await page.waitForSelector(".said pre");
  check((await page.textContent(".said")).includes("user: I am [email]. Hi!"), "a job's prompt is shown, redacted", await page.textContent(".said"));
  await look(Object.assign(page, { faults: [] }), "text", 1600, "light");
  await page.setViewportSize({ width: 400, height: 850 });
  await look(page, "text", 400, "light");
  await page.setViewportSize({ width: 1600, height: 1000 });
  await page.goto(base + "/#/pools");
  await page.click("text=Log out");
  await page.fill("#key", "root-key-1");
  await page.keyboard.press("Enter");
  await page.waitForSelector(".pool footer button");
  await page.click(".pool:has(h2:text-is('local-llama')) footer button");
  await page.click("dialog[open] .primary");
  await page.waitForSelector(".pool:has(h2:text-is('local-llama')) .badge:text-is('draining')");
  check(true, "the administrator drains a pool");
  await stop();
} catch (e) {
  check(false, "the run", e.stack);
} finally {
  loading = false;
  await browser.close();
  await stop();
  rmSync(dir, { recursive: true, force: true, maxRetries: 3 });
}
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed ? 1 : 0);
