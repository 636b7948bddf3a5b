package path

import (
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/broker/batch"
	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/sluicehq/sluice/workers/run"
	"github.com/sluicehq/sluice/workers/simulated"
)

// bundles is a rig with a provider's batch API at half the price and the same
// provider's calls, each with books.
type bundles struct {
	*rig
	api   *simulated.Provider
	lossy *lossy
	path  [2]string // books of the batch API and of the calls
}

// lossy is a connection that can lose answers.
type lossy struct {
	inner http.RoundTripper

	mu   sync.Mutex
	lose func(*http.Request) bool // the provider acts, and nobody hears of it
}

func (l *lossy) RoundTrip(r *http.Request) (*http.Response, error) {
	l.mu.Lock()
	lost := l.lose != nil && l.lose(r)
	l.mu.Unlock()
	resp, err := l.inner.RoundTrip(r)
	if lost && err == nil {
		_ = resp.Body.Close()
		return nil, errors.New("the connection is gone")
	}
	return resp, err
}

func (l *lossy) set(f func(*http.Request) bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lose = f
}

// begins reports whether a request begins a batch.
func begins(r *http.Request) bool {
	return r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/batches")
}

func startBundles(t *testing.T, dir, adapter string, cfg simulated.Config, set run.Bundling, s setup) *bundles {
	t.Helper()
	b := &bundles{}
	cfg.Prices, cfg.CacheShare, cfg.ReasoningShare = map[string]wire.Price{"": *testPrice}, 0.3, 0.2
	calls := cfg
	calls.ErrorShare = 0
	var made [2]*simulated.Provider
	for i, c := range []simulated.Config{cfg, calls} {
		b.path[i] = filepath.Join(t.TempDir(), fmt.Sprint("books", i))
		books, err := simulated.OpenBooks(b.path[i])
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = books.Close() }) // every line was written when it was booked
		c.Books = books
		if made[i], err = simulated.New(c); err != nil {
			t.Fatal(err)
		}
	}
	b.api, b.lossy = made[0], &lossy{inner: made[0]}
	half := testPrice.Less(50)
	s.dir, s.sync = dir, time.Hour // hours pass, and no server is killed
	s.pools = []pool{{name: "api", adapter: adapter, concurrency: 64, price: &half, provider: b.lossy, bundle: &set},
		{name: "calls", adapter: adapter, concurrency: 16, provider: made[1]}}
	b.rig = start(t, s)
	return b
}

// place submits a batch of n lines.
func (b *bundles) place(n int, p wire.Placement, window string) string {
	b.t.Helper()
	m, err := b.files().Submit(b.t.Context(), batch.Spec{Tenant: "default", API: batch.OpenAI, Endpoint: wire.ChatCompletions,
		Input: b.upload(input(n)), Window: window, Placement: p}, "", time.Time{})
	if err != nil {
		b.t.Fatal(err)
	}
	return m.ID
}

// ended is a batch that has, within so long.
func (b *bundles) ended(id string, within time.Duration) *batch.Manifest {
	b.t.Helper()
	for end := time.Now().Add(within); time.Now().Before(end); time.Sleep(10 * time.Second) {
		m, err := b.files().Batch(b.t.Context(), batch.OpenAI, "default", id)
		if err != nil {
			b.t.Fatal(err)
		}
		if m.Status.Terminal() {
			return m
		}
	}
	b.t.Fatalf("the batch has not ended after %s", within)
	return nil
}

// books compares what Sluice has booked, to the nano-dollar, with what the
// provider has charged, and gives how many lines and calls that were. Nothing
// may have been run twice, or be left of a bundle.
func (b *bundles) books() (lines, calls int) {
	b.t.Helper()
	var charged int64
	jobs := map[string]int{}
	count := [2]int{}
	for i, path := range b.path {
		list, torn, err := simulated.ReadBooks(path)
		if err != nil || torn > 0 {
			b.t.Fatal(err, torn)
		}
		charged += simulated.Total(list).Int64()
		for _, l := range list {
			if l.Outcome == "ok" {
				count[i]++
			}
			if l.Batch {
				jobs[l.Key]++
			}
		}
	}
	for k, n := range jobs {
		if n > 1 {
			b.t.Errorf("line %s was run %d times", k, n)
		}
	}
	booked, ok := wire.NanoUSD(0), map[string]int{}
	for seq := uint64(1); ; seq++ {
		s, err := b.js.Stream(b.t.Context(), b.subj.Stream(wire.StreamLedger))
		if err != nil {
			b.t.Fatal(err)
		}
		m, err := s.GetMsg(b.t.Context(), seq, jetstream.WithGetMsgSubject(b.subj.Records("*", "*")))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			break
		}
		if err != nil {
			b.t.Fatal(err)
		}
		seq = m.Sequence
		r, err := wire.DecodeRecord(m.Header, m.Data)
		if err != nil {
			b.t.Fatal(err)
		}
		if !r.EndsAttempt() {
			continue
		}
		if r.Entry.Attempt.Cost == nil {
			b.t.Errorf("%s: an attempt of unknown cost", r.Entry.Meta.ID)
			continue
		}
		booked += *r.Entry.Attempt.Cost
		if r.Entry.Attempt.Status == wire.Succeeded {
			ok[r.Entry.Meta.ID]++
		}
	}
	for id, n := range ok {
		if n > 1 {
			b.t.Errorf("%s succeeded %d times", id, n)
		}
	}
	if int64(booked) != charged || charged == 0 {
		b.t.Errorf("booked %d, charged %d", booked, charged)
	}
	b.left()
	return count[0], count[1]
}

// left reports what stays of bundles.
func (b *bundles) left() {
	b.t.Helper()
	s, err := b.js.Stream(b.t.Context(), b.subj.Stream(wire.StreamBundles))
	if err != nil {
		b.t.Fatal(err)
	}
	if n := s.CachedInfo().State.Msgs; n != 0 {
		b.t.Errorf("%d lines of bundles are left", n)
	}
	kv, err := b.js.KeyValue(b.t.Context(), b.subj.Stream(wire.BucketBundles))
	if err != nil {
		b.t.Fatal(err)
	}
	if keys, err := kv.Keys(b.t.Context()); !errors.Is(err, jetstream.ErrNoKeysFound) {
		b.t.Errorf("bundles are left: %v %v", keys, err)
	}
}

var bundleAdapters = []string{"openai", "anthropic"}

// eachAdapter runs a test for every batch API.
func eachAdapter(t *testing.T, f func(t *testing.T, dir, adapter string)) {
	for _, a := range bundleAdapters {
		t.Run(a, func(t *testing.T) { bubble(t, func(t *testing.T, dir string) { f(t, dir, a) }) })
	}
}

// TestBundle: a batch that is placed at the provider runs there, in more than
// one of its batches, and costs what the provider charges.
func TestBundle(t *testing.T) {
	eachAdapter(t, func(t *testing.T, dir, adapter string) {
		r := startBundles(t, dir, adapter, simulated.Config{BatchMin: time.Minute, BatchMax: 5 * time.Minute}, run.Bundling{MaxLines: 100}, setup{})
		r.batcher("b1", 1024)
		const n = 330
		m := r.ended(r.place(n, wire.AtProvider, "24h"), 5*time.Hour)
		out := r.results(m, batch.Output)
		if m.Status != batch.Completed || len(out) != n || m.Tally.Succeeded != n {
			t.Fatalf("%+v", m)
		}
		if l := out["id 8 ü"]; l.Response == nil || l.Response.Status != 200 || !strings.Contains(string(l.Response.Body), `"choices"`) {
			t.Errorf("%+v", l)
		}
		if lines, calls := r.books(); lines != n || calls != 0 {
			t.Errorf("%d lines and %d calls", lines, calls)
		}
		r.empty()
	})
}

// TestBundleWorkerDies: whatever a worker has just sent when it is killed, the
// next one goes on with its bundles: nothing is run or paid for twice.
func TestBundleWorkerDies(t *testing.T) {
	const n = 40
	for i, after := range []int{30, 95, 130, 170, 181, 182, 183, 184, 186, 187, 190, 260} {
		adapter := bundleAdapters[i%2]
		t.Run(fmt.Sprint(adapter, " ", after), func(t *testing.T) {
			bubble(t, func(t *testing.T, dir string) {
				r := startBundles(t, dir, adapter, simulated.Config{BatchMin: 2 * time.Minute, ErrorShare: 0.1, Faults: []simulated.Fault{simulated.ServerError}},
					run.Bundling{MaxLines: 25}, setup{bare: true})
				r.dispatcher("d1")
				r.batcher("b1", 1024)
				w1 := r.worker("w1")
				time.Sleep(time.Second)
				w1.gate.set(func() { w1.gate.limit = w1.gate.sent + after })
				id := r.place(n, wire.Auto, "24h")
				time.Sleep(time.Minute)
				r.worker("w2")
				m := r.ended(id, time.Hour)
				if m.Status != batch.Completed || m.Tally.Succeeded != n || len(r.results(m, batch.Output)) != n {
					t.Fatalf("%+v", m)
				}
				lines, calls := r.books()
				if lines+calls != n || calls > n/2 { // who fails at the provider is called; by chance nobody
					t.Errorf("%d lines and %d calls", lines, calls)
				}
				r.empty()
			})
		})
	}
}

// TestBundleWorkerPaused: a worker that was overtaken while it was frozen sends
// nothing any more, or it is in no bundle.
func TestBundleWorkerPaused(t *testing.T) {
	const n = 60
	for i, at := range []time.Duration{500 * time.Millisecond, 6 * time.Second, 16 * time.Second, time.Minute} {
		adapter := bundleAdapters[i%2]
		t.Run(fmt.Sprint(adapter, " ", at), func(t *testing.T) {
			bubble(t, func(t *testing.T, dir string) {
				r := startBundles(t, dir, adapter, simulated.Config{BatchMin: 3 * time.Minute}, run.Bundling{}, setup{bare: true})
				r.dispatcher("d1")
				r.batcher("b1", 1024)
				w1 := r.worker("w1")
				id := r.place(n, wire.Auto, "24h")
				time.Sleep(at)
				w1.gate.freeze()
				time.AfterFunc(2*time.Minute, w1.gate.thaw)
				r.worker("w2")
				m := r.ended(id, time.Hour)
				if m.Status != batch.Completed || m.Tally.Succeeded != n {
					t.Fatalf("%+v", m)
				}
				time.Sleep(5 * time.Minute)
				if lines, calls := r.books(); lines != n || calls != 0 {
					t.Errorf("%d lines and %d calls", lines, calls)
				}
				r.empty()
			})
		})
	}
}

// TestBundleAnswerLost: a batch that the provider began without saying so is
// found again, and not paid for twice; one that it did not begin is sent again.
func TestBundleAnswerLost(t *testing.T) {
	for _, began := range []bool{true, false} {
		eachAdapter(t, func(t *testing.T, dir, adapter string) {
			const n = 50
			r := startBundles(t, dir, adapter, simulated.Config{BatchMin: 3 * time.Minute}, run.Bundling{}, setup{})
			r.batcher("b1", 1024)
			inner, lost := r.lossy.inner, 0
			r.lossy.set(func(req *http.Request) bool {
				if !begins(req) || lost > 0 {
					r.lossy.inner = inner
					return false
				}
				if lost++; !began {
					r.lossy.inner = always(reply{status: 503})
				}
				return true
			})
			m := r.ended(r.place(n, wire.AtProvider, "24h"), time.Hour)
			if m.Status != batch.Completed || m.Tally.Succeeded != n || lost != 1 {
				t.Fatalf("%+v, %d lost", m, lost)
			}
			if lines, _ := r.books(); lines != n {
				t.Errorf("%d lines", lines)
			}
			r.empty()
		})
	}
}

// TestBundleEscalates: what the provider's batch has not run when the deadline
// nears is run by calls; what it has run is kept, and paid for.
func TestBundleEscalates(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		const n = 100
		r := startBundles(t, dir, "openai", simulated.Config{BatchMin: time.Hour, BatchCancel: 2 * time.Minute}, run.Bundling{}, setup{})
		r.batcher("b1", 1024)
		began := time.Now()
		m := r.ended(r.place(n, wire.Auto, "40m"), time.Hour)
		if took := time.Since(began); m.Status != batch.Completed || m.Tally.Succeeded != n || took < 25*time.Minute || took > 30*time.Minute {
			t.Fatalf("after %s: %+v", took, m)
		}
		lines, calls := r.books()
		if lines < 35 || lines > 50 || lines+calls != n {
			t.Errorf("%d lines and %d calls", lines, calls)
		}
		r.empty()
	})
}

// TestBundleLate: a batch whose deadline leaves no time for the provider's does
// not go there.
func TestBundleLate(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		r := startBundles(t, dir, "openai", simulated.Config{BatchMin: time.Hour}, run.Bundling{}, setup{})
		r.batcher("b1", 1024)
		m := r.ended(r.place(50, wire.Auto, "20m"), 10*time.Minute)
		if lines, calls := r.books(); m.Status != batch.Completed || lines != 0 || calls != 50 {
			t.Errorf("%d lines and %d calls: %+v", lines, calls, m)
		}
	})
}

// TestBundleExpires: at the end of its window, a batch that is placed at the
// provider keeps what was run, and the rest is expired and free.
func TestBundleExpires(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		const n = 100
		r := startBundles(t, dir, "anthropic", simulated.Config{BatchMin: time.Hour}, run.Bundling{}, setup{})
		r.batcher("b1", 1024)
		m := r.ended(r.place(n, wire.AtProvider, "15m"), 20*time.Minute)
		lines, calls := r.books()
		out, errs := r.results(m, batch.Output), r.results(m, batch.Errors)
		if m.Status != batch.Expired || lines < 15 || lines > 30 || calls != 0 || len(out) != lines || len(out)+len(errs) != n || m.Tally.Expired != int64(len(errs)) {
			t.Errorf("%d lines, %d and %d results: %+v", lines, len(out), len(errs), m)
		}
		r.empty()
	})
}

// TestBundleCancelled: cancelling a batch stops the provider's, keeps what was
// run and pays for that.
func TestBundleCancelled(t *testing.T) {
	for i, when := range []time.Duration{2 * time.Second, 3 * time.Minute} {
		bubble(t, func(t *testing.T, dir string) {
			const n = 120
			r := startBundles(t, dir, bundleAdapters[i], simulated.Config{BatchMin: 8 * time.Minute, BatchCancel: time.Minute}, run.Bundling{MaxLines: 50}, setup{})
			r.batcher("b1", 1024)
			// Another's batch at the same time is not touched.
			other := r.place(30, wire.AtProvider, "24h")
			id := r.place(n, wire.AtProvider, "24h")
			time.Sleep(when)
			if _, err := r.files().Cancel(t.Context(), batch.OpenAI, "default", id); err != nil {
				t.Fatal(err)
			}
			m := r.ended(id, 5*time.Minute)
			if m.Status != batch.Cancelled || m.Tally.Succeeded+m.Tally.Cancelled != n || m.Tally.Cancelled == 0 || m.Tally.Succeeded == 0 {
				t.Errorf("%+v", m)
			}
			if o := r.ended(other, time.Hour); o.Status != batch.Completed || o.Tally.Succeeded != 30 {
				t.Errorf("the other: %+v", o)
			}
			if lines, calls := r.books(); int64(lines) != m.Tally.Succeeded+30 || calls != 0 {
				t.Errorf("%d lines and %d calls", lines, calls)
			}
			r.empty()
		})
	}
}
