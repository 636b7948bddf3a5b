"""What the suites of both SDKs share: cases, and how their results are said."""

import json
import os
import sys
import time
import traceback
from concurrent.futures import ThreadPoolExecutor

URL = os.environ["SLUICE_URL"]
KEY = os.environ["SLUICE_KEY"]
PACED_KEY = os.environ["SLUICE_PACED_KEY"]
LIMITED_KEY = os.environ["SLUICE_LIMITED_KEY"]
SCHEMA = json.loads(os.environ["SLUICE_SCHEMA"])

SOON = {"Sluice-Deadline": "1s"}  # a pool that fails everybody does not fail a job by itself

_cases = []


def case(f):
    _cases.append(f)
    return f


def follows_schema(value):
    assert isinstance(value["city"], str) and value["city"], value
    assert isinstance(value["days"], int) and 1 <= value["days"] <= 3, value


def raises(kind, f, **want):
    """f must raise exactly this class, or one of these, with these attributes."""
    kinds = kind if isinstance(kind, tuple) else (kind,)
    try:
        f()
    except Exception as e:
        assert type(e) in kinds, f"{type(e).__name__}: {e}, want one of {kinds}"
        for name, v in want.items():
            assert getattr(e, name) == v, f"{name} is {getattr(e, name)!r}, want {v!r}"
        return e
    raise AssertionError(f"none of {kinds}")


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
