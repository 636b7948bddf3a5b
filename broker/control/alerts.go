package control

import (
	"context"

	"github.com/sluicehq/sluice/sdk/wire"
)

// alerts lists those that are raised, and with all also those that were; with a
// tenant, those that name it.
func (s *Service) alerts(ctx context.Context, req adminRequest) (any, error) {
	list := []wire.Alert{}
	if s.cfg.Alerts == nil {
		return map[string]any{"alerts": list}, nil
	}
	known, err := s.cfg.Alerts(ctx)
	for _, a := range known {
		if (a.Raised || req.All) && (req.Tenant == "" || a.Subject["tenant"] == req.Tenant) {
			list = append(list, a)
		}
	}
	return map[string]any{"alerts": list}, err
}
