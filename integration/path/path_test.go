// Package path tests the whole path of a job, from publish to record, on the
// real embedded nats-server under fake time.
package path

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats-server/v2/server/ats"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/sluicehq/sluice/broker/control"
	"github.com/sluicehq/sluice/broker/dispatch"
	"github.com/sluicehq/sluice/broker/natsd"
	"github.com/sluicehq/sluice/broker/topology"
	"github.com/sluicehq/sluice/router"
	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/sluicehq/sluice/workers/engine"
	"github.com/sluicehq/sluice/workers/run"
)

func TestMain(m *testing.M) {
	ats.Register()
	code := m.Run()
	ats.Unregister()
	os.Exit(code)
}

// reply is what the scripted provider answers.
type reply struct {
	status int
	body   string
	delay  time.Duration
	header http.Header
}

// script is a provider that answers as it is told, and counts.
type script struct {
	mu    sync.Mutex
	calls []string // Idempotency-Key of each call
	reply func(n int, r *http.Request, body []byte) reply
}

// answer is a chat completion with the given words.
func answer(text string) string {
	return fmt.Sprintf(`{"id":"c1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":%q},"finish_reason":"stop"}],"usage":{"prompt_tokens":10,"completion_tokens":3,"total_tokens":13}}`, text)
}

// RoundTrip implements http.RoundTripper.
func (s *script) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.calls = append(s.calls, r.Header.Get("Idempotency-Key"))
	n := len(s.calls)
	s.mu.Unlock()
	rep := reply{status: 200, body: answer("hello")}
	if s.reply != nil {
		rep = s.reply(n, r, body)
	}
	if rep.delay > 0 {
		select {
		case <-time.After(rep.delay):
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
	if rep.header == nil {
		rep.header = http.Header{"Content-Type": {"application/json"}}
	}
	return &http.Response{StatusCode: rep.status, Header: rep.header, Body: io.NopCloser(bytes.NewReader([]byte(rep.body))), Request: r}, nil
}

func (s *script) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.calls)
}

// rig is a broker in a bubble.
type rig struct {
	t      *testing.T
	srv    *natsd.Server
	js     jetstream.JetStream
	subj   wire.Subjects
	led    *ledger.Ledger
	table  *router.Table
	cancel context.CancelFunc
	done   sync.WaitGroup
	log    *slog.Logger
	dir    string
}

// pool is a pool of a rig.
type pool struct {
	name        string
	concurrency int
	weight      int
	provider    *script
}

var testPrice = &wire.Price{Version: "test", Input: 1_000_000, Output: 2_000_000}

// start runs server, router and worker. Call it inside a bubble; stop ends it.
func start(t *testing.T, dir string, strategy string, pools ...pool) *rig {
	t.Helper()
	r := &rig{t: t, dir: dir, log: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))}
	var err error
	if r.srv, err = natsd.Start(natsd.Config{DataDir: dir, Sync: time.Second}); err != nil {
		t.Fatal(err)
	}
	nc := r.connect("rig")
	if r.js, err = jetstream.New(nc); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	r.cancel = cancel
	if err := topology.Ensure(ctx, r.js, topology.Config{Subjects: r.subj}); err != nil {
		t.Fatal(err)
	}
	r.led = ledger.New(r.js, r.subj)
	var rp []router.Pool
	var cands []router.CandidateSpec
	for _, p := range pools {
		rp = append(rp, router.Pool{Name: p.name, Provider: "test", Concurrency: p.concurrency, Weight: max(p.weight, 1)})
		cands = append(cands, router.CandidateSpec{Pool: p.name, Model: "m", Weight: max(p.weight, 1), Price: testPrice})
	}
	r.table, err = router.NewTable(rp, []router.RouteSpec{{Name: "chat", Strategy: strategy, Candidates: cands}})
	if err != nil {
		t.Fatal(err)
	}
	d := dispatch.New(dispatch.Config{JS: r.js, Subjects: r.subj, Ledger: r.led, Logger: r.log}, r.table)
	r.goRun("dispatcher", func() error { return d.Run(ctx) })
	c := control.New(control.Config{JS: r.js, Subjects: r.subj, Ledger: r.led, Logger: r.log, Table: d.Table,
		Pools: func() []control.PoolInfo { return nil }})
	r.goRun("control", func() error { return c.Run(ctx) })
	r.worker(ctx, "w1", pools...)
	return r
}

// worker adds a worker process, announced.
func (r *rig) worker(ctx context.Context, instance string, pools ...pool) *run.Runner {
	r.t.Helper()
	var served []run.Pool
	for _, p := range pools {
		e, err := engine.New(engine.Config{Pool: p.name, Adapter: "openai", Transport: p.provider})
		if err != nil {
			r.t.Fatal(err)
		}
		served = append(served, run.Pool{Name: p.name, Concurrency: p.concurrency, Endpoint: e})
	}
	w := run.New(run.Config{JS: r.js, Subjects: r.subj, Ledger: r.led, Logger: r.log, Instance: instance, Pools: served})
	r.goRun("announce", func() error {
		return ledger.Announce(ctx, r.js, r.subj, func() ledger.Node { return ledger.Node{Instance: instance} })
	})
	r.goRun("worker", func() error { return w.Run(ctx) })
	return w
}

func (r *rig) goRun(what string, f func() error) {
	r.done.Go(func() {
		if err := f(); err != nil {
			r.t.Errorf("%s: %v", what, err)
		}
	})
}

func (r *rig) connect(name string) *nats.Conn {
	r.t.Helper()
	nc, err := r.srv.Connect(name)
	if err != nil {
		r.t.Fatal(err)
	}
	return nc
}

// stop ends everything; the bubble then checks that nothing leaked.
func (r *rig) stop() {
	r.cancel()
	r.done.Wait()
	r.js.Conn().Close()
	r.srv.Stop()
}

// publish submits a job and returns its stream sequence.
func (r *rig) publish(class wire.Class, body string, headers ...string) uint64 {
	r.t.Helper()
	m := &nats.Msg{Subject: r.subj.Jobs("acme", class), Data: []byte(body), Header: nats.Header{}}
	for i := 0; i < len(headers); i += 2 {
		m.Header[headers[i]] = append(m.Header[headers[i]], headers[i+1])
	}
	ack, err := r.js.PublishMsg(r.t.Context(), m)
	if err != nil {
		r.t.Fatalf("publish: %v", err)
	}
	return ack.Sequence
}

// result waits, in fake time, for a job's terminal record.
func (r *rig) result(job string) *ledger.Stored {
	r.t.Helper()
	for end := time.Now().Add(time.Hour); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		last, err := r.led.Last(r.t.Context(), "acme", job)
		if err != nil {
			r.t.Fatal(err)
		}
		if last != nil && last.Status.Terminal() {
			return last
		}
	}
	r.t.Fatalf("job %s has no terminal record after an hour", job)
	return nil
}

const chat = `{"model":"chat","messages":[{"role":"user","content":"hi"}],"max_tokens":10}`

func TestPublishToRecord(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		p := &script{}
		r := start(t, dir, "least_connections", pool{name: "a", concurrency: 4, provider: p})
		defer r.stop()
		seq := r.publish(wire.Interactive, chat)
		res := r.result(wire.AutoID(seq))
		if res.Status != wire.Succeeded || !bytes.Contains(res.Body, []byte("hello")) {
			t.Fatalf("status %s, body %s", res.Status, res.Body)
		}
		if c := res.Entry.Attempt.Cost; c == nil || *c != 10*1000+3*2000 {
			t.Fatalf("cost %v, want 16000", c)
		}
		if p.count() != 1 {
			t.Fatalf("%d provider calls, want 1", p.count())
		}
	})
}
