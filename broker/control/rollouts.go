package control

import (
	"context"
	"slices"

	"github.com/sluicehq/sluice/broker/rollout"
	"github.com/sluicehq/sluice/sdk/wire"
)

// rollouts lists the rollouts by name.
func (s *Service) rollouts(context.Context, adminRequest) (any, error) {
	list := []rollout.Status{}
	if w := s.cfg.Rollouts; w != nil {
		for _, name := range slices.Sorted(slices.Values(w.Names())) {
			if st, ok := w.Status(name); ok {
				list = append(list, st)
			}
		}
	}
	return map[string]any{"rollouts": list}, nil
}

// setRollout has an operator's action done.
func (s *Service) setRollout(ctx context.Context, req adminRequest) (any, error) {
	w := s.cfg.Rollouts
	if w == nil {
		return nil, wire.Errorf(wire.CodeInvalidRequest, "rollout", "no rollouts are configured")
	}
	if _, ok := w.Status(req.Rollout); !ok {
		return nil, wire.Errorf(wire.CodeInvalidRequest, "rollout", "no rollout is called %.80q: see `sluice rollout list`", req.Rollout)
	}
	st, err := w.Do(ctx, req.Rollout, rollout.Action(req.Action))
	if err != nil {
		return nil, wire.Errorf(wire.CodeInvalidRequest, "action", "%s: %s", req.Rollout, err)
	}
	return map[string]any{"rollout": req.Rollout, "state": st}, nil
}
