package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/cmd/sluice/internal/web"
	"github.com/sluicehq/sluice/sdk/wire"
)

// requests writes a batch's input of the given models, one line each.
func requests(t *testing.T, models ...string) string {
	t.Helper()
	var b strings.Builder
	for i, m := range models {
		fmt.Fprintf(&b, `{"custom_id":"c%d","method":"POST","url":"/v1/chat/completions","body":{"model":%q,"max_tokens":8,"messages":[{"role":"user","content":"hi"}]}}`+"\n", i, m)
	}
	path := filepath.Join(t.TempDir(), "in.jsonl")
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestBatchCommands: a batch from its file to its results, and what one says
// of it on the way.
func TestBatchCommands(t *testing.T) {
	tm := startBroker(t, "")
	dir := t.TempDir()
	out, errs := filepath.Join(dir, "out.jsonl"), filepath.Join(dir, "errs.jsonl")

	r := tm.run("batch", "submit", requests(t, "chat", "chat", "chat"), "--watch", "--out", out, "--label", "team=docs", "--metadata", "a=b")
	if r.code != 0 || r.out != "" {
		t.Fatalf("status %d: %s%s", r.code, r.out, r.err)
	}
	wants(t, r.err, "bytes uploaded", "[########################] 3/3 100%", "completed", "$0.0000", "results in "+out)
	if b, err := os.ReadFile(out); err != nil || bytes.Count(b, []byte(`"status_code":200`)) != 3 {
		t.Errorf("%s: %v", b, err)
	}

	// Lines that fail are in a file of their own, and the status says so.
	r = tm.run("batch", "submit", requests(t, "chat", "bad"), "--watch", "--out", "-", "--errors", errs)
	if r.code != 1 || strings.Count(r.out, "\n") != 1 || !json.Valid([]byte(r.out)) {
		t.Fatalf("status %d: %s%s", r.code, r.out, r.err)
	}
	wants(t, r.err, "failed: provider_error 1", "error: 1 of 2 lines of batch batch_", "failed lines in "+errs)
	if b, err := os.ReadFile(errs); err != nil || !bytes.Contains(b, []byte(`"custom_id":"c1"`)) {
		t.Errorf("%s: %v", b, err)
	}

	// From standard input, without waiting; cancelled; its state and results.
	in, err := os.ReadFile(requests(t, "slow", "slow"))
	if err != nil {
		t.Fatal(err)
	}
	tm.in = string(in)
	id := strings.TrimSpace(tm.ok("batch", "submit", "-", "--key", "once"))
	if again := strings.TrimSpace(tm.ok("batch", "submit", "-", "--key", "another")); again == id {
		t.Error("another key gave the same batch")
	}
	if r := tm.run("batch", "results", id); r.code != 1 || !strings.Contains(r.err, "no results yet") {
		t.Errorf("%+v", r)
	}
	wants(t, tm.ok("batch", "cancel", id), id+" is cancelling")
	r = tm.run("batch", "watch", id, "--errors", errs)
	if r.code != 1 || !strings.Contains(r.err, "is cancelled with") {
		t.Errorf("%+v", r)
	}
	wants(t, tm.ok("batch", "status", id), id, "cancelled", "expires", "cost")
	var b web.Batch
	tm.json(&b, "batch", "status", id)
	if b.ID != id || b.Status != "cancelled" {
		t.Errorf("%+v", b)
	}
	var list struct{ Batches []web.Batch }
	tm.json(&list, "batch", "list", "--limit", "3")
	if len(list.Batches) != 3 {
		t.Errorf("%d batches are listed", len(list.Batches))
	}
	wants(t, tm.ok("batch", "list"), "batch  ", id, "completed")

	// What cannot run says why, line by line.
	r = tm.run("batch", "submit", requests(t, "chat", "nobody"), "--watch")
	if r.code != 1 {
		t.Errorf("%+v", r)
	}
	wants(t, r.err, "2  model_not_found", "nothing of it ran")
	if r := tm.run("batch", "status", "batch_no"); r.code != 1 || !strings.Contains(r.err, "No such Batch object") {
		t.Errorf("%+v", r)
	}
	r = tm.run("batch", "list", "--url", "http://"+freePort(t))
	if r.code != 1 || !strings.Contains(r.err, "no gateway answers at") {
		t.Errorf("%+v", r)
	}
}

// TestBatchPlan: a dry run needs no server, and spends nothing.
func TestBatchPlan(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sluice.yaml")
	if err := os.WriteFile(path, []byte(`
pools:
  - {name: cheap, adapter: simulated, models: {m: {price: {input: 1, output: 2}}}}
  - {name: dear, adapter: simulated, models: {m: {price: {input: 10, output: 20}}}}
  - {name: free, adapter: simulated, models: {x: {}}}
routes:
  - {model: two, candidates: [{pool: cheap, model: m}, {pool: dear, model: m}]}
  - {model: some, candidates: [{pool: cheap, model: m}, {pool: free, model: x}]}
`), 0o600); err != nil {
		t.Fatal(err)
	}
	tm := &terminal{t: t, env: []string{"SLUICE_CONFIG=" + path, "SLUICE_CLICKHOUSE_EMBEDDED_ENABLED=false"}}
	file := requests(t, "two", "two", "some", "nobody")
	var p struct {
		Lines  int64
		Models []plan
	}
	tm.json(&p, "batch", "submit", file, "--dry-run", "--output-tokens", "5")
	if p.Lines != 4 || len(p.Models) != 3 {
		t.Fatalf("%+v", p)
	}
	two := p.Models[2]
	in := two.Input
	if two.Model != "two" || two.Lines != 2 || two.Output != 10 || *two.Least != wire.NanoUSD(in*1000+10*2000) ||
		*two.Most != *two.Least*10 || *two.Bound != wire.NanoUSD(in*10_000+16*20_000) {
		t.Errorf("%+v", two)
	}
	if some, nobody := p.Models[1], p.Models[0]; *some.Least != *some.Most || len(some.Free) != 1 || nobody.Least != nil {
		t.Errorf("%+v, %+v", some, nobody)
	}
	out := tm.ok("batch", "submit", file, "--dry-run")
	wants(t, out, "model  ", "two", " to $0.", " or unknown", "4 lines, expected cost unknown; nothing was submitted")
	wants(t, tm.ok("batch", "submit", requests(t, "two"), "--dry-run"), "1 lines, expected cost $0.00")

	tm.in = "{\n"
	r := tm.run("batch", "submit", "-", "--dry-run")
	if r.code != 1 || !strings.Contains(r.out, "1  invalid_json_line") || !strings.Contains(r.err, "the batch would fail: 1 fault") {
		t.Errorf("%+v", r)
	}
	for args, want := range map[string]string{
		"submit": "takes one file", "submit /no/such/file": "cannot be read", "submit " + file + " --endpoint /v1/messages": "the endpoint",
		"list --limit 0": "--limit", "list --url ftp://x": "no http or https URL", "submit " + file + " --label x": "name=value",
	} {
		r := tm.run(append([]string{"batch"}, strings.Fields(args)...)...)
		if r.code != 2 || !strings.Contains(r.err, want) || r.out != "" {
			t.Errorf("batch %s: %+v", args, r)
		}
	}
}

func TestProgressLine(t *testing.T) {
	var b web.Batch
	b.Status = "validating"
	if got := progressLine(&b, 0); got != "validating" {
		t.Error(got)
	}
	b.Status, b.Counts.Total, b.Counts.Completed, b.Counts.Failed, b.Sluice.Cost = "in_progress", 1000, 240, 10, 1_500_000
	b.Sluice.Codes, b.Sluice.Expired = map[string]int64{"rate_limited": 7, "provider_error": 2}, 1
	want := "[######------------------] 250/1000 25% · 50/s · 15s left · $0.001500000 · failed: rate_limited 7, provider_error 2, expired 1"
	if got := progressLine(&b, 50); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}

	// The rate is that of the last while, and a terminal's line is written over.
	var out bytes.Buffer
	p := &progress{w: &out, tty: true}
	at := time.Unix(1000, 0)
	b.Counts.Completed, b.Counts.Failed = 0, 0
	for range 100 {
		p.show(&b, at)
		at, b.Counts.Completed = at.Add(time.Second), b.Counts.Completed+10
	}
	p.end()
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\r")
	if len(lines) != 101 || !strings.Contains(lines[100], "990/1000 99% · 10/s · 1s left") || strings.Contains(out.String()[:len(out.String())-1], "\n") {
		t.Errorf("%d lines, the last %q", len(lines), lines[len(lines)-1])
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.follow(ctx, web.New("http://127.0.0.1:1", "", ""), "x"); err == nil {
		t.Error("a wait that was ended goes on")
	}
}
