package control

import (
	"context"
	"errors"
	"time"

	"github.com/sluicehq/sluice/broker/roster"
	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
)

// How long an answer waits for this process to know what was changed.
const (
	knownWait  = 5 * time.Second
	knownEvery = 50 * time.Millisecond
)

// addPool adds a pool, or changes an added one. The answer names the routes
// that have it as a candidate.
func (s *Service) addPool(ctx context.Context, req adminRequest) (any, error) {
	if s.cfg.Roster == nil || s.cfg.CheckPool == nil {
		return nil, wire.Errorf(wire.CodeUnavailable, "", "this process cannot add pools")
	}
	if len(req.Spec) > roster.MaxText {
		return nil, wire.Errorf(wire.CodeInvalidRequest, "spec", "a pool may have at most %d bytes", roster.MaxText)
	}
	name, err := s.cfg.CheckPool(req.Spec)
	if err != nil {
		return nil, wire.Errorf(wire.CodeInvalidRequest, "spec", "%s", err.Error())
	}
	now, err := s.cfg.Roster.Read(ctx)
	if err != nil {
		return nil, err
	}
	if len(now.Pools) >= roster.MaxPools {
		return nil, wire.Errorf(wire.CodeInvalidRequest, "spec", "%d pools have been added already: remove some, or put them into the configuration", len(now.Pools))
	}
	before := s.cfg.Table()
	if err := s.cfg.Roster.Add(ctx, roster.Pool{Name: name, Text: req.Spec}); err != nil {
		return nil, err
	}
	for end := time.Now().Add(knownWait); time.Now().Before(end); {
		if t := s.cfg.Table(); t != before && t.PoolIndex(name) >= 0 {
			break
		}
		if err := ledger.Pause(ctx, knownEvery); err != nil {
			return nil, err
		}
	}
	return map[string]any{"pool": name, "routes": s.routesOf(name)}, nil
}

// routesOf are the routes that have the pool as a candidate.
func (s *Service) routesOf(pool string) []string {
	names := []string{}
	for _, r := range s.cfg.Table().Routes() {
		for _, c := range r.Candidates() {
			if c.PoolName == pool {
				names = append(names, r.Name())
				break
			}
		}
	}
	return names
}

// removePool has an added pool take no new jobs, and go when it is idle.
func (s *Service) removePool(ctx context.Context, req adminRequest) (any, error) {
	if s.cfg.Roster == nil {
		return nil, wire.Errorf(wire.CodeUnavailable, "", "this process cannot remove pools")
	}
	if !wire.ValidName(req.Pool) {
		return nil, s.knows(req.Pool)
	}
	err := s.cfg.Roster.Remove(ctx, req.Pool)
	if errors.Is(err, roster.ErrUnknown) {
		if err := s.knows(req.Pool); err != nil {
			return nil, err
		}
		return nil, wire.Errorf(wire.CodeInvalidRequest, "pool",
			"pool %.80q is in the configuration: take it out there, or see `sluice pool drain`", req.Pool)
	}
	return map[string]any{"pool": req.Pool, "removing": true}, err
}
