"""The official Anthropic SDK for Python, unmodified, against Sluice."""

import time

import anthropic
from pydantic import BaseModel

from check import KEY, LIMITED_KEY, PACED_KEY, SCHEMA, SOON, URL, case, follows_schema, main, raises

client = anthropic.Anthropic(base_url=URL, api_key=KEY, max_retries=0, timeout=30)
USER = [{"role": "user", "content": "How is the weather?"}]
TOOL = {"name": "weather", "description": "Forecast", "input_schema": SCHEMA}
ASK = {"model": "chat", "max_tokens": 64, "messages": USER}


class Weather(BaseModel):
    city: str
    days: int


@case
def models():
    assert "chat" in [m.id for m in client.models.list()]
    assert client.models.retrieve("chat").type == "model"


@case
def messages():
    raw = client.messages.with_raw_response.create(**ASK, system="Be kind.")
    m = raw.parse()
    assert m.role == "assistant" and m.stop_reason == "end_turn" and len(m.content[0].text.split()) == m.usage.output_tokens > 0
    assert raw.headers["request-id"] == m._request_id and raw.headers["sluice-pool"] == "sim" and int(raw.headers["sluice-cost-nano-usd"]) > 0


@case
def messages_stream():
    text, kinds = "", []
    with client.messages.stream(**ASK) as stream:
        for event in stream:
            kinds.append(event.type)
            if event.type == "text":
                text += event.text
        final = stream.get_final_message()
    assert final.content[0].text == text != "" and final.usage.output_tokens == len(text.split())
    assert kinds[0] == "message_start" and kinds[-1] == "message_stop", kinds


@case
def tools():
    m = client.messages.create(**ASK, tools=[TOOL])
    use = m.content[0]
    assert m.stop_reason == "tool_use" and use.name == "weather"
    follows_schema(use.input)
    turn = USER + [{"role": "assistant", "content": m.content},
                   {"role": "user", "content": [{"type": "tool_result", "tool_use_id": use.id, "content": "rain"}]}]
    assert client.messages.create(**{**ASK, "messages": turn}, tools=[TOOL]).content[0].type == "text"


@case
def tools_stream():
    with client.messages.stream(**ASK, tools=[TOOL]) as stream:
        use = stream.get_final_message().content[0]
    assert use.type == "tool_use"
    follows_schema(use.input)


@case
def json_schema():
    assert isinstance(client.messages.parse(**ASK, output_format=Weather).parsed_output, Weather)


@case
def error_401():
    e = raises(anthropic.AuthenticationError, lambda: client.with_options(api_key="wrong").messages.create(**ASK), status_code=401)
    assert e.type == "authentication_error"


@case
def error_404():
    e = raises(anthropic.NotFoundError, lambda: client.messages.create(**{**ASK, "model": "nothing"}), status_code=404)
    assert e.type == "not_found_error" and e.body["error"]["type"] == "not_found_error"


@case
def error_400():
    raises(anthropic.BadRequestError, lambda: client.messages.create(**{**ASK, "messages": []}), status_code=400)
    raises(anthropic.BadRequestError, lambda: client.messages.create(**{**ASK, "max_tokens": -1}), status_code=400)


@case
def error_429():
    limited, e = client.with_options(api_key=LIMITED_KEY), None
    for _ in range(2):
        try:
            limited.messages.create(**ASK)
        except anthropic.RateLimitError as x:
            e = x
    assert e is not None and e.type == "rate_limit_error" and int(e.response.headers["retry-after"]) >= 1


@case
def error_5xx():
    kinds = (anthropic.InternalServerError, anthropic.GatewayTimeoutError)  # the latter where the deadline passed
    raises(kinds, lambda: client.messages.create(**{**ASK, "model": "bad"}, extra_headers=SOON))


@case
def error_in_stream():
    def read():
        with client.messages.stream(**{**ASK, "model": "torn"}) as stream:
            stream.get_final_message()
    e = raises(anthropic.APIStatusError, read)
    assert e.body["error"]["code"] == "stream_truncated", e.body


@case
def timeout():
    raises(anthropic.APITimeoutError, lambda: client.with_options(timeout=0.3).messages.create(**{**ASK, "model": "slow"}))


@case
def retries():
    patient, taken = client.with_options(api_key=PACED_KEY, max_retries=3), 0
    for _ in range(60):
        raw = patient.messages.with_raw_response.create(**ASK)
        assert raw.parse().content
        taken += raw.retries_taken
        if taken:
            return
    raise AssertionError("no call was repeated")


@case
def idempotency():
    key = {"Idempotency-Key": "python-anthropic 1"}
    create = client.messages.with_raw_response.create
    first, second = (create(**ASK, extra_headers=key) for _ in range(2))
    assert first.headers["request-id"] == second.headers["request-id"] and first.text() == second.text()
    raises(anthropic.ConflictError, lambda: create(**ASK, stop_sequences=["x"], extra_headers=key), status_code=409)


@case
def message_batches():
    batches = client.messages.batches
    b = batches.create(requests=[{"custom_id": f"c{i}", "params": ASK} for i in range(20)] + [{"custom_id": "bad", "params": {**ASK, "model": "nothing"}}])
    assert b.type == "message_batch" and b.request_counts.processing == 21, b
    while b.processing_status != "ended":
        time.sleep(0.05)
        b = batches.retrieve(b.id)
    assert (b.request_counts.succeeded, b.request_counts.errored) == (20, 1), b
    results = {r.custom_id: r.result for r in batches.results(b.id)}
    assert len(results) == 21 and results["c7"].message.content[0].text and results["bad"].error.error.type == "not_found_error", results
    stopped = batches.cancel(batches.create(requests=[{"custom_id": "a", "params": {**ASK, "model": "slow"}}]).id)
    while stopped.processing_status != "ended":
        time.sleep(0.05)
        stopped = batches.retrieve(stopped.id)
    assert stopped.request_counts.canceled == 1, stopped
    assert {b.id, stopped.id} <= {x.id for x in batches.list(limit=1)}  # page by page
    assert batches.delete(b.id).type == "message_batch_deleted"
    raises(anthropic.NotFoundError, lambda: batches.retrieve(b.id))
    raises(anthropic.BadRequestError, lambda: batches.create(requests=[]))


main()
