package control

import (
	"context"
	"encoding/json"

	"github.com/sluicehq/sluice/broker/peek"
	"github.com/sluicehq/sluice/sdk/wire"
)

// recorded is a decision as the ledger has it.
type recorded struct {
	Attempt  int            `json:"attempt"`
	Decision *wire.Decision `json:"decision"`
}

// captures gives what the decisions about a job saw, beside what was recorded
// of them, so that whoever asks can decide again. A job that is not of the
// sample has none.
func (s *Service) captures(ctx context.Context, req adminRequest) (any, error) {
	if !wire.ValidName(req.Tenant) || !wire.ValidName(req.Job) {
		return nil, wire.Errorf(wire.CodeInvalidRequest, "", "tenant and job must match [A-Za-z0-9_-]{1,64}")
	}
	records, err := s.cfg.Ledger.History(ctx, req.Tenant, req.Job)
	if err != nil {
		return nil, err
	}
	if len(records) == 0 {
		return nil, wire.Errorf(wire.CodeNotFound, "job", "job %s of tenant %s has no record", req.Job, req.Tenant)
	}
	decisions := []recorded{}
	for _, r := range records {
		if a := r.Entry.Attempt; r.Status == wire.Running && r.Reason == "" && a != nil && a.Decision != nil {
			decisions = append(decisions, recorded{a.N, a.Decision})
		}
	}
	captures := []json.RawMessage{}
	_, err = s.scan(ctx, s.cfg.Subjects.Stream(wire.StreamCaptures), s.cfg.Subjects.Captures(req.Tenant, req.Job), 1,
		func(m peek.Message) *wire.Meta {
			captures = append(captures, m.Data)
			return nil
		})
	return map[string]any{"recorded": decisions, "captures": captures}, err
}
