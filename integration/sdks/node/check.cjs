// What the suites of both SDKs share: cases, and how their results are said.
"use strict";
const assert = require("node:assert/strict");

const URL = process.env.SLUICE_URL;
const KEY = process.env.SLUICE_KEY;
const LIMITED_KEY = process.env.SLUICE_LIMITED_KEY;
const PACED_KEY = process.env.SLUICE_PACED_KEY;
const SOON = {headers: {"Sluice-Deadline": "1s"}}; // a pool that fails everybody does not fail a job by itself
const SCHEMA = JSON.parse(process.env.SLUICE_SCHEMA);

function followsSchema(value) {
  assert.ok(typeof value.city === "string" && value.city, JSON.stringify(value));
  assert.ok(Number.isInteger(value.days) && value.days >= 1 && value.days <= 3, JSON.stringify(value));
}

// raises: f must fail with exactly this class, or one of a list, and with
// these properties.
async function raises(kind, f, want = {}) {
  let error;
  try {
    await f();
  } catch (e) {
    error = e;
  }
  const names = [kind].flat().map((k) => k.name);
  assert.ok(error, `no ${names}`);
  assert.ok(names.includes(error.constructor.name), `${error.constructor.name}: ${error}, want ${names}`);
  for (const [name, v] of Object.entries(want)) assert.equal(error[name], v, name);
  return error;
}

const words = (s) => s.split(" ").length;

async function run(name, f) {
  const began = Date.now();
  let error = "";
  try {
    await f();
  } catch (e) {
    error = e.stack || String(e);
  }
  console.log(JSON.stringify({name, ok: !error, error, ms: Date.now() - began}));
}

// main runs cases, four at a time.
async function main(cases) {
  const list = Object.entries(cases);
  const lane = async () => {
    for (let next = list.shift(); next; next = list.shift()) await run(...next);
  };
  await Promise.all([lane(), lane(), lane(), lane()]);
  process.exit(0);
}

module.exports = {assert, URL, KEY, LIMITED_KEY, PACED_KEY, SOON, SCHEMA, followsSchema, raises, words, main};
