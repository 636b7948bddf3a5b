package ingest

import (
	"context"

	"github.com/sluicehq/sluice/sdk/lease"
)

// leaseKey is the key of the right to ingest.
const leaseKey = "ingester"

// acquire waits until the right to ingest is free and takes it.
func (in *Ingester) acquire(ctx context.Context) (*lease.Lease, error) {
	return lease.Take(ctx, lease.Config{JS: in.cfg.JS, Subjects: in.cfg.Subjects, Key: leaseKey, Instance: in.cfg.Instance,
		TTL: in.cfg.LeaseTTL, Replicas: in.cfg.Replicas})
}
