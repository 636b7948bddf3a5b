package fleet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/sluicehq/sluice/analytics/store"
	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/sluicehq/sluice/workers/simulated"
)

// ChaosOptions say what a run under chaos is.
type ChaosOptions struct {
	Binaries
	Seed  uint64
	Jobs  int
	Rate  float64       // jobs per second; default 60
	Every time.Duration // between two faults, on average; default 2 s
	// Clients submit at once, each over a connection of its own; default 1.
	Clients int
	Routers int // default 2
	Native  NativeFront
	Keep    bool      // keep the folder with logs and data
	Log     io.Writer // what is done, as it is done; nil: nowhere
}

// chaosPools are three providers of different speed, price and failure share;
// %[1]s dollars are all that may be spent at the first, %[2]d calls run at each.
const chaosPools = `
budgets: [{scope: "pool:quick", limit_usd: %[1]s, window: total, on_exceeded: cheaper}]
workers: {ack_wait: 5s, max_attempts: 10, retry_backoff: 100ms, drain: 5s}
analytics: {flush_interval: 200ms}
pools:
  - {name: quick, adapter: openai, provider: sim, base_url: "http://{{quick}}/v1", concurrency: %[2]d, models: {m: {price: {input: 2.5, cache_read: 1.25, output: 10}}}}
  - {name: cheap, adapter: openai, provider: sim, base_url: "http://{{cheap}}/v1", concurrency: %[2]d, models: {m: {price: {input: 0.15, cache_read: 0.0375, output: 0.6}}}}
  - {name: flaky, adapter: openai, provider: sim, base_url: "http://{{flaky}}/v1", concurrency: %[2]d, models: {m: {price: {input: 0.59, cache_read: 0.59, output: 0.79}}}}
routes:
  - {model: chat, strategy: least_connections, candidates: [{pool: quick, model: m}, {pool: cheap, model: m}, {pool: flaky, model: m}]}
`

// budgetPool is the pool with a budget, budgetEach what it has for each job of
// the run: about half of what would be spent there without.
const (
	budgetPool = "quick"
	budgetEach = wire.NanoUSD(100_000)
)

// chaosConfig is the configuration of a run of so many jobs, jobs a second:
// two of the pools can do all of them, at 0.4 to 0.7 s a call.
func chaosConfig(limit wire.NanoUSD, rate float64) string {
	return fmt.Sprintf(chaosPools, limit, max(24, int(rate*0.35)))
}

// chaosProviders are the same providers as they are on their own side.
func chaosProviders() []Provider {
	usd := func(in, cached, out float64) map[string]wire.Price {
		rate := func(v float64) wire.Rate { return wire.Rate(v*1e6 + 0.5) }
		return map[string]wire.Price{"m": {Input: rate(in), CacheRead: rate(cached), Output: rate(out)}}
	}
	return []Provider{
		{Name: "quick", Seed: 1, Prices: usd(2.5, 1.25, 10), Books: "quick.books", Manners: Manners{TTFT: 100 * time.Millisecond, Rate: 200}},
		{Name: "cheap", Seed: 2, Prices: usd(0.15, 0.0375, 0.6), Books: "cheap.books", Manners: Manners{TTFT: 250 * time.Millisecond, Rate: 120}},
		{Name: "flaky", Seed: 3, Prices: usd(0.59, 0.59, 0.79), Books: "flaky.books",
			Manners: Manners{TTFT: 100 * time.Millisecond, Rate: 200, ErrorShare: 0.05, Faults: simulated.AllFaults()}},
	}
}

// Chaos runs a cluster of three NATS servers, routers, four workers, two ingesters, ClickHouse and three providers as processes, does bad things to
// them under load, and checks afterwards that nothing was lost, doubled or
// miscounted. The report is nil if the run itself could not be made.
func Chaos(ctx context.Context, o ChaosOptions) (r *Report, err error) {
	if o.Log == nil {
		o.Log = io.Discard
	}
	if o.Rate == 0 {
		o.Rate = 60
	}
	if o.Every == 0 {
		o.Every = 2 * time.Second
	}
	if o.Routers == 0 {
		o.Routers = 2
	}
	limit := budgetEach * wire.NanoUSD(o.Jobs)
	list := chaosProviders()
	var books []string
	for _, p := range list {
		books = append(books, p.Books)
	}
	f, err := newFleet(ctx, o.Binaries, Shape{NATS: 3, Routers: o.Routers, Workers: 4, Ingesters: 2, Proxied: true, Native: o.Native}, list, chaosConfig(limit, o.Rate))
	if err != nil {
		return nil, err
	}
	defer func() {
		keep := o.Keep || err != nil || r.Err() != nil
		if keep {
			fmt.Fprintln(o.Log, "logs and data are in", f.dir)
		}
		err = errors.Join(err, f.close(keep))
	}()
	js, err := f.connect()
	if err != nil {
		return nil, err
	}
	defer js.Conn().Close()
	taps, err := f.connect()
	if err != nil {
		return nil, err
	}
	defer taps.Conn().Close()
	stop, err := f.watch(taps.Conn())
	if err != nil {
		return nil, err
	}
	defer stop()
	if err := f.ready(ctx, js, len(list)); err != nil {
		f.logs(o.Log, 2000)
		return nil, err
	}
	st, err := f.openStore()
	if err != nil {
		return nil, err
	}
	defer func() { _ = st.Close() }()
	r = &Report{Seed: o.Seed, Jobs: o.Jobs, Limit: limit}
	a := &audit{budget: budgetPool, by: map[string]bool{}}
	var auditing sync.WaitGroup
	defer auditing.Wait()
	running, done := context.WithCancel(ctx)
	defer done()
	auditing.Go(func() { a.follow(running, js) })
	accepted, err := f.storm(ctx, o, r)
	if err != nil {
		return nil, err
	}
	calm := time.Now()
	if r.Left, err = f.settle(ctx, js, st, len(accepted), o.Log); err != nil {
		return nil, err
	}
	done()
	auditing.Wait()
	a.read(ctx, js) // what came last
	r.Calm = time.Since(calm)
	if len(r.Left) > 0 {
		defer f.autopsy(ctx, js, accepted, o.Log)
	}
	if err := f.check(ctx, js, st, r, accepted, books, a); err != nil {
		return nil, err
	}
	return r, f.checkShown(ctx, st, r, books, chaosConfig(limit, o.Rate))
}

// storm submits the jobs while bad things happen, and returns when all are
// accepted and everything is whole again.
func (f *Fleet) storm(ctx context.Context, o ChaosOptions, r *Report) (map[string]bool, error) {
	l := &load{rate: o.Rate}
	defer l.close()
	for range max(o.Clients, 1) {
		client, err := f.client(ctx)
		if err != nil {
			return nil, err
		}
		l.clients = append(l.clients, client)
	}
	begin := time.Now()
	c := newChaos(f, o.Seed, o.Log)
	stormy, calm := context.WithCancel(ctx)
	defer calm()
	watched, ignore := context.WithCancel(ctx)
	defer ignore()
	var wg, guard sync.WaitGroup
	guard.Go(func() { c.supervise(watched) })
	wg.Go(func() { c.run(stormy, o.Every) })
	err := l.run(ctx, o.Seed, o.Jobs)
	calm()
	wg.Wait()
	ignore()
	guard.Wait()
	r.Took, r.Faults, r.Exits, r.Slow = time.Since(begin), c.done, c.exits, c.slow
	return l.accepted, err
}

// settlePatience is how long everything may take to come to rest, from the
// last new row of a job on.
const settlePatience = 90 * time.Second

// settle waits until every job is a row and nothing is left in the queues, and
// says what is left.
func (f *Fleet) settle(ctx context.Context, js jetstream.JetStream, st *store.Store, jobs int, log io.Writer) (left []string, err error) {
	var last error
	var seen int64
	began, told, moved := time.Now(), time.Now(), time.Now()
	resting, stuck := context.WithCancel(ctx)
	defer stuck()
	err = until(resting, time.Hour, "rest", func() error {
		if time.Since(moved) > settlePatience {
			stuck()
		}
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		for _, p := range f.all {
			if p.kind != "providers" && p.ended() { // it must be up to settle
				if err := p.start(); err != nil {
					return err
				}
			}
		}
		var rows int64
		res, err := st.Query(ctx, "SELECT toInt64(count()) FROM jobs")
		if err != nil {
			return err
		}
		if res.Next() {
			rows, _ = res.Values()[0].(int64)
		}
		if err := errors.Join(res.Err(), res.Close()); err != nil {
			return err
		}
		if rows > seen {
			seen, moved = rows, time.Now()
		}
		if left, err = leftovers(ctx, js); err != nil {
			return err
		}
		counts, err := f.providers.counts()
		if err != nil {
			return err
		}
		for name, c := range counts {
			if c.Running > 0 {
				left = append(left, fmt.Sprintf("%d calls at provider %s", c.Running, name))
			}
		}
		last = nil
		switch {
		case rows < int64(jobs):
			last = fmt.Errorf("%d of %d jobs are rows", rows, jobs)
		case len(left) > 0:
			last = errors.New("something is left")
		}
		if last != nil && time.Since(told) > 5*time.Second {
			told = time.Now()
			fmt.Fprintf(log, "%6.1fs after the last fault: %d of %d jobs are rows; %s\n", time.Since(began).Seconds(), rows, jobs, strings.Join(left, "; "))
		}
		return last
	})
	if err != nil && last != nil && ctx.Err() == nil {
		return append(left, last.Error()), nil // a finding, and no fault of the run
	}
	return left, err
}
