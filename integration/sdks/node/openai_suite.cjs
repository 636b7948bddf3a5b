// The official OpenAI SDK for Node, unmodified, against Sluice.
"use strict";
const OpenAI = require("openai").default;
const {assert, URL, KEY, LIMITED_KEY, PACED_KEY, SOON, SCHEMA, followsSchema, raises, words, main} = require("./check.cjs");

const client = new OpenAI({baseURL: URL + "/v1", apiKey: KEY, maxRetries: 0, timeout: 30000});
const chat = client.chat.completions;
const messages = [{role: "user", content: "How is the weather?"}];
const tool = {type: "function", function: {name: "weather", description: "Forecast", parameters: SCHEMA}};
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const drain = async (stream) => {
  const list = [];
  for await (const x of await stream) list.push(x);
  return list;
};

main({
  async models() {
    const names = (await drain(client.models.list())).map((m) => m.id);
    assert.ok(names.includes("chat"));
    assert.equal((await client.models.retrieve("chat")).object, "model");
  },
  async chat() {
    const {data, response, request_id} = await chat.create({model: "chat", messages}).withResponse();
    assert.equal(data.object, "chat.completion");
    assert.equal(data.choices[0].finish_reason, "stop");
    assert.equal(words(data.choices[0].message.content), data.usage.completion_tokens);
    assert.equal(response.headers.get("sluice-pool"), "sim");
    assert.ok(Number(response.headers.get("sluice-cost-nano-usd")) > 0);
    assert.equal(response.headers.get("sluice-job"), request_id);
  },
  async chat_stream() {
    let text = "", usage, finish;
    for (const c of await drain(chat.create({model: "chat", messages, stream: true, stream_options: {include_usage: true}}))) {
      assert.equal(c.object, "chat.completion.chunk");
      if (!c.choices.length) usage = c.usage;
      text += c.choices[0]?.delta.content ?? "";
      finish = c.choices[0]?.finish_reason ?? finish;
    }
    assert.equal(finish, "stop");
    assert.equal(usage.completion_tokens, words(text));
    for (const c of await drain(chat.create({model: "chat", messages, stream: true}))) assert.ok(c.choices.length);
  },
  async tools() {
    const answer = await chat.create({model: "chat", messages, tools: [tool]});
    const [call] = answer.choices[0].message.tool_calls;
    assert.equal(answer.choices[0].finish_reason, "tool_calls");
    followsSchema(JSON.parse(call.function.arguments));
    const turn = [...messages, answer.choices[0].message, {role: "tool", tool_call_id: call.id, content: "rain"}];
    assert.ok((await chat.create({model: "chat", messages: turn, tools: [tool]})).choices[0].message.content);
  },
  async tools_stream() {
    const final = await chat.stream({model: "chat", messages, tools: [tool]}).finalChatCompletion();
    followsSchema(JSON.parse(final.choices[0].message.tool_calls[0].function.arguments));
    let asked = 0;
    const run = chat.runTools({model: "chat", messages, tools: [{type: "function", function: {
      ...tool.function, parse: JSON.parse, function: (args) => (asked++, followsSchema(args), "rain")}}]});
    assert.ok(await run.finalContent());
    assert.equal(asked, 1);
  },
  async json_schema() {
    const form = {type: "json_schema", json_schema: {name: "weather", strict: true, schema: SCHEMA}};
    followsSchema((await chat.parse({model: "chat", messages, response_format: form})).choices[0].message.parsed ?? {city: "", days: 0});
  },
  async embeddings() {
    const answer = await client.embeddings.create({model: "chat", input: ["one", "two words"], dimensions: 4});
    assert.deepEqual(answer.data.map((d) => d.embedding.length), [4, 4]);
    assert.equal(answer.usage.total_tokens, 3);
  },
  async completions() {
    assert.ok((await client.completions.create({model: "chat", prompt: "Once", max_tokens: 5})).choices[0].text);
    const list = await drain(client.completions.create({model: "chat", prompt: "Once", max_tokens: 5, stream: true}));
    assert.equal(words(list.map((c) => c.choices[0].text).join("")), 5);
  },
  async responses() {
    const answer = await client.responses.create({model: "chat", input: "Hello", instructions: "Be kind."});
    assert.equal(answer.status, "completed");
    assert.equal(words(answer.output_text), answer.usage.output_tokens);
    const format = {type: "json_schema", name: "weather", schema: SCHEMA, strict: true};
    followsSchema(JSON.parse((await client.responses.create({model: "chat", input: "Hello", text: {format}})).output_text));
  },
  async responses_stream() {
    const stream = client.responses.stream({model: "chat", input: "Hello"});
    const kinds = [];
    for await (const e of stream) kinds.push(e.type);
    assert.equal(kinds[0], "response.created");
    assert.equal(kinds.at(-1), "response.completed");
    assert.ok((await stream.finalResponse()).output_text);
  },
  async responses_tools() {
    const tools = [{type: "function", name: "weather", parameters: SCHEMA, strict: true}];
    const [call] = (await client.responses.create({model: "chat", input: "Hello", tools})).output;
    assert.equal(call.type, "function_call");
    followsSchema(JSON.parse(call.arguments));
    const input = [{role: "user", content: "Hello"}, call, {type: "function_call_output", call_id: call.call_id, output: "rain"}];
    assert.ok((await client.responses.create({model: "chat", input, tools})).output_text);
  },
  async background() {
    let response = await client.responses.create({model: "steady", input: "Hello", background: true});
    assert.equal(response.status, "queued");
    for (; ["queued", "in_progress"].includes(response.status); response = await client.responses.retrieve(response.id)) await sleep(50);
    assert.equal(response.status, "completed");
    assert.equal(words(response.output_text), 40);
    await raises(OpenAI.NotFoundError, () => client.responses.retrieve("resp_nothing"));
  },
  async background_cancel() {
    const {id} = await client.responses.create({model: "slow", input: "Hello", background: true});
    assert.equal((await client.responses.cancel(id)).status, "cancelled");
  },
  async background_resume() {
    let text = "", id, last;
    for await (const e of await client.responses.create({model: "steady", input: "Hello", background: true, stream: true})) {
      if (e.type === "response.created") id = e.response.id;
      last = e.sequence_number;
      text += e.delta ?? "";
      if (words(text) === 7) break;
    }
    const final = client.responses.stream({response_id: id, starting_after: last});
    for await (const e of final) {
      assert.ok(e.sequence_number > last);
      text += e.delta ?? "";
    }
    assert.equal((await client.responses.retrieve(id)).output_text, text);
  },
  async error_401() {
    const e = await raises(OpenAI.AuthenticationError, () => client.withOptions({apiKey: "wrong"}).models.list(), {status: 401, code: "invalid_api_key"});
    assert.ok(!e.message.includes("wrong"));
  },
  async error_404() {
    await raises(OpenAI.NotFoundError, () => chat.create({model: "nothing", messages}), {code: "model_not_found", param: "model", type: "invalid_request_error"});
    await raises(OpenAI.NotFoundError, () => client.models.retrieve("nothing"), {code: "model_not_found"});
    await raises(OpenAI.NotFoundError, () => client.moderations.create({input: "x"}), {code: "unknown_url"});
  },
  async error_400() {
    await raises(OpenAI.BadRequestError, () => chat.create({model: "chat", messages: []}), {param: "messages", type: "invalid_request_error"});
    await raises(OpenAI.BadRequestError, () => chat.create({model: "chat", messages, max_tokens: -1}), {param: "max_tokens"});
    await raises(OpenAI.BadRequestError, () => chat.create({model: "chat", messages: [], stream: true}), {param: "messages"});
  },
  async error_429() {
    const limited = client.withOptions({apiKey: LIMITED_KEY}).chat.completions;
    const ask = () => limited.create({model: "chat", messages});
    const e = await raises(OpenAI.RateLimitError, async () => (await ask(), await ask()), {status: 429, type: "rate_limit_error"});
    assert.ok(Number(e.headers.get("retry-after")) >= 1);
  },
  async error_5xx() {
    await raises(OpenAI.InternalServerError, () => chat.create({model: "bad", messages}, SOON), {type: "server_error"});
    await raises(OpenAI.InternalServerError, () => drain(chat.create({model: "bad", messages, stream: true}, SOON)));
  },
  async error_in_stream() {
    await raises(OpenAI.APIError, () => drain(chat.create({model: "torn", messages, stream: true})), {code: "stream_truncated"});
  },
  async timeout() {
    await raises(OpenAI.APIConnectionTimeoutError, () => chat.create({model: "slow", messages}, {timeout: 300}));
  },
  async retries() {
    let calls = 0, made = 0;
    const counted = (...args) => (calls++, fetch(...args));
    const patient = client.withOptions({apiKey: PACED_KEY, maxRetries: 3, fetch: counted});
    for (; made < 60 && calls === made; made++) assert.ok((await patient.chat.completions.create({model: "chat", messages})).choices[0].message.content);
    assert.ok(calls > made, "no call was repeated");
  },
  async idempotency() {
    const create = (more) => chat.create({model: "chat", messages, ...more}, {headers: {"Idempotency-Key": "node-openai 1"}}).withResponse();
    const [first, second] = [await create(), await create()];
    assert.equal(first.response.headers.get("sluice-job"), second.response.headers.get("sluice-job"));
    assert.deepEqual(first.data, second.data);
    await raises(OpenAI.ConflictError, () => create({temperature: 0.5}), {code: "id_conflict"});
  },
  async files() {
    const file = await OpenAI.toFile(Buffer.from("{}\n"), "in ü.jsonl");
    const f = await client.files.create({file, purpose: "batch", expires_after: {anchor: "created_at", seconds: 3600}});
    assert.deepEqual([f.object, f.bytes, f.filename, f.purpose, f.expires_at - f.created_at], ["file", 3, "in ü.jsonl", "batch", 3600]);
    assert.equal(await (await client.files.content(f.id)).text(), "{}\n");
    await client.files.create({file: await OpenAI.toFile(Buffer.from("x"), "x"), purpose: "user_data"});
    assert.ok((await drain(client.files.list({purpose: "batch", limit: 1}))).some((x) => x.id === f.id)); // page by page
    assert.ok((await client.files.delete(f.id)).deleted);
    await raises(OpenAI.NotFoundError, () => client.files.retrieve(f.id), {code: "file_not_found"});
  },
  async batches() {
    const start = async (model, n) => {
      const line = (i) => JSON.stringify({custom_id: `c${i}`, method: "POST", url: "/v1/chat/completions", body: {model, messages}}) + "\n";
      const file = await OpenAI.toFile(Buffer.from(Array.from({length: n}, (_, i) => line(i)).join("")), "in.jsonl");
      const f = await client.files.create({file, purpose: "batch"});
      return client.batches.create({input_file_id: f.id, endpoint: "/v1/chat/completions", completion_window: "24h"});
    };
    const ended = async (b) => {
      for (; !["completed", "failed", "expired", "cancelled"].includes(b.status); b = await client.batches.retrieve(b.id)) await sleep(50);
      return b;
    };
    const b = await ended(await start("chat", 30));
    assert.deepEqual(b.request_counts, {total: 30, completed: 30, failed: 0});
    const lines = (await (await client.files.content(b.output_file_id)).text()).trim().split("\n").map((l) => JSON.parse(l));
    assert.equal(new Set(lines.map((l) => l.custom_id)).size, 30);
    assert.ok(lines.every((l) => l.error === null && l.response.status_code === 200));
    const failed = await ended(await start("nothing", 2));
    assert.deepEqual(failed.errors.data.map((e) => e.line), [1, 2]);
    const stopped = await ended(await client.batches.cancel((await start("slow", 3)).id));
    assert.equal(stopped.status, "cancelled");
    const ids = (await drain(client.batches.list({limit: 2}))).map((x) => x.id);
    for (const x of [b, failed, stopped]) assert.ok(ids.includes(x.id));
    await raises(OpenAI.NotFoundError, () => client.batches.retrieve("batch_no"));
  },
});
