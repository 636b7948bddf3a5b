package control

import (
	"context"
	"time"

	"github.com/sluicehq/sluice/broker/budget"
	"github.com/sluicehq/sluice/sdk/wire"
)

// budgets lists how budgets stand; with a tenant, those of the tenant.
func (s *Service) budgets(_ context.Context, req adminRequest) (any, error) {
	list := []budget.Entry{}
	if s.cfg.Budgets != nil {
		list = s.cfg.Budgets.List(req.Tenant, time.Now())
	}
	return map[string]any{"budgets": list}, nil
}

// setBudget sets a limit while running.
func (s *Service) setBudget(ctx context.Context, req adminRequest) (any, error) {
	if s.cfg.Budgets == nil || req.Budget == nil {
		return nil, wire.Errorf(wire.CodeInvalidRequest, "budget", "the request must have a budget")
	}
	id, err := s.cfg.Budgets.SetLimit(ctx, *req.Budget)
	return map[string]any{"id": id}, err
}

// removeBudget takes back a limit that was set while running.
func (s *Service) removeBudget(ctx context.Context, req adminRequest) (any, error) {
	if s.cfg.Budgets == nil {
		return nil, wire.Errorf(wire.CodeInvalidRequest, "id", "there are no budgets")
	}
	return map[string]any{"id": req.ID}, s.cfg.Budgets.RemoveLimit(ctx, req.ID)
}
