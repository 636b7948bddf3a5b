package alert

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/analytics/store"
	"github.com/sluicehq/sluice/sdk/wire"
)

// world is a real nats-server under fake time, with the stream of webhooks, and
// tables of which a test says what is in them.
type world struct {
	t   *testing.T
	srv *server.Server
	js  jetstream.JetStream
	sub wire.Subjects

	mu     sync.Mutex
	failed uint64 // of a pool's 1,000 attempts
	down   bool
	looks  int
	events []Event
}

// Cost is 1,000 attempts at one pool.
func (w *world) Cost(context.Context, store.CostQuery) ([]store.CostRow, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.looks++
	if w.down {
		return nil, errors.New("ClickHouse is away")
	}
	return []store.CostRow{{Keys: []string{"p"}, Attempts: 1000, Failed: w.failed}}, nil
}

func (w *world) LatencySlices(context.Context, time.Time, time.Time, time.Duration, float64) ([]store.Slice, error) {
	return nil, nil
}

func (w *world) CostSlices(context.Context, time.Time, time.Time, time.Duration) ([]store.Slice, error) {
	return nil, nil
}

func (w *world) Turns(context.Context, time.Time, time.Time, []string) ([]store.Turn, error) {
	return nil, nil
}

func (w *world) Unpriced(context.Context, time.Time) ([]store.Unpriced, error) { return nil, nil }

func (w *world) set(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

// told are the types of the events so far.
func (w *world) told() (out []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.events {
		out = append(out, e.Type)
	}
	return out
}

func (w *world) connect() jetstream.JetStream {
	w.t.Helper()
	nc, err := nats.Connect("", nats.InProcessServer(w.srv))
	must(w.t, err)
	w.t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	must(w.t, err)
	return js
}

func inWorld(t *testing.T, test func(*world)) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t}
		srv, err := server.NewServer(&server.Options{JetStream: true, StoreDir: dir, DontListen: true, NoSigs: true, NoLog: true})
		must(t, err)
		srv.Start()
		if !srv.ReadyForConnections(10 * time.Second) {
			t.Fatal("nats-server is not ready")
		}
		t.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
		w.srv = srv
		w.js = w.connect()
		_, err = w.js.Conn().Subscribe(w.sub.AlertEvents("*"), func(m *nats.Msg) {
			var e Event
			if err := json.Unmarshal(m.Data, &e); err != nil {
				t.Errorf("%s: %v", m.Data, err)
			}
			w.set(func() { w.events = append(w.events, e) })
		})
		must(t, err)
		test(w)
	})
}

// start runs a watcher of a process until stop is called.
func (w *world) start(instance string, r Rules) (x *Watcher, stop func()) {
	x = New(Config{JS: w.connect(), Subjects: w.sub, Store: w, Instance: instance, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))}, r)
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan error, 1)
	go func() { done <- x.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Error(err)
		}
	})
	w.t.Cleanup(stop) // a test that fails stops it too
	return x, stop
}

func (w *world) webhooks() {
	_, err := w.js.CreateStream(w.t.Context(), jetstream.StreamConfig{Name: w.sub.Stream(wire.StreamWebhooks), Subjects: []string{w.sub.Webhook("*", "*")}})
	must(w.t, err)
}

func (w *world) deliveries() uint64 {
	w.t.Helper()
	s, err := w.js.Stream(w.t.Context(), w.sub.Stream(wire.StreamWebhooks))
	must(w.t, err)
	info, err := s.Info(w.t.Context())
	must(w.t, err)
	return info.State.Msgs
}

func want(t *testing.T, what string, got []string, words ...string) {
	t.Helper()
	if !slices.Equal(got, words) {
		t.Errorf("%s: told %v, want %v", what, got, words)
	}
}

// Of two processes one looks; what it has raised is told once, and the other
// carries on where it was.
func TestOneLooks(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		r := rules()
		r.ErrorRate, r.Every = 0.1, time.Minute
		_, stopA := w.start("a", r)
		time.Sleep(time.Second)
		_, stopB := w.start("b", r)
		time.Sleep(10*time.Minute + time.Second)
		w.set(func() {
			if w.looks != 10 {
				t.Errorf("%d looks in ten minutes", w.looks)
			}
			w.failed = 500
		})
		time.Sleep(time.Minute)
		want(t, "after one bad look", w.told())
		time.Sleep(time.Minute)
		want(t, "after two", w.told(), "alert.raised")
		stopA()
		time.Sleep(10 * time.Minute)
		want(t, "the other knows", w.told(), "alert.raised")
		list, err := List(t.Context(), w.js, w.sub)
		must(t, err)
		if len(list) != 1 || !list[0].Raised || list[0].Value != 0.5 || list[0].Subject["pool"] != "p" || time.Since(list[0].At) > 2*time.Minute || time.Since(list[0].Since) < 9*time.Minute {
			t.Errorf("got %+v", list)
		}
		w.set(func() { w.failed = 0 })
		time.Sleep(6 * time.Minute)
		want(t, "and clears it", w.told(), "alert.raised", "alert.cleared")
		if list, err = List(t.Context(), w.js, w.sub); err != nil || len(list) != 1 || list[0].Raised {
			t.Errorf("got %+v, %v", list, err)
		}
		w.set(func() { w.failed = 500 })
		time.Sleep(3 * time.Minute)
		want(t, "and raises it again", w.told(), "alert.raised", "alert.cleared", "alert.raised")
		stopB()
	})
}

// A ClickHouse that is away changes nothing; rules that change count from the
// next look on.
func TestStaysAsItWas(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		r := rules()
		w.failed = 500
		x, stop := w.start("a", r)
		time.Sleep(3 * time.Minute)
		want(t, "bad", w.told(), "alert.raised")
		w.set(func() { w.down = true })
		time.Sleep(time.Hour)
		want(t, "away", w.told(), "alert.raised")
		off := r
		off.Every = 0
		x.Set(off)
		time.Sleep(2 * time.Minute)
		w.set(func() { w.down, w.failed, w.looks = false, 0, 0 })
		time.Sleep(time.Hour)
		w.set(func() {
			if w.looks > 0 {
				t.Errorf("%d looks while turned off", w.looks)
			}
		})
		x.Set(r)
		time.Sleep(6 * time.Minute)
		want(t, "back", w.told(), "alert.raised", "alert.cleared")
		stop()
	})
}

// Each webhook is stored once for each change, under an ID that stays, and one
// that cannot be stored is at the next look (I2).
func TestWebhooksAreStored(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		r := rules()
		r.Webhooks = []string{"https://a.example/x", "https://b.example/y"}
		w.failed = 500
		_, stop := w.start("a", r)
		time.Sleep(4 * time.Minute) // there is no stream yet: told in vain, and again
		w.webhooks()
		time.Sleep(2 * time.Minute)
		if n := w.deliveries(); n != 2 {
			t.Fatalf("%d deliveries", n)
		}
		time.Sleep(30 * time.Minute)
		if n := w.deliveries(); n != 2 {
			t.Errorf("%d deliveries later", n)
		}
		s, err := w.js.Stream(t.Context(), w.sub.Stream(wire.StreamWebhooks))
		must(t, err)
		m, err := s.GetMsg(t.Context(), 2)
		must(t, err)
		tenant, name, ok := w.sub.SplitTenantJob(m.Subject)
		var e Event
		must(t, json.Unmarshal(m.Data, &e))
		if !ok || tenant != wire.AlertsTenant || wire.ValidName(tenant) || name != m.Header.Get(wire.HeaderMsgID) || m.Header.Get(wire.HeaderWebhook) != "https://b.example/y" ||
			e.Type != "alert.raised" || e.Data.Kind != wire.AlertErrorRate || e.Data.Summary != "50.0 % of 1000 attempts at pool p failed" {
			t.Errorf("%s %v %s", m.Subject, m.Header, m.Data)
		}
		// A kill between telling and noting it tells again: the same delivery.
		stop()
		kv, err := w.js.KeyValue(t.Context(), w.sub.Stream(wire.BucketAlerts))
		must(t, err)
		key := keyName("error_rate pool=p")
		x, err := kv.Get(t.Context(), key)
		must(t, err)
		var entry entry
		must(t, json.Unmarshal(x.Value(), &entry))
		if !entry.Told {
			t.Error("not noted as told")
		}
		entry.Told = false
		raw, err := json.Marshal(&entry)
		must(t, err)
		_, err = kv.Put(t.Context(), key, raw)
		must(t, err)
		_, err = w.js.PublishMsg(t.Context(), &nats.Msg{Subject: m.Subject, Data: m.Data, Header: nats.Header{wire.HeaderMsgID: {name}}})
		must(t, err) // so that the server's window knows the ID again
		before := w.deliveries()
		_, stop = w.start("b", r)
		time.Sleep(90 * time.Second)
		if n := w.deliveries(); n != before+1 { // a's window has passed, b's has not
			t.Errorf("%d deliveries, before %d", n, before)
		}
		stop()
	})
}

// What another process writes meanwhile is not written over: the watcher reads
// anew.
func TestTwoBooks(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		r := rules()
		w.failed = 500
		_, stop := w.start("a", r)
		time.Sleep(3 * time.Minute)
		kv, err := w.js.KeyValue(t.Context(), w.sub.Stream(wire.BucketAlerts))
		must(t, err)
		_, err = kv.Put(t.Context(), keyName("error_rate pool=p"), []byte(`{"kind":"error_rate","subject":{"pool":"p"},"raised":true,"told":true,"since":"2000-01-01T00:00:00Z","summary":"other"}`))
		must(t, err)
		time.Sleep(5 * time.Minute)
		list, err := List(t.Context(), w.js, w.sub)
		must(t, err)
		want(t, "raised once", w.told(), "alert.raised")
		if len(list) != 1 || list[0].Since.Year() != 2000 || list[0].Value != 0.5 {
			t.Errorf("got %+v", list)
		}
		stop()
	})
}

// What was cleared a week ago is forgotten, what is raised is not.
func TestForgotten(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		b := &book{js: w.js, subjects: w.sub}
		must(t, b.read(t.Context()))
		for pool, since := range map[string]time.Duration{"old": kept, "late": kept - time.Hour} {
			for _, raised := range []bool{true, false} {
				a := wire.Alert{Kind: wire.AlertErrorRate, Subject: map[string]string{"pool": fmt.Sprint(pool, raised)}, Raised: raised, Since: time.Now().Add(-since)}
				b.entries[a.ID()] = &entry{Alert: a, Told: true}
				must(t, b.write(t.Context(), a.ID()))
			}
		}
		_, stop := w.start("a", rules())
		time.Sleep(61 * time.Second)
		list, err := List(t.Context(), w.js, w.sub)
		must(t, err)
		var left []string
		for _, a := range list {
			left = append(left, a.Subject["pool"])
		}
		want(t, "left", left, "latetrue", "oldtrue", "latefalse")
		stop()
	})
}

// Before anything was raised there is nothing to list.
func TestListNothing(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		if list, err := List(t.Context(), w.js, w.sub); err != nil || list == nil || len(list) != 0 {
			t.Errorf("got %v, %v", list, err)
		}
	})
}
