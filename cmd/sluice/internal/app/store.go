package app

import "github.com/sluicehq/sluice/broker/topology"

// topology is the streams of this configuration. The bounds of an external
// cluster are its operator's.
func (a *App) topology() topology.Config {
	c := topology.Config{Subjects: a.subjects, Replicas: a.cfg.NATS.Replicas, CapturesAge: a.cfg.Records.Retention}
	if a.srv != nil {
		c = c.Share(a.srv.MaxStore())
	}
	return c
}
