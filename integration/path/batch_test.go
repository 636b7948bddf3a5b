package path

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker/batch"
	"github.com/sluicehq/sluice/sdk/wire"
)

// batcher adds a process that runs batches.
func (r *rig) batcher(name string, window int) *proc {
	r.t.Helper()
	p := r.proc(name)
	s := batch.New(batch.Config{JS: p.jetstream(r.t), Subjects: r.subj, Logger: r.log.With("proc", name), Instance: name, Window: window,
		Routes:   func(model string) bool { _, ok := r.table.Route(model); return ok },
		StatusOf: func(wire.Code, int) int { return 400 }})
	p.goRun(r, s.Run)
	return p
}

// batchLine is a line of an input.
func batchLine(n int) string {
	return fmt.Sprintf(`{"custom_id":"id %d ü","method":"POST","url":"/v1/chat/completions","body":{"model":"chat","messages":[{"role":"user","content":"number %d"}]}}`, n, n)
}

// input is a file of n lines.
func input(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(batchLine(i+1) + "\n")
	}
	return b.String()
}

// upload stores a file.
func (r *rig) upload(text string) string {
	r.t.Helper()
	u := r.files().Create(r.t.Context(), "default")
	if _, err := u.ReadFrom(strings.NewReader(text)); err != nil {
		r.t.Fatal(err)
	}
	f, err := u.Commit("in.jsonl", "batch", 0)
	if err != nil {
		r.t.Fatal(err)
	}
	return f.ID
}

func (r *rig) files() *batch.Store { return batch.NewStore(r.js, r.subj) }

// submit makes a batch of a text.
func (r *rig) submit(text, window string) string {
	r.t.Helper()
	m, err := r.files().Submit(r.t.Context(), batch.Spec{Tenant: "default", API: batch.OpenAI, Endpoint: wire.ChatCompletions,
		Input: r.upload(text), Window: window}, "", time.Time{})
	if err != nil {
		r.t.Fatal(err)
	}
	return m.ID
}

// batch waits until a batch has a status, or has ended.
func (r *rig) batch(id string, want ...batch.Status) *batch.Manifest {
	r.t.Helper()
	for range 100_000 {
		m, err := r.files().Batch(r.t.Context(), batch.OpenAI, "default", id)
		if err != nil {
			r.t.Fatal(err)
		}
		if m.Status.Terminal() || slices.Contains(want, m.Status) {
			return m
		}
		time.Sleep(50 * time.Millisecond)
	}
	r.t.Fatal("the batch does not end")
	return nil
}

// resultLine is a line of a result file.
type resultLine struct {
	ID       string `json:"id"`
	CustomID string `json:"custom_id"`
	Response *struct {
		Status int             `json:"status_code"`
		ID     string          `json:"request_id"`
		Body   json.RawMessage `json:"body"`
	} `json:"response"`
	Error *struct{ Code, Message string } `json:"error"`
}

// results reads a side of a batch's results, by custom ID, each once.
func (r *rig) results(m *batch.Manifest, side batch.Side) map[string]resultLine {
	r.t.Helper()
	out := map[string]resultLine{}
	id := m.ResultFile(side)
	if id == "" {
		return out
	}
	f, err := r.files().File(r.t.Context(), "default", id)
	if err != nil {
		r.t.Fatal(err)
	}
	var buf bytes.Buffer
	if err := r.files().Copy(r.t.Context(), &buf, f); err != nil {
		r.t.Fatal(err)
	}
	for dec := json.NewDecoder(&buf); ; {
		var l resultLine
		if err := dec.Decode(&l); err == io.EOF {
			return out
		} else if err != nil {
			r.t.Fatal(err)
		}
		if _, twice := out[l.CustomID]; twice {
			r.t.Errorf("%q has two results", l.CustomID)
		}
		out[l.CustomID] = l
	}
}

// byPrompt counts the provider's calls by prompt.
func (s *script) byPrompt() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[string]int{}
	for _, c := range s.calls {
		_, rest, _ := strings.Cut(c.Body, "number ")
		n, _, _ := strings.Cut(rest, `"`)
		out[n]++
	}
	return out
}

// once reports the lines that the provider was not called for exactly once.
func (r *rig) once(p *script, n int) {
	r.t.Helper()
	calls := p.byPrompt()
	for i := range n {
		if c := calls[fmt.Sprint(i+1)]; c != 1 {
			r.t.Errorf("line %d was called %d times", i+1, c)
		}
	}
}

// every thousandth prompt is refused.
func refuse(text string, of ...string) func(int, string) reply {
	return func(_ int, body string) reply {
		for _, n := range of {
			if strings.Contains(body, "number "+n+`"`) {
				return reply{status: 400, body: `{"error":{"message":"` + text + `","type":"invalid_request_error","param":null,"code":"bad"}}`}
			}
		}
		return reply{body: "{\n  \"pretty\": true," + answer("yes")[1:]}
	}
}

// TestBatch: a batch runs to its end, more lines than fit in its window, and
// its results are two files.
func TestBatch(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		p := &script{reply: refuse("no", "7", "300")}
		r := start(t, setup{dir: dir, pools: []pool{{name: "a", concurrency: 16, provider: p}}})
		r.batcher("b1", 64)
		const n = 500
		id := r.submit("\n"+strings.ReplaceAll(input(n), "\n", "\r\n\n"), "24h")
		m := r.batch(id)
		if m.Status != batch.Completed || m.Lines != n || m.Model != "chat" {
			t.Fatalf("%+v", m)
		}
		for _, s := range []batch.Status{batch.Validating, batch.InProgress, batch.Finalizing, batch.Completed} {
			if m.At[s] == 0 {
				t.Errorf("no time of %s", s)
			}
		}
		out, errs := r.results(m, batch.Output), r.results(m, batch.Errors)
		if len(out) != n-2 || len(errs) != 2 || m.Tally.Succeeded != n-2 || m.Tally.Failed != 2 {
			t.Fatalf("%d and %d results, %+v", len(out), len(errs), m.Tally)
		}
		l := out["id 8 ü"]
		if l.Error != nil || l.Response.Status != 200 || !strings.Contains(string(l.Response.Body), `"content":"yes"`) || !strings.HasPrefix(l.ID, "batch_req_") {
			t.Errorf("%+v: %s", l, l.Response.Body)
		}
		l = errs["id 300 ü"]
		if l.Error != nil || l.Response.Status != 400 || !strings.Contains(string(l.Response.Body), `"message":"`) {
			t.Errorf("%+v", l)
		}
		if u := m.Tally.Usage; u.Input != 10*(n-2) || u.Output != 3*(n-2) {
			t.Errorf("usage %+v", u)
		}
		if want := wire.NanoUSD(n-2) * (10*1000 + 3*2000); m.Tally.Spent < want || m.Tally.Unknown != 0 {
			t.Errorf("spent %d of which %d unknown, want %d and what the refused ones cost", m.Tally.Spent, m.Tally.Unknown, want)
		}
		if got := slices.Collect(maps.Values(m.Tally.Codes)); len(got) != 1 || got[0] != 2 {
			t.Errorf("codes %v", m.Tally.Codes)
		}
		r.once(p, n)
		r.empty()
	})
}

// TestBatchOwnerDies: whatever the owner of a batch has just sent when it is
// killed, the next owner goes on, and no line runs twice.
func TestBatchOwnerDies(t *testing.T) {
	const n = 60
	for _, after := range []int{1, 5, 9, 11, 12, 13, 14, 15, 16, 18, 20, 25, 30, 37, 45, 60, 70, 80, 90, 100} {
		t.Run(fmt.Sprint(after), func(t *testing.T) {
			bubble(t, func(t *testing.T, dir string) {
				p := &script{reply: refuse("no", "7")}
				r := start(t, setup{dir: dir, pools: []pool{{name: "a", provider: p}}})
				b1 := r.batcher("b1", 16)
				time.Sleep(time.Second)
				b1.gate.set(func() { b1.gate.limit = b1.gate.sent + after })
				id := r.submit(input(n), "24h")
				time.Sleep(time.Second)
				r.batcher("b2", 16)
				m := r.batch(id)
				if m.Status != batch.Completed || m.Tally.Succeeded != n-1 || m.Tally.Failed != 1 {
					t.Fatalf("%+v", m)
				}
				if out, errs := r.results(m, batch.Output), r.results(m, batch.Errors); len(out) != n-1 || len(errs) != 1 {
					t.Errorf("%d and %d results", len(out), len(errs))
				}
				r.once(p, n)
				r.empty()
			})
		})
	}
}

// TestBatchOwnerPaused: an owner that was overtaken while it was frozen does
// not write any more.
func TestBatchOwnerPaused(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		const n = 200
		p := always(reply{delay: time.Second})
		r := start(t, setup{dir: dir, pools: []pool{{name: "a", provider: p}}})
		b1 := r.batcher("b1", 32)
		id := r.submit(input(n), "24h")
		r.batch(id, batch.InProgress)
		time.Sleep(5 * time.Second)
		b1.gate.freeze()
		time.AfterFunc(30*time.Second, b1.gate.thaw)
		r.batcher("b2", 32)
		m := r.batch(id)
		if m.Status != batch.Completed || m.Tally.Succeeded != n || len(r.results(m, batch.Output)) != n {
			t.Errorf("%+v", m)
		}
		r.once(p, n)
	})
}

// TestBatchCancelled: a batch that is cancelled keeps what it has, ends what
// runs and starts nothing more.
func TestBatchCancelled(t *testing.T) {
	for _, when := range []time.Duration{0, 3 * time.Second, 20 * time.Second} {
		t.Run(when.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T, dir string) {
				const n = 200
				p := always(reply{delay: 2 * time.Second})
				r := start(t, setup{dir: dir, pools: []pool{{name: "a", provider: p}}})
				if when != 0 {
					r.batcher("b1", 32)
				}
				id := r.submit(input(n), "24h")
				time.Sleep(when)
				m, err := r.files().Cancel(t.Context(), batch.OpenAI, "default", id)
				if err != nil || m.Status != batch.Cancelling {
					t.Fatal(m, err)
				}
				if when == 0 {
					r.batcher("b1", 32)
				}
				m = r.batch(id)
				called := p.count()
				time.Sleep(time.Minute)
				if m.Status != batch.Cancelled || m.At[batch.Cancelling] == 0 || p.count() != called {
					t.Fatalf("%+v, and %d calls after it", m, p.count()-called)
				}
				if when == 0 {
					if called != 0 || m.Tally.Done() != 0 {
						t.Errorf("%d calls, %+v", called, m.Tally)
					}
					return
				}
				out, errs := r.results(m, batch.Output), r.results(m, batch.Errors)
				if len(out)+len(errs) != n || len(out) == 0 || len(out) > called || m.Tally.Cancelled != int64(len(errs)) {
					t.Errorf("%d and %d results, %d calls, %+v", len(out), len(errs), called, m.Tally)
				}
				for id, l := range errs {
					if l.Response != nil || l.Error.Code != "batch_cancelled" {
						t.Fatalf("%s: %+v", id, l)
					}
				}
				if _, err := r.files().Cancel(t.Context(), batch.OpenAI, "default", id); wire.CodeFinished != codeOf(err) {
					t.Errorf("cancelled again: %v", err)
				}
				r.empty()
			})
		})
	}
}

func codeOf(err error) wire.Code {
	if e, ok := err.(*wire.Error); ok {
		return e.Code
	}
	return ""
}

// TestBatchExpires: at the end of its window a batch ends with what it has,
// also when nobody was there to run it.
func TestBatchExpires(t *testing.T) {
	for _, absent := range []bool{false, true} {
		t.Run(fmt.Sprint("absent ", absent), func(t *testing.T) {
			bubble(t, func(t *testing.T, dir string) {
				const n = 300
				p := always(reply{delay: 7 * time.Second})
				r := start(t, setup{dir: dir, pools: []pool{{name: "a", provider: p}}})
				b1 := r.batcher("b1", 32)
				id := r.submit(input(n), "1m")
				time.Sleep(30 * time.Second)
				if absent {
					b1.stop()
					time.Sleep(10 * time.Minute)
					r.batcher("b2", 32)
				}
				began := time.Now()
				m := r.batch(id)
				if m.Status != batch.Expired || m.At[batch.Expired] == 0 {
					t.Fatalf("%+v", m)
				}
				if d := time.Since(began); d > 50*time.Second {
					t.Errorf("it took %s", d)
				}
				out, errs := r.results(m, batch.Output), r.results(m, batch.Errors)
				if len(out)+len(errs) != n || len(out) < 16 || m.Tally.Expired != int64(len(errs)) {
					t.Errorf("%d and %d results, %+v", len(out), len(errs), m.Tally)
				}
				for id, l := range errs {
					if l.Response != nil || l.Error.Code != "batch_expired" {
						t.Fatalf("%s: %+v", id, l)
					}
				}
			})
		})
	}
}

// TestBatchInvalid: every fault of an input, with its line.
func TestBatchInvalid(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		r := start(t, setup{dir: dir, pools: []pool{{name: "a", provider: always(reply{})}}})
		r.batcher("b1", 16)
		change := func(n int, old, new string) string { return strings.Replace(batchLine(n), old, new, 1) }
		lines := []string{
			batchLine(1), "{", change(3, "POST", "GET"), change(4, "/v1/chat", "/v1/x"), change(5, `"custom_id"`, `"id"`), batchLine(1),
			change(7, `"model":"chat"`, `"model":"none"`), change(8, `"messages"`, `"m"`), change(9, `"body":{`, `"body":{"stream":true,`), "[]", "",
			change(12, `"body":{`, `"no":{`), change(13, "id 13", strings.Repeat("x", 600)),
		}
		m := r.batch(r.submit(strings.Join(lines, "\n"), "24h"))
		var got []string
		for _, f := range m.Faults {
			got = append(got, fmt.Sprint(f.Line, " ", f.Code, " ", f.Param))
		}
		want := []string{"2 invalid_json_line ", "3 invalid_method method", "4 invalid_url url", "5 missing_required_parameter custom_id",
			"6 duplicate_custom_id custom_id", "7 model_not_found model", "8 invalid_request messages", "9 invalid_request stream",
			"10 invalid_json_line ", "12 missing_required_parameter body", "13 invalid_request custom_id"}
		if m.Status != batch.Failed || m.At[batch.Failed] == 0 || !slices.Equal(got, want) {
			t.Errorf("%s:\n%s\nwant\n%s", m.Status, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		if m := r.batch(r.submit("\n \n", "24h")); m.Status != batch.Failed || len(m.Faults) != 1 || m.Faults[0].Code != "empty_file" {
			t.Errorf("of nothing: %+v", m)
		}
		if m := r.batch(r.submit(strings.Repeat("{\n", 1000), "24h")); len(m.Faults) != 100 {
			t.Errorf("%d faults are listed", len(m.Faults))
		}
	})
}

// TestBatchYields: a batch runs on all pools of its route at once and takes
// every slot that is idle; interactive jobs get the next slots that come free,
// and the batch goes on behind them.
func TestBatchYields(t *testing.T) {
	const took = time.Second // each call
	bubble(t, func(t *testing.T, dir string) {
		a, b := always(reply{delay: took}), always(reply{delay: took})
		r := start(t, setup{dir: dir, pools: []pool{{name: "a", concurrency: 4, provider: a}, {name: "b", concurrency: 4, provider: b}}})
		r.batcher("b1", 64)
		const n = 200
		id := r.submit(input(n), "24h")
		time.Sleep(10 * took)
		began := time.Now()
		ids := r.flood(wire.Interactive, 40, chat)
		r.allSucceed(ids)
		if waited := time.Since(began); waited > 7*took {
			t.Errorf("interactive jobs had their answers after %s behind a batch, want five rounds, and one of it", waited)
		}
		if m := r.batch(id, batch.InProgress); m.Tally.Succeeded == 0 || m.Tally.Succeeded > n/2 {
			t.Errorf("%d of %d lines were done: too few or too many for this test", m.Tally.Succeeded, n)
		}
		m := r.batch(id)
		if m.Status != batch.Completed || m.Tally.Succeeded != n {
			t.Errorf("%+v", m)
		}
		// 30 rounds of 8 calls, and a moment for each end of the batch.
		if all := time.Duration(m.At[batch.Completed]-m.At[batch.InProgress]) * time.Second; all > 34*took {
			t.Errorf("%d lines and %d interactive jobs took %s on 8 slots: some stood idle", n, len(ids), all)
		}
		for name, p := range map[string]*script{"a": a, "b": b} {
			if calls := len(p.byPrompt()); calls < n/3 || p.atOnce() != 4 {
				t.Errorf("pool %s had %d lines, %d calls at once", name, calls, p.atOnce())
			}
		}
	})
}
