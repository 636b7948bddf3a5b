package dispatch

import (
	"encoding/json"
	"hash/fnv"

	"github.com/sluicehq/sluice/router"
	"github.com/sluicehq/sluice/sdk/wire"
)

// Captured is what one decision about a job saw, as the captures stream holds
// it.
type Captured struct {
	Attempt int             `json:"attempt"`
	Capture *router.Capture `json:"capture"`
}

// capturing is a decision on its way to the captures stream.
type capturing struct {
	tenant, job string
	captured    Captured
}

// maxCaptures is how many captures may wait to be written; more are dropped, so
// that they never hold up a job.
const maxCaptures = 1024

// capture keeps what the decision that l.choice holds saw, if the job is one of
// the sample: then all its decisions are.
func (l *loop) capture(it *item, attempt int) {
	m := &it.asg.Meta
	if !sampled(m, l.d.cfg.Captures) {
		return
	}
	c := l.tally.table.Capture(l.choice.Route, l.tally.load, &l.choice.Input)
	c.Input.Meta.Webhook, c.Input.Meta.Trace = "", "" // no decision looks at them
	select {
	case l.d.captures <- capturing{m.Tenant, m.ID, Captured{attempt, c}}:
	default:
		l.d.uncaptured.Add(1)
	}
}

// sampled tells whether a job is one of a share: the same ones at every router.
func sampled(m *wire.Meta, share float64) bool {
	if share <= 0 || share >= 1 {
		return share >= 1
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(m.Tenant + "." + m.ID)) // never fails
	return float64(mix(h.Sum64())>>11)/(1<<53) < share
}

// mix spreads the bits of a hash.
func mix(x uint64) uint64 {
	x ^= x >> 32
	x *= 0xD6E8FEB86659FD93
	x ^= x >> 32
	x *= 0xD6E8FEB86659FD93
	return x ^ x>>32
}

// keepCaptures writes captures until there are no more. Nobody waits for their
// acknowledgement: one that is lost is a decision that cannot be replayed.
func (d *Dispatcher) keepCaptures() {
	for c := range d.captures {
		b, err := json.Marshal(c.captured)
		if err == nil {
			err = d.cfg.JS.Conn().Publish(d.cfg.Subjects.Captures(c.tenant, c.job), b)
		}
		if n := d.uncaptured.Swap(0); err != nil || n > 0 {
			d.cfg.Logger.Debug("decisions are not captured", "dropped", n, "err", err)
		}
	}
}
