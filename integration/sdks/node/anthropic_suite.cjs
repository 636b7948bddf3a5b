// The official Anthropic SDK for Node, unmodified, against Sluice.
"use strict";
const Anthropic = require("@anthropic-ai/sdk").default;
const {assert, URL, KEY, LIMITED_KEY, PACED_KEY, SOON, SCHEMA, followsSchema, raises, words, main} = require("./check.cjs");

const client = new Anthropic({baseURL: URL, apiKey: KEY, maxRetries: 0, timeout: 30000});
const messages = [{role: "user", content: "How is the weather?"}];
const ask = {model: "chat", max_tokens: 64, messages};
const tools = [{name: "weather", description: "Forecast", input_schema: SCHEMA}];

main({
  async models() {
    const names = [];
    for await (const m of client.models.list()) names.push(m.id);
    assert.ok(names.includes("chat"));
    assert.equal((await client.models.retrieve("chat")).type, "model");
  },
  async messages() {
    const {data, response, request_id} = await client.messages.create({...ask, system: "Be kind."}).withResponse();
    assert.equal(data.stop_reason, "end_turn");
    assert.equal(words(data.content[0].text), data.usage.output_tokens);
    assert.equal(response.headers.get("sluice-job"), request_id);
    assert.equal(response.headers.get("sluice-pool"), "sim");
  },
  async messages_stream() {
    const stream = client.messages.stream(ask);
    const kinds = [];
    for await (const e of stream) kinds.push(e.type);
    assert.equal(kinds[0], "message_start");
    assert.equal(kinds.at(-1), "message_stop");
    const final = await stream.finalMessage();
    assert.equal(words(final.content[0].text), final.usage.output_tokens);
  },
  async tools() {
    const m = await client.messages.create({...ask, tools});
    assert.equal(m.stop_reason, "tool_use");
    followsSchema(m.content[0].input);
    const turn = [...messages, {role: "assistant", content: m.content},
      {role: "user", content: [{type: "tool_result", tool_use_id: m.content[0].id, content: "rain"}]}];
    assert.equal((await client.messages.create({...ask, messages: turn, tools})).content[0].type, "text");
  },
  async tools_stream() {
    const m = await client.messages.stream({...ask, tools}).finalMessage();
    assert.equal(m.content[0].type, "tool_use");
    followsSchema(m.content[0].input);
  },
  async json_schema() {
    const m = await client.messages.create({...ask, output_config: {format: {type: "json_schema", schema: SCHEMA}}});
    followsSchema(JSON.parse(m.content[0].text));
  },
  async error_401() {
    const e = await raises(Anthropic.AuthenticationError, () => client.withOptions({apiKey: "wrong"}).messages.create(ask), {status: 401});
    assert.equal(e.error.error.type, "authentication_error");
  },
  async error_404() {
    const e = await raises(Anthropic.NotFoundError, () => client.messages.create({...ask, model: "nothing"}), {status: 404});
    assert.equal(e.error.error.type, "not_found_error");
  },
  async error_400() {
    await raises(Anthropic.BadRequestError, () => client.messages.create({...ask, messages: []}), {status: 400});
    await raises(Anthropic.BadRequestError, () => client.messages.create({...ask, max_tokens: -1}), {status: 400});
  },
  async error_429() {
    const limited = client.withOptions({apiKey: LIMITED_KEY}).messages;
    const e = await raises(Anthropic.RateLimitError, async () => (await limited.create(ask), await limited.create(ask)), {status: 429});
    assert.ok(Number(e.headers.get("retry-after")) >= 1);
  },
  async error_5xx() {
    const kinds = [Anthropic.InternalServerError, Anthropic.GatewayTimeoutError]; // the latter where the deadline passed
    await raises(kinds, () => client.messages.create({...ask, model: "bad"}, SOON));
  },
  async error_in_stream() {
    const e = await raises(Anthropic.APIError, () => client.messages.stream({...ask, model: "torn"}).finalMessage());
    assert.ok(e.message.includes("stream_truncated"), e.message);
  },
  async timeout() {
    await raises(Anthropic.APIConnectionTimeoutError, () => client.messages.create({...ask, model: "slow"}, {timeout: 300}));
  },
  async retries() {
    let calls = 0, made = 0;
    const counted = (...args) => (calls++, fetch(...args));
    const patient = client.withOptions({apiKey: PACED_KEY, maxRetries: 3, fetch: counted});
    for (; made < 60 && calls === made; made++) assert.ok((await patient.messages.create(ask)).content.length);
    assert.ok(calls > made, "no call was repeated");
  },
  async idempotency() {
    const create = (more) => client.messages.create({...ask, ...more}, {headers: {"Idempotency-Key": "node-anthropic 1"}}).withResponse();
    const [first, second] = [await create(), await create()];
    assert.equal(first.request_id, second.request_id);
    assert.deepEqual(first.data, second.data);
    await raises(Anthropic.ConflictError, () => create({temperature: 0.5}), {status: 409});
  },
  async message_batches() {
    const {batches} = client.messages;
    const ended = async (b) => {
      for (; b.processing_status !== "ended"; b = await batches.retrieve(b.id)) await new Promise((done) => setTimeout(done, 50));
      return b;
    };
    const requests = Array.from({length: 20}, (_, i) => ({custom_id: `c${i}`, params: ask}));
    const b = await ended(await batches.create({requests: [...requests, {custom_id: "bad", params: {...ask, model: "nothing"}}]}));
    assert.deepEqual([b.request_counts.succeeded, b.request_counts.errored], [20, 1]);
    const results = {};
    for await (const r of await batches.results(b.id)) results[r.custom_id] = r.result;
    assert.ok(results.c7.message.content[0].text);
    assert.equal(results.bad.error.error.type, "not_found_error");
    const stopped = await ended(await batches.cancel((await batches.create({requests: [{custom_id: "a", params: {...ask, model: "slow"}}]})).id));
    assert.equal(stopped.request_counts.canceled, 1);
    const ids = [];
    for await (const x of batches.list({limit: 1})) ids.push(x.id);
    assert.ok(ids.includes(b.id) && ids.includes(stopped.id));
    assert.equal((await batches.delete(b.id)).type, "message_batch_deleted");
    await raises(Anthropic.NotFoundError, () => batches.retrieve(b.id));
  },
});
