"""What the suites of both SDKs share: cases, and how their results are said."""

import json
import os
import sys
import time
import traceback
from concurrent.futures import ThreadPoolExecutor

URL = os.environ["SLUICE_URL"]
KEY = os.environ["SLUICE_KEY"]
LIMITED_KEY = os.environ["SLUICE_LIMITED_KEY"]
SCHEMA = json.loads(os.environ["SLUICE_SCHEMA"])

_cases = []


def case(f):
    _cases.append(f)
    return f


def follows_schema(value):
    assert isinstance(value["city"], str) and value["city"], value
    assert isinstance(value["days"], int) and 1 <= value["days"] <= 3, value


def raises(kind, f, **want):
    """f must raise exactly this class, with these attributes."""
    try:
        f()
    except Exception as e:
        assert type(e) is kind, f"{type(e).__name__}: {e}, want {kind.__name__}"
        for name, v in want.items():
            assert getattr(e, name) == v, f"{name} is {getattr(e, name)!r}, want {v!r}"
        return e
    raise AssertionError(f"no {kind.__name__}")


def _run(f):
    began = time.monotonic()
    try:
        f()
        error = ""
    except Exception:
        error = traceback.format_exc()
    ms = int((time.monotonic() - began) * 1000)
    return {"name": f.__name__, "ok": not error, "error": error, "ms": ms}


def main():
    with ThreadPoolExecutor(4) as pool:
        for result in pool.map(_run, _cases):
            print(json.dumps(result), flush=True)
    sys.exit(0)
