package steer

import (
	"github.com/sluicehq/sluice/broker/rollout"
	"github.com/sluicehq/sluice/sdk/wire"
)

// Rollout moves the jobs of a route from one version to another.
type Rollout struct {
	Name string
	Key  string // as of an Experiment: what stays together
	To   string // the route of the new version
}

// With is the plan with other shares of rollouts, in percent by name; those
// that are missing are 0. The plan itself does not change.
func (p *Plan) With(shares map[string]int) *Plan {
	c := *p
	c.shares = shares
	return &c
}

// assign is the version of a job. As the share grows, keys go from blue to
// green and none goes back.
func (r *Rollout) assign(m *wire.Meta, share int) *Variant {
	if 100*fraction(r.Name, m.Tenant, keyOf(r.Key, m)) < float64(share) {
		return &Variant{Name: rollout.Green, Route: r.To}
	}
	return &Variant{Name: rollout.Blue}
}
