package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/broker/control"
	"github.com/sluicehq/sluice/broker/natsd"
	"github.com/sluicehq/sluice/broker/natsd/natstest"
	"github.com/sluicehq/sluice/broker/topology"
	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
)

func TestMain(m *testing.M) { natstest.Main(m) }

// script plays the broker's part for one job.
type script func(b *broker, job wire.Job)

// broker is a real NATS server with Sluice's streams, and a scripted broker.
type broker struct {
	t    testing.TB
	nc   *nats.Conn // the broker's own
	gw   *nats.Conn // the gateway's
	js   jetstream.JetStream
	led  *ledger.Ledger
	sub  wire.Subjects
	log  lockedBuffer
	done chan struct{} // closed at the end: scripts that wait must end

	mu        sync.Mutex
	play      script
	jobs      map[string]wire.Job
	order     []string
	cancelled map[string]bool
	admin     func(op string, data []byte) any
	closers   []func()
}

// newBroker starts the server and the scripted broker. What it starts ends
// with the test, or in stop.
func newBroker(t testing.TB, dir string, play script) *broker {
	t.Helper()
	srv, err := natsd.Start(natsd.Config{DataDir: dir, Sync: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	b := &broker{t: t, play: play, jobs: map[string]wire.Job{}, cancelled: map[string]bool{}, done: make(chan struct{})}
	b.later(srv.Stop)
	b.nc, b.gw = b.dial(srv), b.dial(srv)
	if b.js, err = jetstream.New(b.nc); err != nil {
		t.Fatal(err)
	}
	if err := topology.Ensure(t.Context(), b.js, topology.Config{Subjects: b.sub}); err != nil {
		t.Fatal(err)
	}
	b.led = ledger.New(b.js, b.sub)
	b.serve()
	t.Cleanup(b.stop)
	return b
}

func (b *broker) dial(srv *natsd.Server) *nats.Conn {
	b.t.Helper()
	nc, err := srv.Connect("test")
	if err != nil {
		b.t.Fatal(err)
	}
	b.later(nc.Close)
	return nc
}

// later runs f at the end, last come first.
func (b *broker) later(f func()) { b.closers = append(b.closers, f) }

// stop ends everything; again, it does nothing.
func (b *broker) stop() {
	closers := b.closers
	b.closers = nil
	for i := len(closers) - 1; i >= 0; i-- {
		closers[i]()
	}
}

func (b *broker) serve() {
	b.t.Helper()
	cons, err := b.js.CreateOrUpdateConsumer(b.t.Context(), b.sub.Stream(wire.StreamJobs),
		jetstream.ConsumerConfig{Durable: "broker", AckPolicy: jetstream.AckExplicitPolicy, MaxAckPending: -1, FilterSubjects: b.jobSubjects()})
	if err != nil {
		b.t.Fatal(err)
	}
	var running sync.WaitGroup
	cc, err := cons.Consume(func(m jetstream.Msg) {
		if job, play, first := b.receive(m); first {
			running.Go(func() { play(b, job) })
		}
	})
	if err != nil {
		b.t.Fatal(err)
	}
	for _, filter := range []string{b.sub.Status("*", "*"), b.sub.Cancel("*", "*"), b.sub.Admin(">")} {
		if _, err := b.nc.Subscribe(filter, b.control); err != nil {
			b.t.Fatal(err)
		}
	}
	if _, err := b.nc.Subscribe(b.sub.Replay("*", "*"), func(m *nats.Msg) { _ = control.Replay(context.Background(), b.nc, b.sub, m) }); err != nil {
		b.t.Fatal(err)
	}
	b.later(func() { close(b.done); cc.Stop(); <-cc.Closed(); running.Wait() })
}

// receive takes a submission; first is false for a repeated one.
func (b *broker) receive(m jetstream.Msg) (job wire.Job, play script, first bool) {
	meta, err := m.Metadata()
	if err != nil {
		b.t.Error(err)
		return job, nil, false
	}
	tenant, class, _ := b.sub.SplitJobs(m.Subject())
	job, bad := wire.ParseJob(tenant, class, m.Headers(), m.Data(), meta.Sequence.Stream, meta.Timestamp)
	if bad != nil {
		b.t.Errorf("the gateway let a bad job through: %v", bad)
	}
	_ = m.Ack()
	b.mu.Lock()
	defer b.mu.Unlock()
	_, twice := b.jobs[job.ID]
	if !twice {
		b.jobs[job.ID] = job
		b.order = append(b.order, job.ID)
	}
	return job, b.play, !twice
}

// control answers status, cancel and admin requests.
func (b *broker) control(m *nats.Msg) {
	if op, ok := strings.CutPrefix(m.Subject, b.sub.Admin("")); ok {
		var told any = map[string]any{}
		if b.admin != nil {
			told = b.admin(op, m.Data)
		}
		data, _ := json.Marshal(told)
		_ = m.Respond(data)
		return
	}
	tenant, id, _ := b.sub.SplitTenantJob(m.Subject)
	a := &wire.Answer{Job: id, Tenant: tenant, Status: wire.Queued}
	job, known := b.job(id)
	if known = known && job.Tenant == tenant; known {
		a.Route, a.Queued = job.Route, time.Unix(0, job.SubmittedAt).UTC().Format(time.RFC3339Nano)
	}
	last, err := b.led.Last(context.Background(), tenant, id)
	if err != nil {
		return
	}
	if last != nil {
		a = ledger.Describe(tenant, id, []*ledger.Stored{last})
	}
	switch cancel := m.Subject == b.sub.Cancel(tenant, id); {
	case !known:
		a.Error = &wire.AnswerError{Code: wire.CodeNotFound, Message: "no such job"}
	case cancel && a.Status.Terminal():
		a.Error = &wire.AnswerError{Code: wire.CodeFinished, Message: "the job has ended"}
	case cancel:
		b.mu.Lock()
		b.cancelled[id] = true
		b.mu.Unlock()
		b.end(job, wire.Cancelled, nil, wire.Errorf(wire.CodeCancelled, "", "cancelled on request"))
		a.Status = wire.Cancelled
	}
	data, _ := json.Marshal(a)
	_ = m.Respond(data)
}

func (b *broker) job(id string) (wire.Job, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	j, ok := b.jobs[id]
	return j, ok
}

// newest is the job that was submitted last.
func (b *broker) newest() wire.Job {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.order) == 0 {
		b.t.Fatal("no job was submitted")
	}
	return b.jobs[b.order[len(b.order)-1]]
}

// count is how many jobs were submitted.
func (b *broker) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.order)
}

func (b *broker) wasCancelled(id string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.cancelled[id]
}

// record appends a record after whatever stands, unless the job has ended.
func (b *broker) record(job wire.Job, r wire.Record) {
	r.Entry.Meta = job.Meta
	for {
		last, err := b.led.Last(context.Background(), job.Tenant, job.ID)
		expect := uint64(0)
		if last != nil {
			expect = last.Seq
			if last.Status.Terminal() {
				return
			}
		}
		if err == nil {
			_, err = b.led.Append(context.Background(), &r, expect)
		}
		if c := new(ledger.Conflict); errors.As(err, &c) {
			continue // a cancellation and a script of the same job
		}
		if err != nil && !b.nc.IsClosed() {
			b.t.Error(err)
		}
		return
	}
}

// claim stores that attempt n has started.
func (b *broker) claim(job wire.Job, n int) {
	b.record(job, wire.Record{Status: wire.Running, Entry: wire.Entry{
		Progress: wire.Progress{Attempts: n - 1}, Attempt: &wire.Attempt{N: n, Pool: "p1", Provider: "simulated", Model: "m1"},
	}})
}

// ended is an attempt that is over and cost 7 nano-dollars.
func ended(n int, status wire.Status, code wire.Code, http int) *wire.Attempt {
	cost := wire.NanoUSD(7)
	return &wire.Attempt{
		N: n, Pool: "p1", Provider: "simulated", Model: "m1", Status: status, ErrorCode: code, HTTP: http,
		Usage: wire.Usage{Input: 3, Output: 5}, Source: wire.UsageFromProvider, Cost: &cost,
	}
}

// end stores a terminal record without an answer.
func (b *broker) end(job wire.Job, status wire.Status, a *wire.Attempt, e *wire.Error) {
	var p wire.Progress
	if a != nil {
		p.Add(a)
	}
	b.record(job, wire.Record{Status: status, Body: e.Body(), Entry: wire.Entry{Progress: p, Attempt: a, Error: e.Code}})
}

// succeed stores the answer.
func (b *broker) succeed(job wire.Job, n int, body string) {
	a := ended(n, wire.Succeeded, "", 200)
	var p wire.Progress
	p.Add(a)
	b.record(job, wire.Record{Status: wire.Succeeded, Body: []byte(body), Entry: wire.Entry{Progress: p, Attempt: a}})
}

// retry stores that attempt n failed and another will follow.
func (b *broker) retry(job wire.Job, n int) {
	b.record(job, wire.Record{Status: wire.Waiting, Reason: wire.ReasonRetry, Entry: wire.Entry{
		Progress: wire.Progress{Attempts: n, Spent: 7}, Attempt: ended(n, wire.Failed, wire.CodeProviderError, 500),
	}})
}

// chunks publishes an attempt's chunks as a worker does; last says that the
// final one is the attempt's end.
func (b *broker) chunks(job wire.Job, attempt, from int, last bool, data ...string) {
	for n := 1; len(data) > 0; from, data = from+n, data[n:] {
		if n = 1; job.Pack {
			n = min(len(data), 3)
		}
		var events [][]byte
		for _, d := range data[:n] {
			events = append(events, []byte(d))
		}
		body, sizes := wire.PackEvents(events)
		h := nats.Header{wire.HeaderAttempt: {strconv.Itoa(attempt)}, wire.HeaderIndex: {strconv.Itoa(from)}}
		if sizes != "" {
			h.Set(wire.HeaderSizes, sizes)
		}
		if last && n == len(data) {
			h.Set(wire.HeaderEnd, "true")
		}
		m := &nats.Msg{Subject: b.sub.Chunks(job.Tenant, job.ID), Header: h, Data: body}
		if err := b.nc.PublishMsg(m); err != nil && !b.nc.IsClosed() {
			b.t.Error(err)
		}
	}
}

// answer is the script of a job that succeeds at once.
func answer(body string, chunks ...string) script {
	return func(b *broker, job wire.Job) {
		b.claim(job, 1)
		if job.Stream {
			b.chunks(job, 1, 0, true, chunks...)
		}
		b.succeed(job, 1, body)
	}
}

// fail is the script of a job that fails at its first attempt.
func fail(e *wire.Error, http int) script {
	return func(b *broker, job wire.Job) {
		b.claim(job, 1)
		b.end(job, wire.Failed, ended(1, wire.Failed, e.Code, http), e)
	}
}

// hang is the script of a job that does not end by itself.
func hang(b *broker, job wire.Job) { b.claim(job, 1) }

const (
	chatBody   = `{"model":"chat","messages":[{"role":"user","content":"hi"}]}`
	streamBody = `{"model":"chat","stream":true,"messages":[{"role":"user","content":"hi"}]}`
)

// completion is a chat answer.
func completion(text string) string {
	return fmt.Sprintf(`{"id":"c1","object":"chat.completion","created":1,"model":"m1","choices":[{"index":0,"message":{"role":"assistant","content":%q},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":5,"total_tokens":8}}`, text)
}

// delta is a chunk of a streamed chat answer, as OpenAI sends it.
func delta(text string) string {
	return fmt.Sprintf(`{"id":"c1","object":"chat.completion.chunk","created":1,"model":"m1","choices":[{"index":0,"delta":{"content":%q},"finish_reason":null}],"usage":null}`, text)
}

const (
	opening = `{"id":"c1","object":"chat.completion.chunk","created":1,"model":"m1","choices":[{"index":0,"delta":{"role":"assistant","content":"","refusal":null},"finish_reason":null}],"usage":null}`
	closing = `{"id":"c1","object":"chat.completion.chunk","created":1,"model":"m1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":null}`
	counted = `{"id":"c1","object":"chat.completion.chunk","created":1,"model":"m1","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":5,"total_tokens":8}}`
	doneSSE = "[DONE]"
)

// sse frames events without a name.
func sse(data ...string) string {
	var b strings.Builder
	for _, d := range data {
		b.WriteString("data: " + d + "\n\n")
	}
	return b.String()
}

// jobSubjects are where jobs are submitted: the stream also holds a message
// that nobody takes.
func (b *broker) jobSubjects() []string {
	var out []string
	for _, c := range wire.Classes() {
		out = append(out, b.sub.Jobs("*", c))
	}
	return out
}
