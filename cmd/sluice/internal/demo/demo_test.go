package demo

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/analytics/engine"
	"github.com/sluicehq/sluice/analytics/store/storetest"
	"github.com/sluicehq/sluice/cmd/sluice/internal/cli"
	"github.com/spf13/cobra"
)

// TestMain is also the engine's child process, which the demo starts as
// `<this binary> engine`.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "engine" {
		if err := engine.Main(context.Background(), os.Stdin, os.Stdout); err != nil {
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// runDemo runs the command as main does, and gives what it printed.
func runDemo(t *testing.T, ctx context.Context, args ...string) (out string, status int) {
	t.Helper()
	var buf, errs bytes.Buffer
	run := func(ctx context.Context, out io.Writer, environ []string, args ...string) int {
		return cli.Run(ctx, cli.Deps{Out: out, Err: &errs, Environ: environ}, args)
	}
	status = cli.Run(ctx, cli.Deps{Out: &buf, Err: &errs, Commands: []*cobra.Command{Command(run, nil)}}, append([]string{"demo"}, args...))
	if errs.Len() > 0 {
		t.Logf("stderr: %s", &errs)
	}
	return buf.String(), status
}

// emptyTemp makes the temporary folder one that must be empty in the end (I1).
func emptyTemp(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	t.Cleanup(func() {
		left, err := os.ReadDir(dir)
		if err != nil || len(left) > 0 {
			t.Errorf("left behind: %v %v", left, err)
		}
	})
}

// withoutKeys keeps a demo in a test from calling a provider.
func withoutKeys(t *testing.T) {
	t.Helper()
	for _, kv := range os.Environ() {
		if name, _, _ := strings.Cut(kv, "="); strings.HasSuffix(name, "_API_KEY") {
			t.Setenv(name, "")
		}
	}
}

// TestDemo runs a whole one (I1, I2, I3): the table is there, the costs are the
// books', and nothing is left.
func TestDemo(t *testing.T) {
	storetest.Need(t)
	emptyTemp(t)
	withoutKeys(t)
	t.Setenv("SLUICE_NATS_URL", "nats://127.0.0.1:1") // must not matter
	out, status := runDemo(t, t.Context(), "--jobs", "60", "--rate", "60")
	if status != 0 {
		t.Fatalf("exit status %d\n%s", status, out)
	}
	for _, want := range []string{"What is a sluice", "61 of 61 jobs done", "POOL ", "sim-fast", "sim-cheap", "TENANT ", "61 jobs, ", "Dead letters: ",
		"in the providers' own books", "Nothing is left running"} {
		if !strings.Contains(out, want) {
			t.Errorf("the output has no %q:\n%s", want, out)
		}
	}
	sum := regexp.MustCompile(`: \$(\S+) in ClickHouse, \$(\S+) in the providers'`).FindStringSubmatch(out)
	if len(sum) != 3 || sum[1] != sum[2] || sum[1] == "0.000000000" {
		t.Errorf("sums of ClickHouse and books: %q", sum)
	}
	if strings.ContainsRune(out, '\x1b') {
		t.Error("control characters without a terminal")
	}
}

// TestDemoWithoutEngine: answers come all the same, and it says what is
// missing.
func TestDemoWithoutEngine(t *testing.T) {
	emptyTemp(t)
	withoutKeys(t)
	t.Setenv(engine.EnvLib, filepath.Join(t.TempDir(), "none.so"))
	out, status := runDemo(t, t.Context(), "--jobs", "20", "--rate", "100")
	if status != 0 || !strings.Contains(out, "21 of 21 jobs done") || !strings.Contains(out, "make engine") || !strings.Contains(out, "→ ") {
		t.Errorf("exit status %d\n%s", status, out)
	}
}

// TestDemoInterrupted: it cleans up when it is cut off (I1).
func TestDemoInterrupted(t *testing.T) {
	emptyTemp(t)
	withoutKeys(t)
	t.Setenv(engine.EnvLib, filepath.Join(t.TempDir(), "none.so"))
	ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
	defer cancel()
	out, status := runDemo(t, ctx, "--jobs", "100", "--rate", "1")
	if status != 1 || strings.Contains(out, "Nothing is left") {
		t.Errorf("exit status %d\n%s", status, out)
	}
}

// TestDemoUsage: what would be ignored is refused.
func TestDemoUsage(t *testing.T) {
	for _, args := range [][]string{{"--config", "x.yaml"}, {"--rate", "0"}, {"--jobs", "-1"}, {"--data-dir", "x"}} {
		if out, status := runDemo(t, t.Context(), args...); status == 0 {
			t.Errorf("%v: exit status 0\n%s", args, out)
		}
	}
}

func TestPrompts(t *testing.T) {
	list, err := prompts(0)
	if err != nil || len(list) < 200 {
		t.Fatalf("%d prompts, %v", len(list), err)
	}
	count := map[string]int{}
	for _, p := range list {
		count[p.tenant]++
		count[string(p.class)]++
		if job := p.job(1, "chat"); job.Labels["team"] == "" {
			t.Errorf("no team: %q", p.text)
		}
	}
	for _, want := range []string{"acme", "globex", "initech", "interactive", "standard", "batch"} {
		if count[want] < len(list)/10 {
			t.Errorf("%s has %d of %d prompts", want, count[want], len(list))
		}
	}
	if more, err := prompts(len(list) + 5); err != nil || len(more) != len(list)+5 || more[len(list)] != list[0] {
		t.Errorf("more than there are: %d, %v", len(more), err)
	}
	for _, bad := range []string{"acme batch x", "acme batch: text", "acme odd x: text", "a.b batch x: text", "acme batch x: "} {
		if _, err := parsePrompts(bad); err == nil {
			t.Errorf("accepted: %q", bad)
		}
	}
}

func TestForeign(t *testing.T) {
	got := foreign([]string{"PATH=/bin", "SLUICE_POOLS=[]", "OPENAI_API_KEY=k"})
	if strings.Join(got, " ") != "PATH=/bin OPENAI_API_KEY=k" {
		t.Error(got)
	}
}

func TestWrapper(t *testing.T) {
	var b bytes.Buffer
	w := &wrapper{w: &b}
	for range 40 {
		w.write("words and ")
	}
	for _, line := range strings.Split(b.String(), "\n") {
		if len(line) > 79 {
			t.Errorf("a line of %d: %q", len(line), line)
		}
	}
}

func TestIsTerminal(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	if isTerminal(f) || isTerminal(&bytes.Buffer{}) {
		t.Error("a file is a terminal")
	}
	if err := errors.Join(f.Close()); err != nil {
		t.Error(err)
	}
}
