package ingest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/analytics/store"
	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
)

// textStream makes the stream of texts, as the topology does.
func (l *ledgerServer) textStream() {
	l.t.Helper()
	_, err := l.js.CreateStream(l.t.Context(), jetstream.StreamConfig{Name: subjects.Stream(wire.StreamTexts), Subjects: []string{subjects.TextsAll()},
		AllowDirect: true, AllowMsgTTL: true, Discard: jetstream.DiscardNew, MaxBytes: wire.TextBacklog})
	must(l.t, err)
}

// say publishes texts of n jobs of a tenant, with these numbers on.
func (l *ledgerServer) say(tenant string, from, n int) {
	l.t.Helper()
	for i := from; i < from+n; i++ {
		b, err := wire.EncodeText(&wire.Text{Tenant: tenant, Job: fmt.Sprint("job-", i), Attempt: 1, Expires: time.Now().Add(time.Hour).Unix(), Answer: "said"})
		must(l.t, err)
		_, err = l.js.Publish(l.t.Context(), subjects.Texts(tenant, fmt.Sprint("job-", i)), b)
		must(l.t, err)
	}
}

// backlog is how many texts are in the stream.
func (l *ledgerServer) backlog() uint64 {
	l.t.Helper()
	s, err := l.js.Stream(l.t.Context(), subjects.Stream(wire.StreamTexts))
	must(l.t, err)
	return s.CachedInfo().State.Msgs
}

// wantTexts checks that the table has just these tenants' numbers of jobs, each
// once.
func (f *fakeStore) wantTexts(t *testing.T, want map[string]int) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	got, seen := map[string]int{}, map[string]bool{}
	for _, r := range f.texts {
		if seen[r.ID()] {
			t.Errorf("%s is there twice", r.ID())
		}
		seen[r.ID()] = true
		got[r.Tenant]++
	}
	if !maps.Equal(got, want) {
		t.Errorf("texts %v, want %v", got, want)
	}
}

// faultsOf scripts what becomes of the first calls for texts.
func faultsOf(list ...fault) func(int, store.Table) fault {
	return func(call int, table store.Table) fault {
		if table != store.Texts || call > len(list) {
			return none
		}
		return list[call-1]
	}
}

var quickTexts = Config{FlushInterval: 100 * time.Millisecond, LeaseTTL: 2 * time.Second, RetryMax: time.Second, InsertTimeout: 3 * time.Second}

// Each text makes one row, and the stream is empty then: whatever happens to
// an insert, while ClickHouse is away, over restarts, and with what is no text.
func TestTextsOnce(t *testing.T) {
	for name, faults := range map[string][]fault{
		"all goes well": nil, "refused": {refused, refused}, "written, and then an error": {ambiguous, none, ambiguous}, "it hangs": {hangs, ambiguous},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l, f := startLedger(t), &fakeStore{fault: faultsOf(faults...)}
				cfg := quickTexts
				cfg.JS, cfg.Store = l.js, f
				r := start(t, cfg)
				time.Sleep(2 * time.Second) // there is no stream yet
				l.textStream()
				l.say("acme", 0, 3)
				time.Sleep(10 * time.Second)
				_, err := l.js.Publish(t.Context(), subjects.Texts("acme", "odd"), []byte(`{"t":"acme"}`))
				must(t, err)
				f.setDown(true)
				l.say("acme", 3, 500)
				l.say("other", 0, 7)
				time.Sleep(10 * time.Second)
				f.setDown(false)
				time.Sleep(10 * time.Second)
				r.stop()
				l.say("acme", 503, 5)
				r = start(t, cfg)
				time.Sleep(10 * time.Second)
				f.wantTexts(t, map[string]int{"acme": 508, "other": 7})
				if n := l.backlog(); n != 0 {
					t.Errorf("%d are left in the stream", n)
				}
				if p := r.Progress(); p.Texts != 5 {
					t.Errorf("the last ingester counts %d rows", p.Texts)
				}
			})
		})
	}
}

// What was said before an order to forget is gone, what comes later is not: also
// where the order came while ClickHouse was away, and where a crash follows the
// deletion.
func TestTextsForgotten(t *testing.T) {
	for name, faults := range map[string][]fault{"all goes well": nil, "deleted, and then an error": {none, ambiguous, ambiguous}, "refused": {none, refused, none, refused}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l, f := startLedger(t), &fakeStore{fault: faultsOf(faults...)}
				l.textStream()
				cfg := quickTexts
				cfg.JS, cfg.Store = l.js, f
				l.say("acme", 0, 4)
				l.say("other", 0, 4)
				start(t, cfg)
				forget := func(tenant, job string, within time.Duration) bool {
					t.Helper()
					ctx, cancel := context.WithTimeout(t.Context(), within)
					defer cancel()
					done, err := ledger.ForgetTexts(ctx, l.js, subjects, tenant, job)
					must(t, err)
					return done
				}
				if !forget("acme", "job-1", time.Minute) {
					t.Error("not done in a minute")
				}
				f.wantTexts(t, map[string]int{"acme": 3, "other": 4})
				f.setDown(true)
				l.say("acme", 10, 5)
				if forget("acme", "", time.Second) {
					t.Error("done while ClickHouse is away")
				}
				l.say("acme", 20, 2)
				time.Sleep(time.Minute)
				f.setDown(false)
				time.Sleep(time.Minute)
				f.wantTexts(t, map[string]int{"acme": 2, "other": 4})
				if n := l.backlog(); n != 0 {
					t.Errorf("%d are left in the stream", n)
				}
			})
		})
	}
}

// Rows of the ledger do not wait for texts that ClickHouse does not take.
func TestTextsDelayNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stuck := slices.Repeat([]fault{hangs}, 1000)
		l, f := startLedger(t), &fakeStore{fault: faultsOf(stuck...)}
		l.textStream()
		cfg := quickTexts
		cfg.JS, cfg.Store, cfg.InsertTimeout = l.js, f, time.Minute
		l.say("acme", 0, 300)
		r := start(t, cfg)
		time.Sleep(2 * time.Second)
		for i := range 20 {
			l.job(fmt.Sprint(i), 1)
		}
		began := time.Now()
		r.caughtUp(t, l)
		if d := time.Since(began); d > 10*time.Second {
			t.Errorf("the ledger's rows took %s", d)
		}
		f.wantRows(t, 20, 20)
		f.wantTexts(t, map[string]int{})
		if n := l.backlog(); n != 300 {
			t.Errorf("%d of 300 are in the stream", n)
		}
	})
}

// What a tenant keeps for a shorter time now is shortened, at the start and
// once an hour.
func TestTextsShortened(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, f := startLedger(t), &fakeStore{shorter: map[string]time.Duration{}}
		l.textStream()
		keep := map[string]time.Duration{"acme": 720 * time.Hour}
		cfg := quickTexts
		cfg.JS, cfg.Store = l.js, f
		cfg.TextsKept = func() map[string]time.Duration { f.mu.Lock(); defer f.mu.Unlock(); return maps.Clone(keep) }
		start(t, cfg)
		want := func(d time.Duration) {
			t.Helper()
			f.mu.Lock()
			defer f.mu.Unlock()
			if f.shorter["acme"] != d {
				t.Errorf("%v", f.shorter)
			}
		}
		time.Sleep(time.Minute)
		want(720 * time.Hour)
		f.mu.Lock()
		keep["acme"] = 24 * time.Hour
		f.mu.Unlock()
		time.Sleep(shortenInterval + time.Minute)
		want(24 * time.Hour)
	})
}

// A text that may not be kept any longer leaves the stream by itself, while
// ClickHouse is away.
func TestTextsExpireInTheStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := startLedger(t)
		l.textStream()
		b, err := wire.EncodeText(&wire.Text{Tenant: "acme", Job: "a", Attempt: 1})
		must(t, err)
		_, err = l.js.Publish(t.Context(), subjects.Texts("acme", "a"), b, jetstream.WithMsgTTL(time.Hour))
		must(t, err)
		time.Sleep(59 * time.Minute)
		if n := l.backlog(); n != 1 {
			t.Errorf("%d before the time is up", n)
		}
		time.Sleep(5 * time.Minute)
		if n := l.backlog(); n != 0 {
			t.Errorf("%d after the time is up", n)
		}
	})
}
