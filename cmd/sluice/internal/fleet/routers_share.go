package fleet

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/sluicehq/sluice/sdk"
	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
)

// lane is a pool of a shared route.
type lane struct {
	name  string
	rate  float64 // tokens per second, before Speed
	slots int
}

// lanes are eight pools, the fastest nearly twice as fast as the slowest, and
// steepLanes eight whose fastest is five times as fast. Their weight is their
// concurrency.
var (
	lanes      = []lane{{"p1", 40, 6}, {"p2", 37, 10}, {"p3", 35, 6}, {"p4", 32, 12}, {"p5", 30, 8}, {"p6", 27, 6}, {"p7", 25, 8}, {"p8", 22, 4}}
	steepLanes = []lane{{"p1", 60, 6}, {"p2", 48, 10}, {"p3", 40, 6}, {"p4", 32, 12}, {"p5", 26, 8}, {"p6", 20, 6}, {"p7", 15, 8}, {"p8", 12, 4}}
)

// laneTTFT is the time to the first token of each, before Speed.
const laneTTFT = 300 * time.Millisecond

// routerConfig has a worker that was killed noticed after ack_wait and at most
// 15 s of its presence.
const routerConfig = "workers: {ack_wait: 10s, max_attempts: 10, retry_backoff: 100ms, drain: 5s}\n"

// laneConfig is the configuration of the lanes under a strategy.
func laneConfig(lanes []lane, strategy string) string {
	pools, candidates := "pools:\n", ""
	for _, l := range lanes {
		pools += fmt.Sprintf("  - {name: %[1]s, adapter: openai, provider: sim, base_url: \"http://{{%[1]s}}/v1\", concurrency: %[2]d, weight: %[2]d, models: {m: {price: {input: 1, output: 2}}}}\n", l.name, l.slots)
		candidates += fmt.Sprintf("{pool: %s, model: m}, ", l.name)
	}
	return routerConfig + pools + fmt.Sprintf("routes:\n  - {model: chat, strategy: %s, candidates: [%s]}\n", strategy, candidates)
}

func laneProviders(lanes []lane, speed float64) []Provider {
	var out []Provider
	for i, l := range lanes {
		out = append(out, Provider{Name: l.name, Seed: uint64(i + 1),
			Manners: Manners{TTFT: time.Duration(float64(laneTTFT) / speed), Rate: l.rate * speed}})
	}
	return out
}

// share is how a strategy shared the lanes.
type share struct {
	wait50, wait99   time.Duration
	total50, total99 time.Duration
	low, high        float64 // of the lanes' utilisations, in percent
	over             []string
	jobs             int
	succeeded        int
}

// trace submits the arrivals as jobs whose IDs start with a prefix.
func (r *rig) trace(ctx context.Context, o RouterOptions, prefix string) (int, error) {
	return r.submit(ctx, func(i int) (sdk.Job, time.Duration) {
		if i == len(o.Arrivals) {
			return sdk.Job{}, -1
		}
		a := o.Arrivals[i]
		return sdk.Job{ID: fmt.Sprintf("%s%06dx", prefix, i), Class: wire.Interactive, Body: request(min(a.Input, 200), a.Output)},
			time.Duration(float64(a.At-o.Arrivals[0].At) / o.Speed)
	})
}

// replay sends the trace through the lanes and measures how they shared it.
// Utilisation is measured while jobs come, without the first fifth.
func (r *rig) replay(ctx context.Context, o RouterOptions, lanes []lane) (*share, error) {
	span := time.Duration(float64(o.Arrivals[len(o.Arrivals)-1].At-o.Arrivals[0].At) / o.Speed)
	var before map[string]Count
	var warm time.Time
	var wg sync.WaitGroup
	var warmErr error
	wg.Go(func() {
		if warmErr = ledger.Pause(ctx, span/5); warmErr == nil {
			warm = time.Now()
			before, warmErr = r.providers.counts()
		}
	})
	n, err := r.trace(ctx, o, "t")
	wg.Wait()
	if err = errors.Join(err, warmErr); err != nil {
		return nil, err
	}
	after, err := r.providers.counts()
	if err != nil {
		return nil, err
	}
	took := time.Since(warm)
	lives, err := r.lives(ctx, n)
	if err != nil {
		return nil, err
	}
	s := &share{jobs: n, low: 100}
	var waits, totals []time.Duration
	for _, l := range lives {
		waits, totals = append(waits, l.wait()), append(totals, l.total())
		if l.status == wire.Succeeded {
			s.succeeded++
		}
	}
	s.wait50, s.wait99, s.total50, s.total99 = quantile(waits, .5), quantile(waits, .99), quantile(totals, .5), quantile(totals, .99)
	final, err := r.providers.counts()
	if err != nil {
		return nil, err
	}
	for _, l := range lanes {
		used := 100 * float64(after[l.name].Busy-before[l.name].Busy) / float64(took) / float64(l.slots)
		s.low, s.high = min(s.low, used), max(s.high, used)
		if m := final[l.name].Max; m > int64(l.slots) {
			s.over = append(s.over, fmt.Sprintf("%s had %d calls at once, and takes %d", l.name, m, l.slots))
		}
		fmt.Fprintf(o.Log, "  %s: %d calls, %.0f %% used, at most %d of %d at once\n", l.name, final[l.name].Calls, used, final[l.name].Max, l.slots)
	}
	return s, nil
}

// maxSpread is how far apart the utilisations of the lanes may be under
// least_connections, in points.
const maxSpread = 5

// measureStrategies prints least_connections beside round robin and random.
func measureStrategies(ctx context.Context, o RouterOptions) error {
	fmt.Fprintf(o.Out, "\n%d routers, %d workers, %d pools, %d jobs of the trace at %g times its speed\n\n", o.Routers, o.Routers, len(lanes), len(o.Arrivals), o.Speed)
	fmt.Fprintln(o.Out, "| strategy | wait p50 | wait p99 | completion p50 | completion p99 | utilisation of the pools | spread | pools above their concurrency | jobs that failed |\n|---|---|---|---|---|---|---|---|---|")
	var faults []error
	for _, c := range []struct {
		name, strategy string
		lanes          []lane
	}{
		{"least_connections", "least_connections", lanes}, {"weighted_round_robin", "weighted_round_robin", lanes}, {"round_robin", "round_robin", lanes},
		{"random", "random", lanes}, {"least_connections, speeds five times apart", "least_connections", steepLanes},
	} {
		strategy := c.name
		s, err := measureStrategy(ctx, o, c.strategy, c.lanes)
		if err != nil {
			return fmt.Errorf("%s: %w", strategy, err)
		}
		fmt.Fprintf(o.Out, "| %s | %s | %s | %s | %s | %.0f to %.0f %% | %.1f points | %d | %d |\n", strategy, millis(s.wait50), millis(s.wait99),
			millis(s.total50), millis(s.total99), s.low, s.high, s.high-s.low, len(s.over), s.jobs-s.succeeded)
		for _, over := range s.over {
			faults = append(faults, fmt.Errorf("%s: %s", strategy, over))
		}
		if s.succeeded != s.jobs {
			faults = append(faults, fmt.Errorf("%s: %d of %d jobs succeeded", strategy, s.succeeded, s.jobs))
		}
		if c.name == "least_connections" && s.high-s.low > maxSpread {
			faults = append(faults, fmt.Errorf("%s: utilisations are %.1f points apart, more than %d", strategy, s.high-s.low, maxSpread))
		}
	}
	return errors.Join(faults...)
}

func measureStrategy(ctx context.Context, o RouterOptions, strategy string, lanes []lane) (s *share, err error) {
	fmt.Fprintln(o.Log, strategy)
	r, err := newRig(ctx, o, laneProviders(lanes, o.Speed), laneConfig(lanes, strategy))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.stop()) }()
	return r.replay(ctx, o, lanes)
}

// strandedAfter is how long after the last kill no slot may be missing.
const strandedAfter = 30 * time.Second

// measureKills kills routers and workers during the replay, and then fills
// every slot that there is.
func measureKills(ctx context.Context, o RouterOptions) (err error) {
	r, err := newRig(ctx, o, laneProviders(lanes, o.Speed), laneConfig(lanes, "least_connections"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.stop()) }()
	killing, enough := context.WithCancel(ctx)
	defer enough()
	var wg sync.WaitGroup
	kills := 0
	wg.Go(func() { kills = r.killSome(killing, o) })
	n, err := r.trace(ctx, o, "k")
	enough()
	wg.Wait()
	last := time.Now()
	if err != nil {
		return err
	}
	lives, err := r.lives(ctx, n)
	if err != nil {
		return err
	}
	succeeded := 0
	for _, l := range lives {
		if l.status == wire.Succeeded {
			succeeded++
		}
	}
	if err := ledger.Pause(ctx, time.Until(last.Add(strandedAfter))); err != nil {
		return err
	}
	left, err := leftovers(ctx, r.js)
	if err != nil {
		return err
	}
	full, missing, err := r.fill(ctx, o)
	if err != nil {
		return err
	}
	counts, err := r.providers.counts()
	if err != nil {
		return err
	}
	var faults []error
	over := 0
	for _, l := range lanes {
		if m := counts[l.name].Max; m > int64(l.slots) {
			over++
			faults = append(faults, fmt.Errorf("%s had %d calls at once, and takes %d", l.name, m, l.slots))
		}
	}
	fmt.Fprintf(o.Out, "\n%d kills of routers and workers during %d jobs of the trace (least_connections)\n\n", kills, n)
	fmt.Fprintln(o.Out, "| jobs that failed | pools above their concurrency | slots stranded 30 s later | all slots in use at once again |\n|---|---|---|---|")
	fmt.Fprintf(o.Out, "| %d | %d | %d | %s |\n", n-succeeded, over, len(left)+missing, full)
	if succeeded != n {
		faults = append(faults, fmt.Errorf("%d of %d jobs succeeded", succeeded, n))
	}
	for _, l := range left {
		faults = append(faults, fmt.Errorf("%s after the last kill: %s", strandedAfter, l))
	}
	if missing > 0 {
		faults = append(faults, fmt.Errorf("%d slots could not be filled", missing))
	}
	return errors.Join(faults...)
}

// killSome kills a router or worker every two seconds until ctx ends.
func (r *rig) killSome(ctx context.Context, o RouterOptions) (kills int) {
	random := rand.New(rand.NewPCG(o.Seed, 11))
	list := append(r.of(kindRouter), r.of(kindWorker)...)
	for ledger.Pause(ctx, time.Second+time.Duration(random.Int64N(int64(2*time.Second)))) == nil {
		p := list[random.IntN(len(list))]
		fmt.Fprintf(o.Log, "  kill -9 %s\n", p.Name)
		p.kill()
		kills++
		if err := p.start(); err != nil {
			fmt.Fprintln(o.Log, err)
		}
	}
	return kills
}

// fill submits enough long jobs to take every slot of every pool, and sees
// that all are in use at one moment.
func (r *rig) fill(ctx context.Context, o RouterOptions) (full string, missing int, err error) {
	slots := 0
	for _, l := range lanes {
		slots += l.slots
	}
	n, err := r.submit(ctx, func(i int) (sdk.Job, time.Duration) {
		if i == 3*slots {
			return sdk.Job{}, -1
		}
		return sdk.Job{ID: fmt.Sprintf("f%06dx", i), Class: wire.Interactive, Body: request(10, int(300*o.Speed))}, 0
	})
	if err != nil {
		return "", 0, err
	}
	least := slots
	err = until(ctx, 20*time.Second, "every slot in use", func() error {
		counts, err := r.providers.counts()
		if err != nil {
			return err
		}
		running := 0
		for _, l := range lanes {
			running += int(counts[l.name].Running)
		}
		if least = min(least, slots-running); running < slots {
			return fmt.Errorf("%d of %d slots in use", running, slots)
		}
		return nil
	})
	fmt.Fprintf(o.Log, "  %d jobs for %d slots, %d free at least\n", n, slots, least)
	if err != nil {
		return fmt.Sprintf("no: %d of %d", slots-least, slots), least, nil //nolint:nilerr // a finding
	}
	return fmt.Sprintf("yes: %d", slots), 0, nil
}
