package config

import (
	"fmt"
	"time"

	"github.com/sluicehq/sluice/analytics/store"
	"github.com/sluicehq/sluice/sdk/wire"
)

// TTL is how long rows stay in ClickHouse after their timestamp; 0, the default:
// for ever. At least 2 days and twice records.retention, up to 100 years: a row
// must not go before its record.
type TTL struct {
	Attempts time.Duration `yaml:"attempts,omitempty"`
	Jobs     time.Duration `yaml:"jobs,omitempty"`
	Scores   time.Duration `yaml:"scores,omitempty"`
}

// Storage is where rows lie on an external server.
type Storage struct {
	Policy    string        `yaml:"policy,omitempty"`     // one of the server's storage policies; default: as it is
	Volume    string        `yaml:"volume,omitempty"`     // of the policy, for older rows
	MoveAfter time.Duration `yaml:"move_after,omitempty"` // age from which rows go there, from 1h; goes with volume
}

// Cluster is an external ClickHouse of several servers. Without a name there is
// one.
type Cluster struct {
	Name        string `yaml:"name,omitempty"` // as in the servers' remote_servers
	Replicated  bool   `yaml:"replicated"`     // tables have replicas, by the macros {shard} and {replica}; default true
	Distributed bool   `yaml:"distributed"`    // tables have shards, a day in each; default true
}

// Store is what opens ClickHouse at an address.
func (c *Config) Store(dsn string) store.Config {
	ch := c.ClickHouse
	return store.Config{DSN: dsn,
		Layout: store.Layout{AttemptsTTL: ch.TTL.Attempts, JobsTTL: ch.TTL.Jobs, ScoresTTL: ch.TTL.Scores,
			Policy: ch.Storage.Policy, Volume: ch.Storage.Volume, MoveAfter: ch.Storage.MoveAfter},
		Cluster: store.Cluster{Name: ch.Cluster.Name, Replicated: ch.Cluster.Replicated, Distributed: ch.Cluster.Distributed}}
}

// layout checks how long rows stay, and where.
func (v *validator) layout() {
	ch := v.c.ClickHouse
	least := max(2*day, 2*v.c.Records.Retention)
	for key, ttl := range map[string]time.Duration{"attempts": ch.TTL.Attempts, "jobs": ch.TTL.Jobs, "scores": ch.TTL.Scores} {
		if ttl != 0 && (ttl < least || ttl > 36500*day) {
			v.bad("clickhouse.ttl."+key, ttl.String(), fmt.Sprintf("must be 0 (for ever), or from %s (2 days, and twice records.retention) to 36500d", short(least)))
		}
	}
	s, external := ch.Storage, !ch.DSN.IsZero()
	for key, name := range map[string]string{"storage.policy": s.Policy, "storage.volume": s.Volume, "cluster.name": ch.Cluster.Name} {
		switch {
		case name == "":
		case !external:
			v.bad("clickhouse."+key, name, "needs an external server (clickhouse.dsn): the embedded engine is one server with one disk")
		case !wire.ValidName(name):
			v.bad("clickhouse."+key, name, "must match [A-Za-z0-9_-]{1,64}")
		}
	}
	switch {
	case (s.Volume == "") != (s.MoveAfter == 0):
		v.bad("clickhouse.storage", "", "must have both volume and move_after, or neither")
	case s.MoveAfter != 0 && (s.MoveAfter < time.Hour || s.MoveAfter > 36500*day):
		v.bad("clickhouse.storage.move_after", s.MoveAfter.String(), "must be from 1h to 36500d")
	}
}
