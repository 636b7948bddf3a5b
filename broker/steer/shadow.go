package steer

import (
	"time"

	"github.com/sluicehq/sluice/router"
	"github.com/sluicehq/sluice/sdk/wire"
)

// Shadow mirrors a share of a route's jobs to another route. The answers are
// discarded; what they cost is recorded as the shadow's.
type Shadow struct {
	Name  string
	Share float64 // of the jobs, 0 to 1
	To    string  // the route that decides for the copies
}

// shadowLife is how long a copy may wait for room, and run.
const shadowLife = 10 * time.Minute

// shadowSuffix marks the ID of a copy.
const shadowSuffix = "-shadow"

// Mirror is the copy of a job that its first attempt begins beside it, nil if
// there is to be none. It is as little urgent as a job can be, and nothing that
// the client hears of is in it.
func (p *Plan) Mirror(m *wire.Meta, pr *wire.Progress, c *Course, now time.Time) *wire.Meta {
	if p == nil || m.Shadow != "" || pr.Attempts > 0 {
		return nil
	}
	s := p.cfg.Shadows[c.Base]
	if s == nil || fraction("shadow", s.Name, m.Tenant, m.ID) >= s.Share {
		return nil
	}
	copied := *m
	copied.Shadow, copied.ID = s.Name, m.ID[:min(len(m.ID), 64-len(shadowSuffix))]+shadowSuffix
	copied.Class, copied.AskedClass, copied.Placement = wire.Batch, "", ""
	copied.SubmittedAt, copied.NotBefore, copied.Deadline = now.UnixNano(), 0, now.Add(shadowLife).UnixNano()
	copied.Webhook, copied.Batch, copied.MaxCost = "", "", nil
	return &copied
}

// shadowCourse is the course of a copy; without a route if its shadow is gone.
func (p *Plan) shadowCourse(t *router.Table, m *wire.Meta) Course {
	if p != nil {
		for _, s := range p.cfg.Shadows {
			if _, ok := t.Route(s.To); ok && s.Name == m.Shadow {
				return Course{Route: s.To}
			}
		}
	}
	return Course{}
}
