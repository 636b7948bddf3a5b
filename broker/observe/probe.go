package observe

import (
	"context"
	"encoding/json"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/sluicehq/sluice/router"
	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
)

// watchProbes folds how probes end.
func (o *Observer) watchProbes(ctx context.Context) error {
	return o.watch(ctx, wire.BucketProbes, func(e jetstream.KeyValueEntry) {
		if e == nil {
			return
		}
		var p ledger.Probe
		if e.Operation() == jetstream.KeyValuePut && json.Unmarshal(e.Value(), &p) == nil {
			o.state.probed(e.Key(), p, time.Now().UnixNano())
			o.counts.Store(o.state.counting)
		}
	})
}

// probed folds the outcome of a probe like that of an attempt, but for its
// times: a probe is shorter than any job. One of long ago is only shown.
func (f *fold) probed(pool string, e ledger.Probe, now int64) {
	p := f.pools[pool]
	if p == nil || e.At == 0 || e.At <= p.probe.At {
		return
	}
	p.probe = e
	if now >= e.Until {
		return
	}
	a := &wire.Attempt{Pool: pool, Model: e.Model, Status: e.Status, ErrorCode: e.Error, HTTP: e.HTTP}
	ev := router.Event{Kind: router.AttemptStarted, At: e.At - e.LatencyMS*int64(time.Millisecond)}
	ev.Started = ev.At
	p.breaker = p.breaker.Step(breakerConfig, ev)
	ev.Kind, ev.At = router.AttemptIgnored, e.At
	if out, ok := router.OutcomeOf(a, e.At); ok {
		if t := f.tracks[target{pool, e.Model}]; t != nil {
			t.Add(trackConfig, router.Outcome{At: e.At, OK: out.OK})
		}
		if ev.Kind = router.AttemptFailed; out.OK {
			ev.Kind, p.blame, p.refusals = router.AttemptSucceeded, blame{}, 0
		}
	}
	p.breaker = p.breaker.Step(breakerConfig, ev)
	f.count()
	f.unseen = true
}
