package cli

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
)

// answered is what submit --json and job get --json print.
type answered struct {
	Job    string      `json:"job_id"`
	Status wire.Status `json:"status"`
	Code   wire.Code   `json:"error_code"`
	Pool   string      `json:"pool"`
	Cost   *int64      `json:"cost_nano_usd"`
	Usage  struct {
		Output int64 `json:"output_tokens"`
	} `json:"usage"`
	Answer struct {
		Object string
		Error  *struct{ Code string }
	} `json:"answer"`
}

func TestSubmitAndLook(t *testing.T) {
	tm := startBroker(t, "")

	r := tm.run("submit", "Why is the sky blue?", "--id", "one", "--label", "team=docs")
	if r.code != 0 || len(strings.Fields(r.out)) != 8 {
		t.Fatalf("status %d, answer %q, error %q", r.code, r.out, r.err)
	}
	wants(t, r.err, "job one succeeded · good/m · ", "8 out · $0.0000")

	if r := tm.run("submit", "Why?", "--stream", "--quiet"); r.code != 0 || len(strings.Fields(r.out)) != 8 || r.err != "" {
		t.Errorf("streamed: status %d, answer %q, error %q", r.code, r.out, r.err)
	}

	var a answered
	if r := tm.json(&a, "submit", "Why?", "--stream"); r.code != 0 || a.Status != wire.Succeeded || a.Pool != "good" ||
		a.Cost == nil || *a.Cost == 0 || a.Usage.Output != 8 || a.Answer.Object != "chat.completion" {
		t.Errorf("as JSON: %+v", r)
	}
	if r := tm.json(&a, "submit", "--model", "unknown-cost", "Why?"); r.code != 0 || strings.Contains(r.out, "cost_nano_usd") {
		t.Errorf("an unknown cost is absent, not zero: %s", r.out)
	}
	if r := tm.run("submit", "--model", "unknown-cost", "Why?"); !strings.Contains(r.err, "cost unknown") {
		t.Errorf("got %s", r.err)
	}

	wants(t, tm.ok("job", "get", "one"), "job        one\n", "status     succeeded\n", "tenant     default\n", "cost       $0.")
	if r := tm.json(&a, "job", "get", "one"); r.code != 0 || a.Job != "one" {
		t.Errorf("got %+v", r)
	}
	wants(t, tm.ok("job", "trace", "one"), "running · attempt 1 at good/m by ", "route chat, least_connections: good/m", "* ", "succeeded · attempt 1")
	var state wire.Answer
	if tm.json(&state, "job", "trace", "one"); len(state.History) != 2 || state.History[0].Decision == nil {
		t.Errorf("got %+v", state)
	}
	wants(t, tm.ok("job", "watch", "one"), "running  attempt 1 at good/m\n", "succeeded  attempt 1 at good/m  succeeded in ")
	if out := tm.ok("job", "watch", "one", "--json"); strings.Count(out, "\n") != 2 || !json.Valid([]byte(strings.Split(out, "\n")[0])) {
		t.Errorf("got %s", out)
	}
	if words := strings.Fields(tm.ok("job", "watch", "one", "--stream")); len(words) != 8 && len(words) != 0 {
		t.Errorf("got %q", words)
	}
	list := tm.ok("job", "list", "--limit", "3")
	if strings.Count(list, "\n") != 4 {
		t.Errorf("got\n%s", list)
	}
	wants(t, list, "JOB", "STATUS", "succeeded", " ?  ")
	wants(t, tm.ok("job", "list"), "one ")
	var jobs struct{ Jobs []wire.Answer }
	if tm.json(&jobs, "job", "list", "--status", "failed"); len(jobs.Jobs) != 0 {
		t.Errorf("got %+v", jobs)
	}
	if r := tm.run("job", "cancel", "one"); r.code != 1 || !strings.Contains(r.err, "it has ended already (succeeded)") {
		t.Errorf("got %+v", r)
	}
	if r := tm.run("job", "get", "none"); r.code != 1 || !strings.Contains(r.err, "job_not_found") || !strings.Contains(r.err, "hint:") {
		t.Errorf("got %+v", r)
	}
}

func TestBodies(t *testing.T) {
	tm := startBroker(t, "")
	file := filepath.Join(t.TempDir(), "request.json")
	if err := os.WriteFile(file, []byte(`{"messages":[{"role":"user","content":"a b"}],"max_completion_tokens":3}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := tm.ok("submit", "--file", file); len(strings.Fields(out)) != 3 {
		t.Errorf("a file without a model: %q", out)
	}
	if r := tm.run("submit", "--file", file, "--model", "nope"); r.code != 1 || !strings.Contains(r.err, "unknown_route") {
		t.Errorf("got %+v", r)
	}
	tm.in = `{"model":"chat","messages":[{"role":"user","content":"a b"}],"max_completion_tokens":2}`
	if out := tm.ok("submit"); len(strings.Fields(out)) != 2 {
		t.Errorf("JSON on standard input: %q", out)
	}
	if out := tm.ok("submit", "--file", "-"); len(strings.Fields(out)) != 2 {
		t.Errorf("JSON on standard input by name: %q", out)
	}
	tm.in = "a plain prompt\n"
	if out := tm.ok("submit", "-", "--max-tokens", "4"); len(strings.Fields(out)) != 4 {
		t.Errorf("a prompt on standard input: %q", out)
	}
	for _, endpoint := range []string{"/v1/completions", "/v1/responses"} {
		if out := tm.ok("submit", "--endpoint", endpoint, "--max-tokens", "5", "a prompt"); len(strings.Fields(out)) != 5 {
			t.Errorf("%s: %q", endpoint, out)
		}
	}
	if out := tm.ok("submit", "--endpoint", "/v1/embeddings", "a prompt"); !json.Valid([]byte(out)) || !strings.Contains(out, "embedding") {
		t.Errorf("an answer without text is printed as it is: %.80s", out)
	}
}

func TestWaitingAndCancel(t *testing.T) {
	tm := startBroker(t, "")
	id := strings.TrimSpace(tm.ok("submit", "--no-wait", "--model", "slow", "--class", "batch", "hello"))
	for { // until it runs
		var a wire.Answer
		if tm.json(&a, "job", "get", id); a.Status == wire.Running {
			break
		}
	}
	wants(t, tm.ok("job", "get", id), "status     running", "class      batch")

	r := tm.run("submit", "--id", "two", "--model", "slow", "--timeout", "50ms", "hello")
	if r.code != 1 || r.out != "" {
		t.Errorf("got %+v", r)
	}
	wants(t, r.err, "the wait ended, job two goes on", "sluice job cancel two")
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	if r := tm.runContext(ctx, "job", "watch", "two"); r.code != 1 || !strings.Contains(r.err, "goes on") {
		t.Errorf("an interrupted watch: %+v", r)
	}

	wants(t, tm.ok("job", "cancel", id), "job "+id+": ")
	r = tm.run("job", "watch", id)
	if r.code != 1 || !strings.Contains(r.out, "cancelled") {
		t.Errorf("a watched job that did not succeed: %+v", r)
	}
	var a answered
	if tm.json(&a, "job", "get", id); a.Status != wire.Cancelled {
		t.Errorf("got %+v", a)
	}
	wants(t, tm.ok("job", "cancel", "two"), "job two: ")
	if out := tm.ok("submit", "--no-wait", "--not-before", "1h", "later", "--json"); !json.Valid([]byte(out)) {
		t.Errorf("got %s", out)
	}
	if r := tm.run("submit", "--deadline", "50ms", "--model", "slow", "late"); r.code != 1 || !strings.Contains(r.err, "expired: deadline_exceeded") {
		t.Errorf("an expired job: %+v", r)
	}
}

func TestDeadLetters(t *testing.T) {
	tm := startBroker(t, "")
	r := tm.run("submit", "--model", "bad", "--id", "dead1", "hello")
	if r.code != 1 || r.out != "" {
		t.Errorf("got %+v", r)
	}
	wants(t, r.err, "job dead1 failed", "2 attempts", "error: job dead1 failed: ", "hint:  see what each attempt met with: sluice job trace dead1")
	var a answered
	if r := tm.json(&a, "submit", "--model", "worse", "--id", "dead2", "--tenant", "other", "hello"); r.code != 1 || a.Status != wire.Failed || a.Answer.Error == nil {
		t.Errorf("got %+v", r)
	}
	list := tm.ok("dead", "list")
	wants(t, list, "dead1", "dead2", "other", "provider_error", "bad")
	if list := tm.ok("dead", "list", "--tenant", "other"); strings.Contains(list, "dead1") {
		t.Errorf("got\n%s", list)
	}
	wants(t, tm.ok("dead", "show", "dead1"), "last error", "provider_error", "attempt 2 at bad/b")
	var dead struct{ Dead deadLetter }
	if tm.json(&dead, "dead", "show", "dead2", "--tenant", "other"); dead.Dead.Attempts != 2 || dead.Dead.History == nil {
		t.Errorf("got %+v", dead)
	}
	if r := tm.run("dead", "show", "dead2"); r.code != 1 || !strings.Contains(r.err, "no dead letter of job dead2 of tenant default") {
		t.Errorf("got %+v", r)
	}
	wants(t, tm.ok("dead", "show", "dead1", "--body"), `"model": "bad"`, `"content": "hello"`)
	t.Setenv("VISUAL", "sed -i s/hello/goodbye/")
	if r := tm.run("dead", "edit", "dead1"); r.code != 0 || !strings.Contains(r.err, "sluice dead requeue dead1") {
		t.Errorf("got %+v", r)
	}
	t.Setenv("VISUAL", "true")
	if r := tm.run("dead", "edit", "dead1"); r.code != 0 || !strings.Contains(r.err, "nothing was changed") {
		t.Errorf("got %+v", r)
	}
	wants(t, tm.ok("dead", "show", "dead1", "--body"), "edited", `"content": "goodbye"`)
	tm.in = "{}"
	if r := tm.run("dead", "edit", "dead1", "--file", "-"); r.code != 1 || !strings.Contains(r.err, "invalid_request") {
		t.Errorf("got %+v", r)
	}
	again := strings.TrimSpace(tm.ok("dead", "requeue", "dead1"))
	if again != "dead1" {
		t.Errorf("got %q", again)
	}
	var requeued struct{ Requeued []string }
	if tm.json(&requeued, "dead", "requeue", "--all", "--tenant", "other"); len(requeued.Requeued) != 1 {
		t.Errorf("got %+v", requeued)
	}
	if r := tm.run("job", "watch", again); r.code != 1 || !strings.Contains(r.out, "failed") {
		t.Errorf("got %+v", r)
	}
}

func TestPoolsAndRoutes(t *testing.T) {
	tm := startBroker(t, "")
	wants(t, tm.ok("pool", "list"), "POOL", "QUEUED", "good", " m\n", "free", "eu", " x?\n")
	var pools poolsAnswer
	if tm.json(&pools, "pool", "list"); len(pools.Pools) != 5 || pools.Pools[0].Workers != 1 || !pools.Pools[0].Models[0].Priced || pools.Pools[1].Models[0].Priced {
		t.Errorf("got %+v", pools)
	}
	id := strings.TrimSpace(tm.ok("submit", "--no-wait", "hello"))
	tm.ok("job", "watch", id)
	eventually(t, "the capture is stored", func() bool { return tm.run("route", "replay", id).code == 0 })
	wants(t, tm.ok("route", "replay", id), "attempt 1: the same, bit for bit", "route chat, least_connections: good/m")
	var replays struct{ Replays []replayAnswer }
	if tm.json(&replays, "route", "replay", id); len(replays.Replays) != 1 || !replays.Replays[0].Same || replays.Replays[0].Capture.Route.Name != "chat" {
		t.Errorf("%+v", replays)
	}
	tm.refuses("has no record", "route", "replay", "nobody")
	wants(t, tm.ok("job", "rate", id, "0.75"), "m of pool good is now rated 0.75, by 1 reports")
	tm.refuses("was reported already", "job", "rate", id, "0.5")
	eventually(t, "the quality is shown", func() bool {
		p := tm.pool("good")
		return p.Health != nil && p.Health.Scores.Quality != nil && *p.Health.Scores.Quality == 75 && *p.Health.Scores.Cost == 100
	})
	wants(t, tm.ok("route", "list"), "MODEL", "chat ", "round_robin", "bad ")
	var routes routesAnswer
	if tm.json(&routes, "route", "list"); len(routes.Routes) != 9 {
		t.Errorf("got %+v", routes)
	}
	wants(t, tm.ok("route", "explain"), "route chat, least_connections: good/m")
	wants(t, tm.ok("route", "explain", "bad"), "route bad, round_robin: bad/b")
	tm.in = `{"model":"slow","messages":[{"role":"user","content":"x"}]}`
	wants(t, tm.ok("route", "explain", "--file", "-"), "route slow")
	wants(t, tm.ok("route", "explain", "bad", "--file", "-"), "route bad")
	var d struct{ Decision wire.Decision }
	if tm.json(&d, "route", "explain"); d.Decision.Pool != "good" {
		t.Errorf("got %+v", d)
	}
	if r := tm.run("route", "explain", "nope"); r.code != 1 || !strings.Contains(r.err, "unknown_route") {
		t.Errorf("got %+v", r)
	}
}

func TestDoctorOnARunningBroker(t *testing.T) {
	tm := startBroker(t, "")
	var r outcome
	eventually(t, "the doctor finds every part", func() bool {
		r = tm.run("doctor")
		return r.code == 0 && strings.Contains(r.out, "has a worker")
	})
	wants(t, r.out, "ok    configuration ", ": 5 pools, 7 routes", "warn  configuration no ClickHouse", "ok    data directory", "ok    nats",
		"ok    router", "ok    streams       SLUICE_JOBS 0", "every one of the 5 pools has a worker", "unknown: free/x", "→ give them a price")
	var report struct {
		Healthy bool
		Checks  []finding
	}
	if tm.json(&report, "doctor"); !report.Healthy || len(report.Checks) < 7 {
		t.Errorf("got %+v", report)
	}
	tm.env = append(tm.env, "SLUICE_CLICKHOUSE_DSN=http://default:geheim@"+freePort(t))
	r = tm.run("doctor")
	if r.code != 1 || strings.Contains(r.out+r.err, "geheim") {
		t.Errorf("without its ClickHouse: %+v", r)
	}
	wants(t, r.out, "fail  clickhouse")
}

func TestDoctorOnNothing(t *testing.T) {
	taken := fakeAdmin(t, nil) // somebody else's NATS on the port
	addr := strings.TrimPrefix(taken.env[0], "SLUICE_NATS_EMBEDDED_LISTEN=")
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	tm := &terminal{t: t, env: []string{"SLUICE_NATS_EMBEDDED_LISTEN=" + freePort(t), "SLUICE_HTTP_LISTEN=" + addr, "SLUICE_DATA_DIR=" + file}}
	r := tm.run("doctor")
	if r.code != 1 {
		t.Errorf("status %d", r.code)
	}
	wants(t, r.out, "fail  data directory", "is not a directory", "fail  nats", "fail  ports         http.listen", "--http-listen HOST:PORT", "fail  clickhouse")

	r = taken.run("doctor")
	if r.code != 1 {
		t.Errorf("status %d", r.code)
	}
	wants(t, r.out, "ok    nats", "fail  router", "no Sluice router answers")

	tm.env = append(tm.env, "SLUICE_HTTP_LISTEN=nonsense")
	r = tm.run("doctor")
	if r.code != 1 {
		t.Errorf("status %d", r.code)
	}
	wants(t, r.out, "fail  configuration", "http.listen = nonsense")
}

func TestDoctorSeesWhatIsMissing(t *testing.T) {
	tm := fakeAdmin(t, map[string]string{
		"health": `{"streams":[{"name":"SLUICE_JOBS"}]}`,
		"pools":  `{"pools":[{"name":"p","workers":0}]}`,
	})
	r := tm.run("doctor")
	wants(t, r.out, "fail  streams       the stream SLUICE_SCHED is missing", "fail  workers       no worker serves p")
	var out, errOut strings.Builder
	code := Run(t.Context(), Deps{Environ: []string{"SLUICE_NATS_EMBEDDED_LISTEN=" + freePort(t)}, Out: &out, Err: &errOut,
		FindEngine: func() (string, error) { return "", errors.New("the engine is not installed") }}, []string{"doctor"})
	if code != 1 {
		t.Errorf("status %d", code)
	}
	wants(t, out.String(), "fail  engine        the engine is not installed", "→ install it with: make engine")
}
