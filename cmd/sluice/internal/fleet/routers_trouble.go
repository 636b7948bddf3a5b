package fleet

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sluicehq/sluice/sdk"
	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/sluicehq/sluice/workers/simulated"
)

// When what happens to the second of three providers.
const (
	troubleRate  = 40.0 // jobs per second; the other two providers can take them all
	troubleFrom  = 15 * time.Second
	troubleUntil = 35 * time.Second
	troubleEnd   = 75 * time.Second
	troubleCalm  = 10 * time.Second // after which p99 must be normal again
	troubleBack  = 30 * time.Second // after which the provider must be in use again
)

const troubleConfig = routerConfig + `pools:
  - {name: a, adapter: openai, provider: sim, base_url: "http://{{a}}/v1", concurrency: 24, models: {m: {price: {input: 1, output: 2}}}}
  - {name: b, adapter: openai, provider: sim, base_url: "http://{{b}}/v1", concurrency: 24, models: {m: {price: {input: 1, output: 2}}}}
  - {name: c, adapter: openai, provider: sim, base_url: "http://{{c}}/v1", concurrency: 24, models: {m: {price: {input: 1, output: 2}}}}
routes:
  - {model: chat, candidates: [{pool: a, model: m}, {pool: b, model: m}, {pool: c, model: m}]}
`

// healthy is how each provider is without trouble.
var healthy = Manners{TTFT: 200 * time.Millisecond, Rate: 100}

// measureTrouble has a provider die, slow down and fail in the middle of a run.
func measureTrouble(ctx context.Context, o RouterOptions) error {
	slow, ill := healthy, healthy
	slow.TTFT, slow.Rate = 10*healthy.TTFT, healthy.Rate/10
	ill.ErrorShare, ill.Faults = 0.3, []simulated.Fault{simulated.ServerError}
	fmt.Fprintf(o.Out, "\n%d routers, three pools, %.0f jobs a second; one provider is in trouble from %.0f s to %.0f s\n\n", o.Routers, troubleRate, troubleFrom.Seconds(), troubleUntil.Seconds())
	fmt.Fprintln(o.Out, "| the provider | jobs | failed | p99 before | worst p99 | p99 normal again after | in use again after |\n|---|---|---|---|---|---|---|")
	var faults []error
	for _, t := range []struct {
		what string
		to   Manners
	}{{"dies", Manners{Dead: true}}, {"is ten times slower", slow}, {"fails 30 % of its calls", ill}} {
		if err := measureOne(ctx, o, t.what, t.to); err != nil {
			faults = append(faults, fmt.Errorf("the provider %s: %w", t.what, err))
		}
	}
	return errors.Join(faults...)
}

func measureOne(ctx context.Context, o RouterOptions, what string, to Manners) (err error) {
	list := []Provider{{Name: "a", Seed: 1, Manners: healthy}, {Name: "b", Seed: 2, Manners: healthy}, {Name: "c", Seed: 3, Manners: healthy}}
	r, err := newRig(ctx, o, list, troubleConfig)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.stop()) }()
	begin := time.Now()
	steps := make(chan error, 1)
	go func() { // ends before steps is read
		err := ledger.Pause(ctx, troubleFrom)
		if err == nil {
			err = r.providers.behave("b", to)
		}
		if err == nil {
			err = ledger.Pause(ctx, troubleUntil-troubleFrom)
		}
		if err == nil {
			err = r.providers.behave("b", healthy)
		}
		steps <- err
	}()
	n, err := r.submit(ctx, func(i int) (sdk.Job, time.Duration) {
		at := time.Duration(float64(i) / troubleRate * float64(time.Second))
		if at > troubleEnd {
			at = -1
		}
		return sdk.Job{ID: fmt.Sprintf("h%06dx", i), Class: wire.Interactive, Body: request(20, 40+i%40)}, at
	})
	if err = errors.Join(err, <-steps); err != nil {
		return err
	}
	lives, err := r.lives(ctx, n)
	if err != nil {
		return err
	}
	v := judgeTrouble(begin, lives)
	fmt.Fprintf(o.Out, "| %s | %d | %d | %s | %s | %s | %s |\n", what, n, n-v.succeeded, millis(v.before), millis(v.worst), after(v.calm), after(v.back))
	return v.err(n)
}

// verdict is what a trouble came to.
type verdict struct {
	succeeded     int
	before, worst time.Duration
	calm, back    time.Duration // since the trouble began, since it ended; -1: never
}

// after is a time of a verdict for people.
func after(d time.Duration) string {
	if d < 0 {
		return "never"
	}
	return d.String()
}

func (v verdict) err(n int) error {
	var faults []error
	if v.succeeded != n {
		faults = append(faults, fmt.Errorf("%d of %d jobs succeeded", v.succeeded, n))
	}
	if v.calm < 0 || v.calm > troubleCalm {
		faults = append(faults, fmt.Errorf("p99 is normal again after %s, bound %s", after(v.calm), troubleCalm))
	}
	if v.back < 0 || v.back > troubleBack {
		faults = append(faults, fmt.Errorf("in use again after %s, bound %s", after(v.back), troubleBack))
	}
	return errors.Join(faults...)
}

// troubleWindow is over how many seconds of submissions a p99 is measured: 200
// jobs, of which two may be slower.
const troubleWindow = 5

// judgeTrouble measures by the second in which jobs were submitted. p99 is
// normal from the first window on after which none is above one and a half
// times what it was before; the provider is in use again when it has a third of
// its share.
func judgeTrouble(begin time.Time, lives map[string]*life) verdict {
	v := verdict{calm: -1, back: -1}
	seconds := int(troubleEnd/time.Second) + 1
	totals := make([][]time.Duration, seconds)
	uses := make([]int, seconds)
	var before []time.Duration
	for _, l := range lives {
		at := l.submitted.Sub(begin)
		s := min(max(int(at/time.Second), 0), seconds-1)
		totals[s] = append(totals[s], l.total())
		if at > troubleFrom/3 && at < troubleFrom-2*time.Second {
			before = append(before, l.total())
		}
		if l.status == wire.Succeeded {
			v.succeeded++
		}
		for _, e := range l.attempts {
			if s := int(e.at.Sub(begin) / time.Second); e.pool == "b" && e.status == wire.Succeeded && s < seconds {
				uses[s]++
			}
		}
	}
	v.before = quantile(before, .99)
	for s := int(troubleFrom / time.Second); s+troubleWindow <= int(troubleUntil/time.Second); s++ {
		p := quantile(slices.Concat(totals[s:s+troubleWindow]...), .99)
		v.worst = max(v.worst, p)
		if p > v.before*3/2 {
			v.calm = -1
		} else if v.calm < 0 {
			v.calm = time.Duration(s)*time.Second - troubleFrom
		}
	}
	for s := int(troubleUntil / time.Second); s < seconds-1; s++ {
		if float64(uses[s]) >= troubleRate/3/3 && v.back < 0 {
			v.back = time.Duration(s+1)*time.Second - troubleUntil
		}
	}
	return v
}
