package control

import (
	"context"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/sluicehq/sluice/broker/observe"
	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
)

func (s *Service) pools(ctx context.Context, _ adminRequest) (any, error) {
	work, err := s.cfg.JS.Stream(ctx, s.cfg.Subjects.Stream(wire.StreamWork))
	if err != nil {
		return nil, err
	}
	info, err := work.Info(ctx, jetstream.WithSubjectFilter(s.cfg.Subjects.WorkAll()))
	if err != nil {
		return nil, err
	}
	live, err := s.workers(ctx)
	if err != nil {
		return nil, err
	}
	pools := s.cfg.Pools()
	var health map[string]observe.Health
	if s.cfg.Observer != nil {
		health = s.cfg.Observer.Health()
	}
	for i := range pools {
		p := &pools[i]
		p.Workers = live[p.Name]
		if h, ok := health[p.Name]; ok {
			p.Health, p.Draining = &h, p.Draining || h.Draining
		}
		p.Queued = int(info.State.Subjects[s.cfg.Subjects.Work(p.Name)])
		if c, err := work.Consumer(ctx, ledger.WorkConsumer(p.Name)); err == nil {
			p.Running = ledger.Taken(c.CachedInfo())
			p.Queued = max(p.Queued-p.Running, 0)
		}
	}
	return map[string]any{"pools": pools}, nil
}

// workers counts the live worker processes of each pool.
func (s *Service) workers(ctx context.Context) (map[string]int, error) {
	nodes, err := ledger.Nodes(ctx, s.cfg.JS, s.cfg.Subjects)
	if err != nil {
		return nil, err
	}
	live := map[string]int{}
	for _, n := range nodes {
		for _, p := range n.Pools {
			live[p]++
		}
	}
	return live, nil
}

// drain has a pool take no new jobs; what it has is finished.
func (s *Service) drain(ctx context.Context, req adminRequest) (any, error) {
	if err := s.knows(req.Pool); err != nil {
		return nil, err
	}
	return map[string]any{"pool": req.Pool, "draining": true}, observe.Drain(ctx, s.cfg.JS, s.cfg.Subjects, req.Pool)
}

// resume takes that back.
func (s *Service) resume(ctx context.Context, req adminRequest) (any, error) {
	if err := s.knows(req.Pool); err != nil {
		return nil, err
	}
	return map[string]any{"pool": req.Pool, "draining": false}, observe.Resume(ctx, s.cfg.JS, s.cfg.Subjects, req.Pool)
}

func (s *Service) knows(pool string) error {
	if s.cfg.Table().PoolIndex(pool) < 0 {
		return wire.Errorf(wire.CodeInvalidRequest, "pool", "no pool is called %.80q: see `sluice pool list`", pool)
	}
	return nil
}
