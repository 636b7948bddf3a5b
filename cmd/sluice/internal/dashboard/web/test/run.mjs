// Drives the dashboard of a real `sluice up` in headless Chromium under live
// load: every page, both widths, both themes; no console error, no serious
// fault that axe finds, first paint, no growth, keys, log-in and roles.
//
//   node test/run.mjs            BIN=…/bin/sluice, CHROMIUM=/usr/bin/chromium
//   SHOTS=../../../docs/dashboard …   writes screenshots there
//   SECONDS=60 …                 watches the live page for that long
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
const seconds = Number(process.env.SECONDS ?? 15);
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
  - {name: broken, adapter: simulated, concurrency: 2, simulated: {error_share: 1}, models: {gone: {}}}
routes:
  - {model: chat, strategy: least_connections, candidates: [{pool: openai-us}, {pool: azure-eu}, {pool: local-llama}]}
  - {model: code, strategy: weighted_round_robin, candidates: [{pool: openai-us}, {pool: local-llama}]}
  - {model: broken, candidates: [{pool: broken}]}
budgets:
  - {scope: "tenant:acme", limit_usd: 0.05, window: day}
  - {scope: global, limit_usd: 25, window: month}
workers: {max_attempts: 2, retry_backoff: 50ms}
${keys ? `tenants:\n  - {name: acme, key: "file:${join(dir, "acme")}"}\n` : ""}`;
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

let loading = true;
async function load() {
  const tenants = ["acme", "globex", "initech", "umbrella"], teams = ["search", "docs", "growth"];
  const call = (i, model) => fetch(base + "/v1/chat/completions", {
    method: "POST", signal: AbortSignal.timeout(20_000),
    headers: { "Content-Type": "application/json", "Sluice-Tenant": tenants[(i * i) % 4], "Sluice-Label-Team": teams[i % 3], "Sluice-Class": i % 5 ? "interactive" : "standard" },
    body: JSON.stringify({ model, stream: i % 3 === 0, max_tokens: 20 + (i * 7) % 90, messages: [{ role: "user", content: `Question ${i}: what is ${i * 17} of it?` }] }),
  }).then((r) => r.text(), () => undefined);
  const open = new Set();
  for (let i = 0; loading; i++) {
    const p = call(i, i % 97 === 5 ? "broken" : i % 4 ? "chat" : "code");
    open.add(p);
    void p.finally(() => open.delete(p));
    await sleep(60);
  }
  await Promise.all(open);
}

const browser = await chromium.launch({ executablePath: chrome, args: ["--no-sandbox", "--js-flags=--expose-gc"] });

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
  const over = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  check(over <= 0, `${name} ${width} ${theme}: wider than the window`, `by ${over} px`);
  if (shots) {
    mkdirSync(shots, { recursive: true });
    await page.screenshot({ path: join(shots, `${name}-${width}-${theme}.png`) });
  }
}

const pages = { overview: "", pools: "pools", performance: "performance?range=15m", cost: "cost?range=15m", decisions: "decisions", jobs: "jobs", budgets: "budgets", dead: "dead" };

try {
  let stop = await up(false);
  const loaded = load();
  await sleep(12_000);

  const first = await open("", 1600, "light");
  await first.waitForSelector(".tile strong");
  const paint = await first.evaluate(() => performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? -1);
  console.log(`first contentful paint after ${paint.toFixed(0)} ms`);
  check(paint >= 0 && paint < 1000, "first paint under 1 s", `${paint} ms`);
  const heap = () => first.evaluate(async () => { for (let i = 0; i < 3; i++) { window.gc(); await new Promise((r) => setTimeout(r, 50)); } return performance.memory.usedJSHeapSize; });
  await sleep(3000);
  const before = { heap: await heap(), nodes: await first.evaluate(() => document.querySelectorAll("*").length) };
  await sleep(seconds * 1000);
  const after = { heap: await heap(), nodes: await first.evaluate(() => document.querySelectorAll("*").length) };
  console.log(`${seconds} s of live load: heap ${(before.heap / 1e6).toFixed(1)} to ${(after.heap / 1e6).toFixed(1)} MB, ${before.nodes} to ${after.nodes} elements`);
  // Five minutes of samples are kept: that much may come, and no more.
  check(after.heap - before.heap < 4e6 + seconds * 40_000 && after.nodes < before.nodes * 1.5 + 200, "no growth");
  check(!(await first.textContent(".tile strong")).startsWith("0/"), "jobs flow");

  for (const [name, path] of Object.entries(pages)) {
    for (const [width, theme] of [[1600, "light"], [1600, "dark"], [400, "light"], [400, "dark"]]) {
      const page = await open(path, width, theme);
      await page.waitForSelector("#main .card, #main .tile");
      await page.waitForFunction(() => !document.querySelector("#main .wait"), null, { timeout: 20_000 });
      await sleep(name === "overview" || name === "pools" ? 2500 : 600);
      await look(page, name, width, theme);
      await page.close();
    }
  }

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
  check(/Queued again as \S+\./.test(await first.textContent(".banner.info")), "a dead letter is queued again", await first.textContent(".banner.info"));
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
  rmSync(dir, { recursive: true, force: true });
}
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed ? 1 : 0);
