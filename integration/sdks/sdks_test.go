package sdks

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// envRequired makes a test fail where it would be skipped; envDir is where the
// SDKs are installed, unless in ../../.sdks.
const (
	envRequired = "SLUICE_TEST_SDKS"
	envDir      = "SLUICE_SDKS"
)

// cases are what every program for a provider's SDK must show.
var cases = map[string][]string{
	"openai": {"models", "chat", "chat_stream", "tools", "tools_stream", "json_schema", "embeddings", "completions", "responses", "responses_stream",
		"responses_tools", "background", "background_cancel", "background_resume", "error_401", "error_404", "error_400", "error_429", "error_5xx", "error_in_stream", "timeout", "retries", "idempotency", "files", "batches"},
	"anthropic": {"models", "messages", "messages_stream", "tools", "tools_stream", "json_schema", "error_401", "error_404", "error_400",
		"error_429", "error_5xx", "error_in_stream", "timeout", "retries", "idempotency", "message_batches"},
}

// schema is what tools and answers in JSON follow.
const schema = `{"type":"object","additionalProperties":false,"required":["city","days"],` +
	`"properties":{"city":{"type":"string"},"days":{"type":"integer","minimum":1,"maximum":3}}}`

// world has a pool for each thing that SDKs must cope with.
const world = `
pools:
  - {name: sim, adapter: simulated, models: {m: {price: {input: 1, output: 2}}}, simulated: {output_tokens: {min: 8, max: 16}}}
  - {name: bad, adapter: simulated, models: {b: {}}, simulated: {error_share: 1, errors: [server_error]}}
  - {name: torn, adapter: simulated, models: {t: {}}, simulated: {error_share: 1, errors: [drop], output_tokens: {min: 1000, max: 1000}}}
  - {name: steady, adapter: simulated, models: {y: {}}, simulated: {tokens_per_second: 80, output_tokens: {min: 40, max: 40}}}
  - {name: slow, adapter: simulated, models: {s: {}}, simulated: {ttft: 1h}}
routes:
  - {model: chat, candidates: [{pool: sim}]}
  - {model: bad, candidates: [{pool: bad}]}
  - {model: torn, candidates: [{pool: torn}]}
  - {model: steady, candidates: [{pool: steady}]}
  - {model: slow, candidates: [{pool: slow}]}
workers: {max_attempts: 1, retry_backoff: 1ms, drain: 1ms}
clickhouse: {embedded: {enabled: false}}
nats: {embedded: {listen: "127.0.0.1:0"}}
http: {listen: "127.0.0.1:0"}
tenants:
  - {name: acme, key: env:TEST_KEY}
`

const key = "key-of-acme"

// program is one SDK under test.
type program struct {
	provider, language string
	command            []string
	environ            []string
}

func (p *program) name() string       { return p.provider + "-" + p.language }
func (p *program) limitedKey() string { return "limited-" + p.name() }
func (p *program) pacedKey() string   { return "paced-" + p.name() }

// installed is where the SDKs are; without them the test is skipped, or fails
// where it must run.
func installed(t *testing.T) string {
	t.Helper()
	dir := os.Getenv(envDir)
	if dir == "" {
		dir = "../../.sdks"
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, stamp := range []string{"node", "python", "go"} {
		if _, err := os.Stat(filepath.Join(dir, stamp+".stamp")); err != nil {
			if os.Getenv(envRequired) == "1" {
				t.Fatalf("the SDKs are not installed: run make sdks (%v)", err)
			}
			t.Skip("the SDKs are not installed: run make sdks")
		}
	}
	return dir
}

func programs(dir, bin string) []*program {
	python := filepath.Join(dir, "python", "bin", "python")
	node := []string{"NODE_PATH=" + filepath.Join(dir, "node", "node_modules")}
	var list []*program
	for _, provider := range []string{"openai", "anthropic"} {
		list = append(list,
			&program{provider, "python", []string{python, "python/" + provider + "_suite.py"}, []string{"PYTHONDONTWRITEBYTECODE=1"}},
			&program{provider, "node", []string{"node", "node/" + provider + "_suite.cjs"}, node},
			&program{provider, "go", []string{bin, provider}, nil})
	}
	return list
}

// programs written in Go, ours and the SDKs', built once.
var built struct {
	once          sync.Once
	dir           string
	sluice, suite string
	err           error
}

func TestMain(m *testing.M) {
	code := m.Run()
	_ = os.RemoveAll(built.dir) // of temporary files
	os.Exit(code)
}

func build(t *testing.T) (sluice, suite string) {
	t.Helper()
	built.once.Do(func() {
		if built.dir, built.err = os.MkdirTemp("", "sluice-sdks-"); built.err != nil {
			return
		}
		built.sluice, built.suite = filepath.Join(built.dir, "sluice"), filepath.Join(built.dir, "suite")
		for _, b := range []struct{ dir, out, pkg string }{{"../..", built.sluice, "./cmd/sluice"}, {"go", built.suite, "."}} {
			cmd := exec.Command("go", "build", "-buildvcs=false", "-o", b.out, b.pkg)
			cmd.Dir = b.dir
			cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
			if log, err := cmd.CombinedOutput(); err != nil {
				built.err = fmt.Errorf("build %s: %w\n%s", b.pkg, err, log)
				return
			}
		}
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
	return built.sluice, built.suite
}

// server is a `sluice up`.
type server struct {
	t      *testing.T
	binary string
	dir    string
	keys   []string // environment
	url    string
	cmd    *exec.Cmd
	log    bytes.Buffer
}

var httpLine = regexp.MustCompile(`https?://127\.0\.0\.1:\d+`)

// start runs the process and waits until it says that it is ready.
func (s *server) start() {
	s.t.Helper()
	s.cmd = exec.Command(s.binary, "up", "--config", filepath.Join(s.dir, "sluice.yaml"), "--data-dir", filepath.Join(s.dir, "data"))
	s.cmd.Env = append(os.Environ(), s.keys...)
	s.cmd.Stderr = &s.log
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	sc := bufio.NewScanner(out)
	for s.url = ""; s.url == "" && sc.Scan(); {
		s.url = httpLine.FindString(sc.Text())
	}
	if s.url == "" {
		s.t.Fatalf("sluice up does not say where it listens: %v\n%s", sc.Err(), s.log.String())
	}
	go func() { _, _ = io.Copy(io.Discard, out) }() // ends with the process
}

func (s *server) stop() {
	_ = s.cmd.Process.Signal(syscall.SIGTERM) // fails only if it has ended
	kill := time.AfterFunc(20*time.Second, func() { _ = s.cmd.Process.Kill() })
	defer kill.Stop()
	if err := s.cmd.Wait(); err != nil {
		s.t.Errorf("sluice up ended with %v", err)
	}
	if s.t.Failed() {
		s.t.Logf("sluice up said:\n%s", s.log.String())
	}
}

// newServer is a started process with two limited tenants for each program:
// one request a minute, and thirty.
func newServer(t *testing.T, binary string, list []*program) *server {
	t.Helper()
	s := &server{t: t, binary: binary, dir: t.TempDir(), keys: []string{"TEST_KEY=" + key}}
	text := world
	for i, p := range list {
		text += fmt.Sprintf("  - {name: limited%d, key: env:LIMITED_%d, limits: {rpm: 1}}\n  - {name: paced%d, key: env:PACED_%d, limits: {rpm: 30}}\n", i, i, i, i)
		s.keys = append(s.keys, fmt.Sprintf("LIMITED_%d=%s", i, p.limitedKey()), fmt.Sprintf("PACED_%d=%s", i, p.pacedKey()))
	}
	if err := os.WriteFile(filepath.Join(s.dir, "sluice.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s.start()
	t.Cleanup(s.stop)
	return s
}

// verdict is the line that a program says of one case.
type verdict struct {
	Name  string
	OK    bool
	Error string
	MS    int
}

// run runs a program and returns what it says.
func (p *program) run(t *testing.T, url string, extra ...string) []verdict {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, p.command[0], append(p.command[1:], extra...)...)
	cmd.Env = append(os.Environ(), p.environ...)
	cmd.Env = append(cmd.Env, "SLUICE_URL="+url, "SLUICE_KEY="+key, "SLUICE_LIMITED_KEY="+p.limitedKey(), "SLUICE_PACED_KEY="+p.pacedKey(), "SLUICE_SCHEMA="+schema,
		"OPENAI_API_KEY=", "OPENAI_BASE_URL=", "ANTHROPIC_API_KEY=", "ANTHROPIC_BASE_URL=", "ANTHROPIC_AUTH_TOKEN=", "NO_PROXY=127.0.0.1")
	var log bytes.Buffer
	cmd.Stderr = &log
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", p.name(), err, out, log.String())
	}
	var list []verdict
	for line := range strings.Lines(string(out)) {
		var v verdict
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Fatalf("%s says %q", p.name(), line)
		}
		list = append(list, v)
	}
	return list
}

func TestSDKs(t *testing.T) {
	dir := installed(t)
	binary, suite := build(t)
	list := programs(dir, suite)
	s := newServer(t, binary, list)
	t.Run("all", func(t *testing.T) { // ends before the server does
		for _, p := range list {
			t.Run(p.name(), func(t *testing.T) {
				t.Parallel()
				p.check(t, p.run(t, s.url))
			})
		}
	})
}

// check makes a subtest of each case, and misses none.
func (p *program) check(t *testing.T, said []verdict) {
	t.Helper()
	var names []string
	for _, v := range said {
		names = append(names, v.Name)
		t.Run(v.Name, func(t *testing.T) {
			t.Logf("%d ms", v.MS)
			if !v.OK {
				t.Error(v.Error)
			}
		})
	}
	want := slices.Sorted(slices.Values(cases[p.provider]))
	if slices.Sort(names); !slices.Equal(names, want) {
		t.Errorf("cases run: %q, want %q", names, want)
	}
}

// A response in the background is there, and can be read on from where a
// client stopped, after the process was killed.
func TestBackgroundOverAKill(t *testing.T) {
	dir := installed(t)
	binary, _ := build(t)
	python := &program{"openai", "python", []string{filepath.Join(dir, "python", "bin", "python"), "python/resume.py"}, nil}
	s := newServer(t, binary, nil)
	begun := python.run(t, s.url, "begin")
	if len(begun) != 1 || !begun[0].OK {
		t.Fatalf("%+v", begun)
	}
	if err := s.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = s.cmd.Wait() // says that it was killed
	s.start()
	if ended := python.run(t, s.url, "end", begun[0].Name); len(ended) != 1 || !ended[0].OK {
		t.Fatalf("%+v", ended)
	}
}
