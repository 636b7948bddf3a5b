"""A response in the background, begun in one run and read on in another."""

import json
import sys
import time

import openai

from check import KEY, URL

client = openai.OpenAI(base_url=URL + "/v1", api_key=KEY, max_retries=0, timeout=30)


def say(name, problem=""):
    print(json.dumps({"name": name, "ok": not problem, "error": problem}))


def begin():
    """Reads some events, leaves, and waits until the response is done."""
    text = ""
    stream = client.responses.create(model="steady", input="Hello", background=True, stream=True)
    for event in stream:
        if event.type == "response.created":
            response = event.response
        text += getattr(event, "delta", "")
        if len(text.split()) == 5:
            break
    stream.close()
    while client.responses.retrieve(response.id).status in ("queued", "in_progress"):
        time.sleep(0.05)
    say(json.dumps([response.id, event.sequence_number, text]))


def end(place):
    response, after, text = json.loads(place)
    for event in client.responses.retrieve(response, stream=True, starting_after=after):
        assert event.sequence_number > after
        text += getattr(event, "delta", "")
    whole = client.responses.retrieve(response)
    fine = event.type == "response.completed" and whole.output_text == text == event.response.output_text
    say("end", "" if fine else f"{event.type}: {text!r} is not {whole.output_text!r}")


begin() if sys.argv[1] == "begin" else end(sys.argv[2])
