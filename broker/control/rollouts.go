package control

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/sluicehq/sluice/broker/rollout"
	"github.com/sluicehq/sluice/sdk/wire"
)

// experiments lists the experiments by name.
func (s *Service) experiments(context.Context, adminRequest) (any, error) {
	type variant struct {
		Name   string `json:"name"`
		Weight int    `json:"weight"`
		Route  string `json:"route"` // that decides
	}
	type experiment struct {
		Name     string    `json:"name"`
		Route    string    `json:"route"`
		Key      string    `json:"key"`
		Variants []variant `json:"variants"`
	}
	list := []experiment{}
	for route, e := range s.plan().Experiments() {
		x := experiment{Name: e.Name, Route: route, Key: e.Key}
		for _, v := range e.Variants {
			x.Variants = append(x.Variants, variant{v.Name, v.Weight, cmp.Or(v.Route, route)})
		}
		list = append(list, x)
	}
	slices.SortFunc(list, func(a, b experiment) int { return strings.Compare(a.Name, b.Name) })
	return map[string]any{"experiments": list}, nil
}

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
