package fleet

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sluicehq/sluice/sdk"
	"github.com/sluicehq/sluice/sdk/wire"
)

// A provider that takes so many requests in any minute, and how many come.
const (
	limitRPM  = 600
	limitRate = 16.0 // jobs per second: a good half more than the limit
	limitSpan = 150 * time.Second
	limitMost = 1.0 // percent of the calls that may be refused
)

const limitConfig = routerConfig + `pools:
  - {name: tight, adapter: openai, provider: sim, base_url: "http://{{tight}}/v1", concurrency: 32, limits: {rpm: 600}, models: {m: {price: {input: 1, output: 2}}}}
routes:
  - {model: chat, candidates: [{pool: tight, model: m}]}
`

// measureLimit has many routers share a provider that counts for itself, and
// answers 429 beyond its limit.
func measureLimit(ctx context.Context, o RouterOptions) (err error) {
	list := []Provider{{Name: "tight", Seed: 1, RPM: limitRPM, Manners: Manners{TTFT: 300 * time.Millisecond, Rate: 100}}}
	r, err := newRig(ctx, o, list, limitConfig)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.stop()) }()
	_, err = r.submit(ctx, func(i int) (sdk.Job, time.Duration) {
		at := time.Duration(float64(i) / limitRate * float64(time.Second))
		if at > limitSpan {
			at = -1
		}
		return sdk.Job{ID: fmt.Sprintf("l%06dx", i), Class: wire.Interactive, Body: request(20, 20)}, at
	})
	if err != nil {
		return err
	}
	counts, err := r.providers.counts()
	if err != nil {
		return err
	}
	c := counts["tight"]
	took := time.Since(r.begin)
	refused := 100 * float64(c.Refused) / float64(max(c.Calls, 1))
	// What a perfect client could have called: a minute's worth at once, and
	// again in every minute.
	most := limitRPM * (1 + int64(took/time.Minute))
	fmt.Fprintf(o.Out, "\n%d routers, one pool with limits: {rpm: %d}, %.0f jobs a minute for %.0f s; the provider answers 429 to more than %d in any 60 s\n\n",
		o.Routers, limitRPM, limitRate*60, took.Seconds(), limitRPM)
	fmt.Fprintln(o.Out, "| calls | answered 429 | share | calls that the limit allowed |\n|---|---|---|---|")
	fmt.Fprintf(o.Out, "| %d | %d | %.2f %% | %d (%.0f %% used) |\n", c.Calls, c.Refused, refused, most, 100*float64(c.Calls-c.Refused)/float64(most))
	if refused >= limitMost {
		return fmt.Errorf("%.2f %% of the calls were refused, %.0f %% or more", refused, limitMost)
	}
	return nil
}
