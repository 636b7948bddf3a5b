// Package path tests the whole path of a job, from publish to record, on the
// real embedded nats-server under fake time.
package path

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
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
	"github.com/sluicehq/sluice/broker/observe"
	"github.com/sluicehq/sluice/broker/topology"
	"github.com/sluicehq/sluice/router"
	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/sluicehq/sluice/workers/engine"
	"github.com/sluicehq/sluice/workers/run"
)

func TestMain(m *testing.M) {
	ats.Register() // outside any bubble: otherwise fake time stands still
	code := m.Run()
	ats.Unregister()
	os.Exit(code)
}

// pool is a pool of a rig; the route "chat" has all of them as candidates.
type pool struct {
	name        string
	concurrency int // default 4
	weight      int // default 1
	unpriced    bool
	provider    *script
	routes      []string // further routes that have it as their candidate
}

// setup describes a rig. Its zero value has everything a job needs but pools.
type setup struct {
	dir      string
	strategy string // default least_connections
	pools    []pool
	bare     bool // neither dispatcher nor worker: the test adds them
	attempts int  // default 3
	tenants  []natsd.Tenant
	held     int  // jobs per class and queue in a dispatcher's memory; default 512
}

// rig is a broker in a bubble.
type rig struct {
	t     *testing.T
	setup setup
	srv   *natsd.Server
	nc    *nats.Conn
	js    jetstream.JetStream
	subj  wire.Subjects
	led   *ledger.Ledger
	table *router.Table
	log   *slog.Logger
	procs []*proc

	mu    sync.Mutex
	heard chan struct{} // closed and replaced at every record
}

// proc is a process of the broker, with a connection of its own.
type proc struct {
	gate   *gate
	nc     *nats.Conn
	cancel context.CancelFunc
	done   sync.WaitGroup
	runner *run.Runner

	observer   *observe.Observer
	dispatcher *dispatch.Dispatcher
}

// testPrice is one dollar per million tokens in, two out: 1,000 and 2,000
// nano-dollars a token.
var testPrice = &wire.Price{Version: "test", Input: 1_000_000, Output: 2_000_000}

// bubble runs f under fake time with an empty data directory.
func bubble(t *testing.T, f func(t *testing.T, dir string)) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) { f(t, dir) })
}

// start runs a server and, unless it is bare, one process of each role. All
// ends with the test.
func start(t *testing.T, s setup) *rig {
	t.Helper()
	level := slog.LevelWarn
	if testing.Verbose() {
		level = slog.LevelDebug
	}
	r := &rig{t: t, setup: s, heard: make(chan struct{}),
		log: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: level}))}
	var err error
	if r.srv, err = natsd.Start(natsd.Config{DataDir: s.dir, Sync: time.Second, Tenants: s.tenants}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.stop)
	r.table = newTable(t, s)
	if r.nc, err = r.srv.Connect("rig"); err != nil {
		t.Fatal(err)
	}
	if r.js, err = jetstream.New(r.nc); err != nil {
		t.Fatal(err)
	}
	if err := topology.Ensure(t.Context(), r.js, topology.Config{Subjects: r.subj}); err != nil {
		t.Fatal(err)
	}
	r.led = ledger.New(r.js, r.subj)
	if _, err := r.nc.Subscribe(r.subj.Records("*", "*"), func(*nats.Msg) { r.hear() }); err != nil {
		t.Fatal(err)
	}
	p := r.proc("control")
	js := p.jetstream(t)
	c := control.New(control.Config{JS: js, Subjects: r.subj, Ledger: ledger.New(js, r.subj), Logger: r.log,
		Table: func() *router.Table { return r.table }, Pools: func() []control.PoolInfo { return poolInfos(s) }})
	p.goRun(r, c.Run)
	if !s.bare {
		r.dispatcher("d1")
		r.worker("w1")
	}
	synctest.Wait() // all subscriptions are made
	return r
}

func poolInfos(s setup) []control.PoolInfo {
	var out []control.PoolInfo
	for _, p := range s.pools {
		out = append(out, control.PoolInfo{Name: p.name, Concurrency: max(p.concurrency, 1)})
	}
	return out
}

func newTable(t *testing.T, s setup) *router.Table {
	t.Helper()
	strategy := s.strategy
	if strategy == "" {
		strategy = "least_connections"
	}
	var pools []router.Pool
	routes := []router.RouteSpec{{Name: "chat", Strategy: strategy}}
	for i := range s.pools {
		p := &s.pools[i]
		if p.concurrency == 0 {
			p.concurrency = 4
		}
		pools = append(pools, router.Pool{Name: p.name, Provider: "test", Region: "eu", Concurrency: p.concurrency})
		c := router.CandidateSpec{Pool: p.name, Model: "m-" + p.name, Weight: max(p.weight, 1), Price: testPrice}
		if p.unpriced {
			c.Price = nil
		}
		routes[0].Candidates = append(routes[0].Candidates, c)
		for _, name := range p.routes {
			routes = append(routes, router.RouteSpec{Name: name, Strategy: strategy, Candidates: []router.CandidateSpec{c}})
		}
	}
	table, err := router.NewTable(pools, routes)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// proc makes a process without a role.
func (r *rig) proc(name string) *proc {
	r.t.Helper()
	p := &proc{gate: newGate()}
	var err error
	quiet := nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})
	if p.nc, err = r.srv.Connect(name, p.gate.option, quiet); err != nil {
		r.t.Fatal(err)
	}
	p.gate.onDeath = p.nc.Close
	r.procs = append(r.procs, p)
	return p
}

func (p *proc) jetstream(t *testing.T) jetstream.JetStream {
	js, err := jetstream.New(p.nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// goRun runs a part of the process until it is stopped.
func (p *proc) goRun(r *rig, f func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	before := p.cancel
	p.cancel = func() {
		cancel()
		if before != nil {
			before()
		}
	}
	p.done.Go(func() {
		if err := f(ctx); err != nil && !p.gate.isDead() {
			r.t.Errorf("a part of the broker failed: %v", err)
		}
	})
}

// stop ends the process in good order.
func (p *proc) stop() {
	if p.cancel != nil {
		p.cancel()
	}
	p.done.Wait()
	p.nc.Close()
}

// dispatcher adds a process with the router role.
func (r *rig) dispatcher(name string) *proc {
	r.t.Helper()
	p := r.proc(name)
	js := p.jetstream(r.t)
	d := dispatch.New(dispatch.Config{JS: js, Subjects: r.subj, Ledger: ledger.New(js, r.subj), Logger: r.log.With("proc", name), Held: r.setup.held}, r.table)
	p.goRun(r, d.Run)
	return p
}

// worker adds a process with the worker role, which announces itself. Without
// names it serves every pool.
func (r *rig) worker(name string) *proc {
	r.t.Helper()
	p := r.proc(name)
	js := p.jetstream(r.t)
	var served []run.Pool
	for _, x := range r.setup.pools {
		e, err := engine.New(engine.Config{Pool: x.name, Adapter: "openai", Transport: x.provider})
		if err != nil {
			r.t.Fatal(err)
		}
		served = append(served, run.Pool{Name: x.name, Concurrency: x.concurrency, Endpoint: e})
	}
	w := run.New(run.Config{JS: js, Subjects: r.subj, Ledger: ledger.New(js, r.subj), Logger: r.log.With("proc", name),
		Instance: name, Pools: served, MaxAttempts: r.setup.attempts})
	p.runner = w
	p.goRun(r, func(ctx context.Context) error {
		return ledger.Announce(ctx, js, r.subj, func() ledger.Node { return ledger.Node{Instance: name} })
	})
	p.goRun(r, w.Run)
	return p
}

// stop ends everything; the bubble then checks that nothing leaked.
func (r *rig) stop() {
	for _, p := range r.procs {
		p.gate.thaw()
		p.stop()
	}
	r.procs = nil
	if r.nc != nil {
		r.nc.Close()
	}
	if r.srv != nil {
		r.srv.Stop()
		r.srv = nil
	}
}

func (r *rig) hear() {
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.heard)
	r.heard = make(chan struct{})
}

func (r *rig) listen() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.heard
}

// patience is how much fake time a test waits for something.
const patience = 30 * time.Minute

// await waits until a job's last record satisfies ok.
func (r *rig) await(job string, what string, ok func(*ledger.Stored) bool) *ledger.Stored {
	r.t.Helper()
	end := time.After(patience)
	for {
		heard := r.listen()
		synctest.Wait() // a record is heard before it is stored, or refused
		last, err := r.led.Last(r.t.Context(), "acme", job)
		if err != nil {
			r.t.Fatal(err)
		}
		if last != nil && ok(last) {
			return last
		}
		select {
		case <-heard:
		case <-end:
			r.t.Fatalf("job %s: no %s record after %s of fake time; last: %+v; queues: %s", job, what, patience, last, r.queues())
		}
	}
}

// result waits for a job's terminal record.
func (r *rig) result(job string) *ledger.Stored {
	r.t.Helper()
	return r.await(job, "terminal", func(s *ledger.Stored) bool { return s.Status.Terminal() })
}

// reached waits until the job's last record has a status.
func (r *rig) reached(job string, status wire.Status) *ledger.Stored {
	r.t.Helper()
	return r.await(job, string(status), func(s *ledger.Stored) bool { return s.Status == status })
}

// history is all of a job's records; it checks that exactly one of them is
// terminal if the job has ended, the last.
func (r *rig) history(job string) []*ledger.Stored {
	r.t.Helper()
	records, err := r.led.History(r.t.Context(), "acme", job)
	if err != nil {
		r.t.Fatal(err)
	}
	for i, s := range records {
		if s.Status.Terminal() && i != len(records)-1 {
			r.t.Errorf("job %s: record %d of %d is terminal (%s)", job, i+1, len(records), s.Status)
		}
	}
	return records
}

// steps is a job's history in short, such as "running waiting/retry succeeded".
func (r *rig) steps(job string) string {
	r.t.Helper()
	out := ""
	for _, s := range r.history(job) {
		if out != "" {
			out += " "
		}
		out += string(s.Status)
		if s.Reason != "" {
			out += "/" + string(s.Reason)
		}
		if a := s.Entry.Attempt; a != nil && a.Status == wire.Interrupted {
			out += "(interrupted)"
		}
	}
	return out
}

const chat = `{"model":"chat","messages":[{"role":"user","content":"hi"}],"max_tokens":10}`

// send publishes a job and returns the ID that the broker gives it without
// one, and the error if the publish was refused.
func (r *rig) send(subject, body string, headers ...string) (string, error) {
	m := &nats.Msg{Subject: subject, Data: []byte(body), Header: nats.Header{}}
	for i := 0; i < len(headers); i += 2 {
		m.Header[headers[i]] = append(m.Header[headers[i]], headers[i+1])
	}
	ack, err := r.js.PublishMsg(r.t.Context(), m)
	if err != nil {
		return "", err
	}
	return wire.AutoID(ack.Sequence), nil
}

// publish submits an interactive job of tenant acme.
func (r *rig) publish(body string, headers ...string) string {
	r.t.Helper()
	return r.publishAs(wire.Interactive, body, headers...)
}

func (r *rig) publishAs(class wire.Class, body string, headers ...string) string {
	r.t.Helper()
	id, err := r.send(r.subj.Jobs("acme", class), body, headers...)
	if err != nil {
		r.t.Fatalf("publish: %v", err)
	}
	return id
}

// ask sends a request and decodes its JSON answer.
func ask[T any](r *rig, subject, body string) T {
	r.t.Helper()
	var out T
	// With a context: nats.go's own timers are pooled over bubbles.
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute)
	defer cancel()
	m, err := r.nc.RequestWithContext(ctx, subject, []byte(body))
	if err != nil {
		r.t.Fatalf("%s: %v", subject, err)
	}
	if err := json.Unmarshal(m.Data, &out); err != nil {
		r.t.Fatalf("%s: %v: %s", subject, err, m.Data)
	}
	return out
}

func (r *rig) status(job string) wire.Answer {
	r.t.Helper()
	return ask[wire.Answer](r, r.subj.Status("acme", job), "")
}

func (r *rig) cancelJob(job string) wire.Answer {
	r.t.Helper()
	return ask[wire.Answer](r, r.subj.Cancel("acme", job), "")
}

func (r *rig) admin(op, body string) map[string]any {
	r.t.Helper()
	return ask[map[string]any](r, r.subj.Admin(op), body)
}

// empty checks that nothing is left in the queues.
func (r *rig) empty() {
	r.t.Helper()
	time.Sleep(5 * time.Second) // acknowledgements are not waited for by anyone
	for _, kind := range []string{wire.StreamJobs, wire.StreamSched, wire.StreamWork} {
		s, err := r.js.Stream(r.t.Context(), r.subj.Stream(kind))
		if err != nil {
			r.t.Fatal(err)
		}
		if n := s.CachedInfo().State.Msgs - topology.Kept(kind); n != 0 {
			r.t.Errorf("stream %s holds %d messages, want none", kind, n)
		}
	}
}

// near checks a fake time to a tolerance.
func near(t *testing.T, what string, got, want, tolerance time.Duration) {
	t.Helper()
	if got < want || got > want+tolerance {
		t.Errorf("%s after %s, want %s (+%s)", what, got, want, tolerance)
	}
}

// nano formats a cost that may be unknown.
func nano(c *wire.NanoUSD) string {
	if c == nil {
		return "unknown"
	}
	return fmt.Sprint(int64(*c))
}

// queues describes the queues' consumers, for a test that fails.
func (r *rig) queues() string {
	out := ""
	for _, kind := range []string{wire.StreamJobs, wire.StreamSched, wire.StreamWork} {
		s, err := r.js.Stream(r.t.Context(), r.subj.Stream(kind))
		if err != nil {
			return err.Error()
		}
		out += fmt.Sprintf("\n%s: %d messages", kind, s.CachedInfo().State.Msgs)
		for c := range s.ListConsumers(r.t.Context()).Info() {
			out += fmt.Sprintf("\n  %s: delivered %d, ack floor %d, ack pending %d, redelivered %d, pending %d, waiting %d", c.Name,
				c.Delivered.Stream, c.AckFloor.Stream, c.NumAckPending, c.NumRedelivered, c.NumPending, c.NumWaiting)
		}
	}
	return out
}
