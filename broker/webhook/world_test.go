package webhook

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/broker/natsd"
	"github.com/sluicehq/sluice/broker/natsd/natstest"
	"github.com/sluicehq/sluice/broker/topology"
	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
)

func TestMain(m *testing.M) { natstest.Main(m) }

// call is a delivery as an endpoint gets it.
type call struct {
	at   time.Time
	url  string
	head http.Header
	body string
}

// world is a real server with a ledger, under fake time, and the endpoints
// that jobs name.
type world struct {
	t    *testing.T
	dir  string
	srv  *natsd.Server
	js   jetstream.JetStream
	led  *ledger.Ledger
	sub  wire.Subjects
	log  bytes.Buffer
	stop func() // the service

	mu     sync.Mutex
	calls  []call
	answer func(n int, r *http.Request) (int, error) // to the nth call, from 1
}

// RoundTrip is all endpoints.
func (w *world) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	w.calls = append(w.calls, call{time.Now(), r.URL.String(), r.Header, string(body)})
	n := len(w.calls)
	w.mu.Unlock()
	status, err := w.answer(n, r)
	if err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader("thanks")), Header: http.Header{}, Request: r}, nil
}

func (w *world) seen() []call {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]call(nil), w.calls...)
}

func inWorld(t *testing.T, test func(*world)) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, dir: dir, answer: func(int, *http.Request) (int, error) { return 204, nil }}
		w.open()
		test(w)
		w.close()
	})
}

// open starts the server and the service.
func (w *world) open() {
	w.t.Helper()
	srv, err := natsd.Start(natsd.Config{DataDir: w.dir, Sync: time.Hour})
	if err != nil {
		w.t.Fatal(err)
	}
	nc, err := srv.Connect("test")
	if err != nil {
		w.t.Fatal(err)
	}
	if w.js, err = jetstream.New(nc); err != nil {
		w.t.Fatal(err)
	}
	w.srv = srv
	if err := topology.Ensure(w.t.Context(), w.js, topology.Config{Subjects: w.sub}); err != nil {
		w.t.Fatal(err)
	}
	w.led = ledger.New(w.js, w.sub)
	w.run()
}

func (w *world) service() *Service {
	return New(Config{JS: w.js, Subjects: w.sub, Secret: "master", Transport: w, PerHost: 2, RetryFor: 10 * time.Minute,
		Logger: slog.New(slog.NewTextHandler(&w.log, nil))})
}

// run starts a service and waits until it listens.
func (w *world) run() {
	ctx, cancel := context.WithCancel(w.t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := w.service().Run(ctx); err != nil {
			w.t.Error(err)
		}
	})
	w.stop = func() { cancel(); running.Wait() }
	time.Sleep(time.Second) // fake
}

func (w *world) close() {
	w.stop()
	w.js.Conn().Close()
	w.srv.Stop()
}

// end stores a job's terminal record.
func (w *world) end(tenant, job, url string, status wire.Status, body string) {
	w.t.Helper()
	rec := wire.Record{Status: status, Body: []byte(body), Entry: wire.Entry{
		Meta:     wire.Meta{ID: job, Tenant: tenant, Class: wire.Standard, Endpoint: wire.ChatCompletions, Route: "chat", Webhook: url, Labels: map[string]string{"team": "x"}},
		Progress: wire.Progress{Attempts: 1, Spent: 7},
	}}
	if status != wire.Succeeded {
		rec.Entry.Error = wire.CodeProviderError
	}
	if _, err := w.led.Append(w.t.Context(), &rec, 0); err != nil {
		w.t.Fatal(err)
	}
}

// deliveries are the lines of the log, oldest first.
func (w *world) deliveries(tenant, job string) []Delivery {
	w.t.Helper()
	list, err := w.service().Deliveries(w.t.Context(), tenant, job, 1000)
	if err != nil {
		w.t.Fatal(err)
	}
	for i, j := 0, len(list)-1; i < j; i, j = i+1, j-1 {
		list[i], list[j] = list[j], list[i]
	}
	return list
}

func at(t *testing.T, s string) time.Time {
	t.Helper()
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return time.Unix(n, 0)
}
