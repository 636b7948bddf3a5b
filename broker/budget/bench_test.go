package budget

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/sluicehq/sluice/broker/budget/account"
	"github.com/sluicehq/sluice/broker/natsd"
	"github.com/sluicehq/sluice/broker/topology"
	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
)

// books runs routers' views of one budget that never ends.
func books(tb testing.TB, n int) []*Book {
	tb.Helper()
	srv, err := natsd.Start(natsd.Config{DataDir: tb.TempDir(), Sync: time.Second})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(srv.Stop)
	limit := wire.NanoUSD(1 << 50)
	def := account.Definition{Scope: "global", LimitUSD: &limit}
	b, faults := def.Parse()
	if len(faults) > 0 {
		tb.Fatal(account.Error(faults))
	}
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	tb.Cleanup(func() { stop(); running.Wait() })
	var out []*Book
	for i := range n {
		nc, err := srv.Connect(fmt.Sprint("book", i))
		if err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(nc.Close)
		js, err := jetstream.New(nc)
		if err != nil {
			tb.Fatal(err)
		}
		if err := topology.Ensure(ctx, js, topology.Config{}); err != nil {
			tb.Fatal(err)
		}
		book := New(Config{JS: js, Ledger: ledger.New(js, wire.Subjects{}), Logger: slog.New(slog.DiscardHandler), Instance: fmt.Sprint(i)},
			Setup{Budgets: []account.Budget{b}})
		running.Go(func() {
			if err := book.Run(ctx); err != nil {
				tb.Error(err)
			}
		})
		out = append(out, book)
	}
	for _, book := range out {
		for len(book.Standings(time.Now())) == 0 || book.Standings(time.Now())[0].Behind {
			time.Sleep(time.Millisecond)
		}
	}
	return out
}

var jobs atomic.Uint64

func asks(n int) []account.Hold {
	out := make([]account.Hold, n)
	for i := range out {
		j := jobs.Add(1)
		out[i] = account.Hold{Job: account.Job{Tenant: "acme", ID: fmt.Sprint("j", j), Seq: j}, N: 1, Draw: account.Draw{At: time.Now().UnixNano(), USD: 100, Tokens: 10, First: true,
			Facts: account.Facts{Tenant: "acme", Route: "chat", Pool: "p", Provider: "x", Model: "m"}}}
	}
	return out
}

// BenchmarkHold is a hold, in batches of a size, by one router or by four that
// collide all the time.
func BenchmarkHold(b *testing.B) {
	for _, n := range []int{1, 4} {
		for _, batch := range []int{1, 32, 256} {
			b.Run(fmt.Sprintf("routers=%d/batch=%d", n, batch), func(b *testing.B) {
				all := books(b, n)
				var left atomic.Int64
				left.Store(int64(b.N))
				b.ResetTimer()
				var g sync.WaitGroup
				for _, book := range all {
					g.Go(func() {
						for left.Add(-int64(batch)) > -int64(batch) {
							answers, err := book.Hold(b.Context(), asks(batch))
							if err != nil || answers[0].Seq == 0 {
								b.Errorf("%+v, %v", answers, err)
								return
							}
						}
					})
				}
				g.Wait()
			})
		}
	}
}

// TestHoldTogether: four routers ask at once; what is held is what was said
// yes to, and all of them know it.
func TestHoldTogether(t *testing.T) {
	all := books(t, 4)
	var taken atomic.Int64
	var g sync.WaitGroup
	for _, book := range all {
		g.Go(func() {
			for range 20 {
				answers, err := book.Hold(t.Context(), asks(10))
				if err != nil {
					t.Error(err)
					return
				}
				for _, a := range answers {
					if a.Kind == account.Fits && a.Seq > 0 {
						taken.Add(100)
					}
				}
			}
		})
	}
	g.Wait()
	for i, book := range all {
		for end := time.Now().Add(10 * time.Second); book.Standings(time.Now())[0].Held != taken.Load(); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("router %d knows of %d held, want %d", i, book.Standings(time.Now())[0].Held, taken.Load())
			}
		}
	}
	if taken.Load() != 4*20*10*100 {
		t.Errorf("%d held", taken.Load())
	}
}

// BenchmarkJudge is what a decision pays for budgets that do not bind it, and
// for one that does.
func BenchmarkJudge(b *testing.B) {
	book := New(Config{Logger: slog.New(slog.DiscardHandler)}, Setup{})
	var list []account.Budget
	for i := range 100 {
		limit := wire.NanoUSD(1 << 40)
		def := account.Definition{Scope: fmt.Sprintf("tenant:t%d", i), LimitUSD: &limit}
		x, _ := def.Parse()
		list = append(list, x)
	}
	book.state = account.New()
	book.state.Define(list, time.Now().UnixNano())
	book.state.Reached(0)
	offers := []Offer{{Pool: "a", Provider: "x", Model: "m"}, {Pool: "b", Provider: "x", Model: "m"}, {Pool: "c", Provider: "x", Model: "m"}}
	for _, tenant := range []string{"none", "t7"} {
		b.Run(tenant, func(b *testing.B) {
			m := &wire.Meta{Tenant: tenant, ID: "j", Seq: 1, Route: "chat", BodyBytes: 100}
			var cases []Case
			for b.Loop() {
				cases, _ = book.Judge(m, 1, time.Now().UnixNano(), offers, cases[:0])
			}
		})
	}
}
