package sdk

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats-server/v2/server/ats"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/sdk/wire"
)

func TestMain(m *testing.M) {
	ats.Register() // outside any bubble, or fake time stands still
	os.Exit(m.Run())
}

// testBroker is a real NATS server with Sluice's streams and a scripted
// broker on it.
type testBroker struct {
	t    testing.TB
	srv  *server.Server
	opts *server.Options
	nc   *nats.Conn
	js   jetstream.JetStream
	sub  wire.Subjects
	stop func()

	republishes bool // the ledger re-publishes what it has stored, as broker/topology makes it; otherwise records are heard as they are published

	mu      sync.Mutex
	jobs    map[string]wire.Job // by ID, as ParseJob read them
	script  func(b *testBroker, job wire.Job)
	replays int           // requests for a replay so far
	before  func(n int)   // called ahead of the nth
	tear    func(int) int // how many messages of the nth are lost
}

// serverOptions are those of an embedded server without a listener.
func serverOptions(t testing.TB) *server.Options {
	return &server.Options{
		ServerName: "test", DontListen: true, JetStream: true, StoreDir: t.TempDir(),
		NoSigs: true, NoLog: true, MaxPayload: wire.MaxPayload, SyncInterval: time.Second,
	}
}

// listening makes the server listen on loopback, on a port that it chooses
// the first time.
func listening(o *server.Options) *server.Options {
	o.DontListen, o.Host, o.Port = false, "127.0.0.1", server.RANDOM_PORT
	return o
}

// newServer starts a server with Sluice's streams, and no broker.
func newServer(t testing.TB, opts *server.Options) *testBroker {
	t.Helper()
	srv, err := server.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	t.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
	if !srv.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server does not start")
	}
	b := &testBroker{t: t, srv: srv, opts: opts, jobs: make(map[string]wire.Job), script: answer("hello")}
	user := nats.UserInfo("broker", "secret")
	if b.nc, err = nats.Connect("", nats.InProcessServer(srv), user, nats.MaxReconnects(-1)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.nc.Close)
	if b.js, err = jetstream.New(b.nc); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *testBroker) streams() {
	b.t.Helper()
	ledger := jetstream.StreamConfig{Name: b.sub.Stream(wire.StreamLedger), Subjects: []string{b.sub.Records("*", "*")}, AllowDirect: true}
	if b.republishes {
		ledger.Subjects = []string{b.sub.Ledger("*", "*")}
		ledger.SubjectTransform = &jetstream.SubjectTransformConfig{Source: b.sub.Ledger("*", "*"), Destination: b.sub.Records("$1", "$2")}
		ledger.RePublish = &jetstream.RePublish{Source: b.sub.Records("*", "*"), Destination: b.sub.Records("$1", "$2")}
	}
	for _, cfg := range []jetstream.StreamConfig{ledger,
		{Name: b.sub.Stream(wire.StreamJobs), Subjects: []string{b.sub.Jobs("*", "*")}, Retention: jetstream.WorkQueuePolicy, Discard: jetstream.DiscardNew},
		{Name: b.sub.Stream(wire.StreamChunks), Subjects: []string{b.sub.Chunks("*", "*")}, Storage: jetstream.MemoryStorage, MaxAge: 10 * time.Minute},
	} {
		if _, err := b.js.CreateOrUpdateStream(b.t.Context(), cfg); err != nil {
			b.t.Fatal(err)
		}
	}
}

// newBroker starts a server with streams and the scripted broker.
func newBroker(t testing.TB) *testBroker {
	t.Helper()
	b := newServer(t, serverOptions(t))
	b.streams()
	b.serve()
	return b
}

// serve consumes jobs and answers status and cancel, until the test ends.
func (b *testBroker) serve() {
	b.t.Helper()
	cons, err := b.js.CreateOrUpdateConsumer(b.t.Context(), b.sub.Stream(wire.StreamJobs),
		jetstream.ConsumerConfig{Durable: "broker", AckPolicy: jetstream.AckExplicitPolicy, MaxAckPending: -1})
	if err != nil {
		b.t.Fatal(err)
	}
	var running sync.WaitGroup
	cc, err := cons.Consume(func(m jetstream.Msg) {
		meta, err := m.Metadata()
		if err != nil {
			b.t.Error(err)
			return
		}
		tenant, class, _ := b.sub.SplitJobs(m.Subject())
		job, bad := wire.ParseJob(tenant, class, m.Headers(), m.Data(), meta.Sequence.Stream, meta.Timestamp)
		if bad != nil {
			b.t.Errorf("the SDK let a bad job through: %v", bad)
		}
		_ = m.Ack()
		b.mu.Lock()
		_, twice := b.jobs[job.ID]
		b.jobs[job.ID] = job
		script := b.script
		b.mu.Unlock()
		if !twice {
			running.Go(func() { script(b, job) })
		}
	})
	if err != nil {
		b.t.Fatal(err)
	}
	for _, filter := range []string{b.sub.Status("*", "*"), b.sub.Cancel("*", "*")} {
		if _, err := b.nc.Subscribe(filter, b.control); err != nil {
			b.t.Fatal(err)
		}
	}
	b.serveReplays()
	b.stop = func() { cc.Stop(); <-cc.Closed(); running.Wait() }
	b.t.Cleanup(b.stop)
}

// control answers a status or cancel request from the ledger.
func (b *testBroker) control(m *nats.Msg) {
	tenant, id, _ := b.sub.SplitTenantJob(m.Subject)
	a := wire.Answer{Job: id, Tenant: tenant, Status: wire.Queued}
	job, known := b.job(id)
	last, found := b.last(tenant, id)
	switch cancel := m.Subject == b.sub.Cancel(tenant, id); {
	case !known && !found:
		a.Error = &wire.AnswerError{Code: wire.CodeNotFound, Message: "no such job"}
	case found && last.Status.Terminal() && cancel:
		a.Error = &wire.AnswerError{Code: wire.CodeFinished, Message: "the job has ended"}
	case cancel:
		a.Status = wire.Cancelled
		b.end(job, wire.Cancelled, nil, wire.CodeCancelled, wire.Errorf(wire.CodeCancelled, "", "cancelled on request").Body())
	case found:
		a.Status, a.Attempts = last.Status, last.Entry.Progress.Attempts
	}
	data, _ := json.Marshal(a)
	_ = m.Respond(data)
}

// serveReplays answers replay requests, as long as the connection lives.
func (b *testBroker) serveReplays() {
	b.t.Helper()
	if _, err := b.nc.Subscribe(b.sub.Replay("*", "*"), b.replay); err != nil {
		b.t.Fatal(err)
	}
}

// replayMost is small, so that a test reads several answers.
const replayMost = 100

// replay is the broker's, read message by message.
func (b *testBroker) replay(m *nats.Msg) {
	var req wire.ReplayRequest
	if err := json.Unmarshal(m.Data, &req); err != nil {
		b.t.Error(err)
	}
	b.mu.Lock()
	b.replays++
	n, before, tear := b.replays, b.before, b.tear
	b.mu.Unlock()
	if before != nil {
		before(n)
	}
	lost := 0
	if tear != nil {
		lost = tear(n)
	}
	tenant, id, _ := b.sub.SplitTenantJob(m.Subject)
	kind, subject := wire.StreamChunks, b.sub.Chunks(tenant, id)
	if req.Of == wire.ReplayRecords {
		kind, subject = wire.StreamLedger, b.sub.Records(tenant, id)
	}
	end := wire.ReplayEnd{Seq: req.After}
	stream, err := b.js.Stream(context.Background(), b.sub.Stream(kind))
	if err != nil {
		end.Error = &wire.AnswerError{Code: wire.CodeUnavailable, Message: err.Error()}
	}
	for err == nil && !end.More {
		var s *jetstream.RawStreamMsg
		if s, err = stream.GetMsg(context.Background(), end.Seq+1, jetstream.WithGetMsgSubject(subject)); err != nil {
			break
		}
		end.Seq = s.Sequence
		if c, ok := parseChunks(s.Header, s.Data); ok && req.Of == "" && (c.Attempt < req.Attempt || c.Attempt == req.Attempt && c.Index+len(c.events) <= req.Index) {
			continue
		}
		if end.Messages++; end.Messages > lost {
			_ = b.nc.PublishMsg(&nats.Msg{Subject: m.Reply, Header: s.Header, Data: s.Data})
		}
		end.More = end.Messages == replayMost
	}
	data, _ := json.Marshal(end)
	_ = b.nc.PublishMsg(&nats.Msg{Subject: m.Reply, Header: nats.Header{wire.HeaderMore: {strconv.FormatBool(end.More)}}, Data: data})
}

// asked is how many replays were asked for.
func (b *testBroker) asked() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.replays
}

func (b *testBroker) job(id string) (wire.Job, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	j, ok := b.jobs[id]
	return j, ok
}

func (b *testBroker) play(script func(b *testBroker, job wire.Job)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.script = script
}

func (b *testBroker) last(tenant, id string) (wire.Record, bool) {
	stream, err := b.js.Stream(context.Background(), b.sub.Stream(wire.StreamLedger))
	if err != nil {
		return wire.Record{}, false
	}
	m, err := stream.GetLastMsgForSubject(context.Background(), b.sub.Records(tenant, id))
	if err != nil {
		return wire.Record{}, false
	}
	r, err := wire.DecodeRecord(m.Header, m.Data)
	return r, err == nil
}

// record stores a record, or publishes it with a condition that fails.
func (b *testBroker) record(job wire.Job, r wire.Record, opts ...jetstream.PublishOpt) {
	r.Entry.Meta = job.Meta
	h, subject := r.Encode(), b.sub.Records(job.Tenant, job.ID)
	if b.republishes {
		subject = b.sub.Ledger(job.Tenant, job.ID)
	}
	_, err := b.js.PublishMsg(context.Background(), &nats.Msg{Subject: subject, Header: h, Data: r.Body}, opts...)
	if err != nil && len(opts) == 0 && !b.nc.IsClosed() {
		b.t.Error(err)
	}
}

// claim stores the record that attempt n has started.
func (b *testBroker) claim(job wire.Job, n int) {
	b.record(job, wire.Record{Status: wire.Running, Entry: wire.Entry{
		Progress: wire.Progress{Attempts: n - 1}, Attempt: &wire.Attempt{N: n, Pool: "p1", Provider: "simulated", Model: "m1"},
	}})
}

// ended is an attempt that is over, with a cost of 7 nano-dollars.
func ended(n int, status wire.Status, code wire.Code) *wire.Attempt {
	cost := wire.NanoUSD(7)
	return &wire.Attempt{
		N: n, Pool: "p1", Provider: "simulated", Model: "m1", Status: status, ErrorCode: code,
		Usage: wire.Usage{Input: 3, Output: 5}, Source: wire.UsageFromProvider, Cost: &cost,
	}
}

// end stores the terminal record.
func (b *testBroker) end(job wire.Job, status wire.Status, a *wire.Attempt, code wire.Code, body []byte) {
	var p wire.Progress
	if a != nil {
		for n := 1; n < a.N; n++ {
			p.Add(ended(n, wire.Failed, wire.CodeProviderError))
		}
		p.Add(a)
	}
	b.record(job, wire.Record{Status: status, Body: body, Entry: wire.Entry{Progress: p, Attempt: a, Error: code}})
}

// retry stores the record that attempt n failed and another will follow.
func (b *testBroker) retry(job wire.Job, n int) {
	a := ended(n, wire.Failed, wire.CodeProviderError)
	b.record(job, wire.Record{Status: wire.Waiting, Reason: wire.ReasonRetry, Entry: wire.Entry{Progress: wire.Progress{Attempts: n, Spent: 7}, Attempt: a}})
}

// chunk publishes one chunk as a worker does, without acknowledgement.
func (b *testBroker) chunk(job wire.Job, attempt, index int, text string, end bool) {
	b.packed(job, attempt, index, end, text)
}

// packed publishes several chunks in one message.
func (b *testBroker) packed(job wire.Job, attempt, index int, end bool, texts ...string) {
	m := message(attempt, index, end, texts...)
	m.Subject = b.sub.Chunks(job.Tenant, job.ID)
	if err := b.nc.PublishMsg(m); err != nil && !b.nc.IsClosed() {
		b.t.Error(err)
	}
}

// message is a message of a job's chunks.
func message(attempt, index int, end bool, texts ...string) *nats.Msg {
	var events [][]byte
	for _, text := range texts {
		events = append(events, fmt.Appendf(nil, `{"choices":[{"index":0,"delta":{"content":%q}}]}`, text))
	}
	m := &nats.Msg{Header: nats.Header{wire.HeaderAttempt: {strconv.Itoa(attempt)}, wire.HeaderIndex: {strconv.Itoa(index)}}}
	var sizes string
	if m.Data, sizes = wire.PackEvents(events); sizes != "" {
		m.Header.Set(wire.HeaderSizes, sizes)
	}
	if end {
		m.Header.Set(wire.HeaderEnd, "true")
	}
	return m
}

// completion is a chat answer.
func completion(text string) []byte {
	return fmt.Appendf(nil, `{"object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":%q}}]}`, text)
}

// answer is the script of a job that succeeds at once; a streaming one has a
// chunk per byte of text.
func answer(text string) func(b *testBroker, job wire.Job) {
	return func(b *testBroker, job wire.Job) {
		b.claim(job, 1)
		if job.Stream {
			for i := range len(text) {
				b.chunk(job, 1, i, text[i:i+1], i == len(text)-1)
			}
		}
		b.end(job, wire.Succeeded, ended(1, wire.Succeeded, ""), "", completion(text))
	}
}

// dial connects a client to the broker in process, as tenant acme.
func (b *testBroker) dial(opts ...Option) *Client {
	b.t.Helper()
	opts = append([]Option{WithTenant("acme"), WithNATS(nats.InProcessServer(b.srv))}, opts...)
	c, err := Dial(b.t.Context(), "", opts...)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(c.Close)
	return c
}

// ask is a job that asks the route chat.
func ask() Job { return Job{Request: Prompt("chat", "hi")} }

// stream is the state of one of Sluice's streams.
func (b *testBroker) stream(kind string) *jetstream.StreamInfo {
	b.t.Helper()
	s, err := b.js.Stream(b.t.Context(), b.sub.Stream(kind))
	if err != nil {
		b.t.Fatal(err)
	}
	return s.CachedInfo()
}
