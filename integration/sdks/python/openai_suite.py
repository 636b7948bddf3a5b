"""The official OpenAI SDK for Python, unmodified, against Sluice."""

import json
import time

import openai
from pydantic import BaseModel

from check import KEY, LIMITED_KEY, PACED_KEY, SCHEMA, SOON, URL, case, follows_schema, main, raises

client = openai.OpenAI(base_url=URL + "/v1", api_key=KEY, max_retries=0, timeout=30)
USER = [{"role": "user", "content": "How is the weather?"}]
TOOL = {"type": "function", "function": {"name": "weather", "description": "Forecast", "parameters": SCHEMA}}


class Weather(BaseModel):
    city: str
    days: int


@case
def models():
    names = [m.id for m in client.models.list()]
    assert "chat" in names, names
    assert client.models.retrieve("chat").object == "model"


@case
def chat():
    raw = client.chat.completions.with_raw_response.create(model="chat", messages=USER)
    answer = raw.parse()
    assert answer.object == "chat.completion" and answer.choices[0].finish_reason == "stop"
    words = len(answer.choices[0].message.content.split())
    assert words == answer.usage.completion_tokens > 0
    assert raw.headers["sluice-pool"] == "sim" and int(raw.headers["sluice-cost-nano-usd"]) > 0
    assert raw.headers["sluice-job"] == raw.headers["x-request-id"] == answer._request_id


@case
def chat_stream():
    text, usage, finish = "", None, None
    stream = client.chat.completions.create(model="chat", messages=USER, stream=True, stream_options={"include_usage": True})
    for chunk in stream:
        assert chunk.object == "chat.completion.chunk"
        if not chunk.choices:
            usage = chunk.usage
            continue
        text += chunk.choices[0].delta.content or ""
        finish = chunk.choices[0].finish_reason or finish
    assert finish == "stop" and usage.completion_tokens == len(text.split()) > 0
    for chunk in client.chat.completions.create(model="chat", messages=USER, stream=True):
        assert chunk.choices, "a usage chunk that nobody asked for"


@case
def tools():
    answer = client.chat.completions.create(model="chat", messages=USER, tools=[TOOL])
    call = answer.choices[0].message.tool_calls[0]
    assert answer.choices[0].finish_reason == "tool_calls" and call.function.name == "weather"
    follows_schema(json.loads(call.function.arguments))
    turn = USER + [answer.choices[0].message, {"role": "tool", "tool_call_id": call.id, "content": "rain"}]
    assert client.chat.completions.create(model="chat", messages=turn, tools=[TOOL]).choices[0].message.content


@case
def tools_stream():
    with client.chat.completions.stream(model="chat", messages=USER, tools=[TOOL]) as stream:
        for _ in stream:
            pass
        call = stream.get_final_completion().choices[0].message.tool_calls[0]
    follows_schema(json.loads(call.function.arguments))


@case
def json_schema():
    answer = client.chat.completions.parse(model="chat", messages=USER, response_format=Weather)
    assert isinstance(answer.choices[0].message.parsed, Weather)
    form = {"type": "json_schema", "json_schema": {"name": "weather", "strict": True, "schema": SCHEMA}}
    answer = client.chat.completions.create(model="chat", messages=USER, response_format=form)
    follows_schema(json.loads(answer.choices[0].message.content))


@case
def embeddings():
    answer = client.embeddings.create(model="chat", input=["one", "two words"], dimensions=4)
    assert [len(d.embedding) for d in answer.data] == [4, 4] and answer.usage.total_tokens == 3


@case
def completions():
    assert client.completions.create(model="chat", prompt="Once", max_tokens=5).choices[0].text
    text = "".join(c.choices[0].text for c in client.completions.create(model="chat", prompt="Once", max_tokens=5, stream=True))
    assert len(text.split()) == 5


@case
def responses():
    answer = client.responses.create(model="chat", input="Hello", instructions="Be kind.")
    assert answer.status == "completed" and len(answer.output_text.split()) == answer.usage.output_tokens > 0
    answer = client.responses.parse(model="chat", input="Hello", text_format=Weather)
    assert isinstance(answer.output_parsed, Weather)


@case
def responses_stream():
    kinds, text = [], ""
    with client.responses.stream(model="chat", input="Hello") as stream:
        for event in stream:
            kinds.append(event.type)
            if event.type == "response.output_text.delta":
                text += event.delta
        assert stream.get_final_response().output_text == text != ""
    assert kinds[0] == "response.created" and kinds[-1] == "response.completed", kinds


@case
def responses_tools():
    tool = {"type": "function", "name": "weather", "parameters": SCHEMA, "strict": True}
    call = client.responses.create(model="chat", input="Hello", tools=[tool]).output[0]
    assert call.type == "function_call"
    follows_schema(json.loads(call.arguments))
    turn = [{"role": "user", "content": "Hello"}, call, {"type": "function_call_output", "call_id": call.call_id, "output": "rain"}]
    assert client.responses.create(model="chat", input=turn, tools=[tool]).output_text


def wait_for(response):
    while response.status in ("queued", "in_progress"):
        time.sleep(0.05)
        response = client.responses.retrieve(response.id)
    return response


@case
def background():
    response = client.responses.create(model="steady", input="Hello", background=True, metadata={"a": "b"})
    assert response.status == "queued" and response.background and response.metadata == {"a": "b"}
    done = wait_for(response)
    assert done.id == response.id and done.status == "completed" and len(done.output_text.split()) == 40
    failed = wait_for(client.responses.create(model="bad", input="Hello", background=True, extra_headers=SOON))
    assert failed.status == "failed" and failed.error.code == "server_error"
    raises(openai.NotFoundError, lambda: client.responses.retrieve("resp_nothing"), status_code=404)


@case
def background_cancel():
    response = client.responses.create(model="slow", input="Hello", background=True)
    assert client.responses.cancel(response.id).status == "cancelled"
    assert client.responses.retrieve(response.id).status == "cancelled"


@case
def background_resume():
    text, last = "", -1
    stream = client.responses.create(model="steady", input="Hello", background=True, stream=True)
    for event in stream:
        assert event.sequence_number > last
        last = event.sequence_number
        if event.type == "response.created":
            response = event.response
        text += getattr(event, "delta", "")
        if len(text.split()) == 7:
            break
    stream.close()
    for event in client.responses.retrieve(response.id, stream=True, starting_after=last):
        assert event.sequence_number > last
        text += getattr(event, "delta", "")
    assert event.type == "response.completed" and event.response.id == response.id
    assert text == event.response.output_text == client.responses.retrieve(response.id).output_text


@case
def error_401():
    e = raises(openai.AuthenticationError, lambda: client.with_options(api_key="wrong").models.list(), status_code=401, code="invalid_api_key")
    assert "wrong" not in str(e)


@case
def error_404():
    e = raises(openai.NotFoundError, lambda: client.chat.completions.create(model="nothing", messages=USER), code="model_not_found", param="model")
    assert e.type == "invalid_request_error" and "nothing" in e.message
    raises(openai.NotFoundError, lambda: client.models.retrieve("nothing"), code="model_not_found")
    raises(openai.NotFoundError, lambda: client.moderations.create(input="x"), code="unknown_url")


@case
def error_400():
    raises(openai.BadRequestError, lambda: client.chat.completions.create(model="chat", messages=[]), param="messages", type="invalid_request_error")
    raises(openai.BadRequestError, lambda: client.chat.completions.create(model="chat", messages=USER, max_tokens=-1), param="max_tokens")
    raises(openai.BadRequestError, lambda: next(client.chat.completions.create(model="chat", messages=[], stream=True)), param="messages")


@case
def error_429():
    limited = client.with_options(api_key=LIMITED_KEY)
    e = None
    for _ in range(2):  # the limit is one a minute, and each SDK has a key of its own
        try:
            limited.chat.completions.create(model="chat", messages=USER)
        except openai.RateLimitError as x:
            e = x
    assert e is not None and e.status_code == 429 and e.type == "rate_limit_error"
    assert 1 <= int(e.response.headers["retry-after"]) <= 60


@case
def error_5xx():
    raises(openai.InternalServerError, lambda: client.chat.completions.create(model="bad", messages=USER, extra_headers=SOON), type="server_error")
    raises(openai.InternalServerError, lambda: list(client.chat.completions.create(model="bad", messages=USER, stream=True, extra_headers=SOON)))


@case
def error_in_stream():
    e = raises(openai.APIError, lambda: list(client.chat.completions.create(model="torn", messages=USER, stream=True)))
    assert e.code == "stream_truncated", e.code


@case
def timeout():
    raises(openai.APITimeoutError, lambda: client.with_options(timeout=0.3).chat.completions.create(model="slow", messages=USER))


@case
def retries():
    patient = client.with_options(api_key=PACED_KEY, max_retries=3)
    taken = 0
    for _ in range(60):
        raw = patient.chat.completions.with_raw_response.create(model="chat", messages=USER)
        assert raw.parse().choices[0].message.content
        taken += raw.retries_taken
        if taken:
            return
    raise AssertionError("no call was repeated")


@case
def idempotency():
    key = {"Idempotency-Key": "python-openai 1"}
    create = client.chat.completions.with_raw_response.create
    first, second = (create(model="chat", messages=USER, extra_headers=key) for _ in range(2))
    assert first.headers["sluice-job"] == second.headers["sluice-job"] and first.text == second.text
    raises(openai.ConflictError, lambda: create(model="chat", messages=USER, temperature=0.5, extra_headers=key), code="id_conflict")


@case
def files():
    f = client.files.create(file=("in ü.jsonl", b"{}\n"), purpose="batch", expires_after={"anchor": "created_at", "seconds": 3600})
    assert (f.object, f.bytes, f.filename, f.purpose, f.expires_at - f.created_at) == ("file", 3, "in ü.jsonl", "batch", 3600), f
    assert client.files.retrieve(f.id) == f and client.files.content(f.id).read() == b"{}\n"
    client.files.create(file=b"x", purpose="user_data")
    assert f.id in [x.id for x in client.files.list(purpose="batch", limit=1)]  # page by page
    assert client.files.delete(f.id).deleted
    raises(openai.NotFoundError, lambda: client.files.retrieve(f.id), code="file_not_found")
    raises(openai.BadRequestError, lambda: client.files.create(file=b"x", purpose="nothing"), param="purpose")


def batch(model, n, **more):
    line = {"method": "POST", "url": "/v1/chat/completions", "body": {"model": model, "messages": USER}}
    content = "".join(json.dumps({"custom_id": f"c{i}", **line}) + "\n" for i in range(n)).encode()
    f = client.files.create(file=("in.jsonl", content), purpose="batch")
    return client.batches.create(input_file_id=f.id, endpoint="/v1/chat/completions", completion_window="24h", **more)


def ended(b):
    while b.status not in ("completed", "failed", "expired", "cancelled"):
        time.sleep(0.05)
        b = client.batches.retrieve(b.id)
    return b


@case
def batches():
    b = ended(batch("chat", 30, metadata={"a": "b"}))
    counts = b.request_counts
    assert (b.status, counts.total, counts.completed, counts.failed, b.metadata, b.model) == ("completed", 30, 30, 0, {"a": "b"}, "chat"), b
    lines = [json.loads(l) for l in client.files.content(b.output_file_id).text.splitlines()]
    assert sorted(l["custom_id"] for l in lines) == sorted(f"c{i}" for i in range(30))
    assert all(l["error"] is None and l["response"]["status_code"] == 200 for l in lines)
    assert sum(l["response"]["body"]["usage"]["total_tokens"] for l in lines) == b.usage.total_tokens
    failed = ended(batch("nothing", 2))
    assert failed.status == "failed" and [e.line for e in failed.errors.data] == [1, 2], failed
    stopped = ended(client.batches.cancel(batch("slow", 3).id))
    assert stopped.status == "cancelled" and stopped.cancelled_at, stopped
    assert {b.id, failed.id, stopped.id} <= {x.id for x in client.batches.list(limit=2)}
    raises(openai.NotFoundError, lambda: client.batches.retrieve("batch_no"))
    raises(openai.ConflictError, lambda: client.batches.cancel(b.id))


main()
