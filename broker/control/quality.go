package control

import (
	"context"
	"errors"

	"github.com/sluicehq/sluice/broker/observe"
	"github.com/sluicehq/sluice/sdk/wire"
)

// reportQuality takes a report of how good an answer was: of a job, for the
// pool and model that succeeded with it, or of a pool and model outright.
func (s *Service) reportQuality(ctx context.Context, req adminRequest) (any, error) {
	if req.Score == nil || !(*req.Score >= 0 && *req.Score <= 1) {
		return nil, wire.Errorf(wire.CodeInvalidRequest, "score", "score must be a number from 0 (useless) to 1 (best)")
	}
	switch {
	case req.Job != "":
		if !wire.ValidName(req.Tenant) || !wire.ValidName(req.Job) || req.Pool != "" || req.Model != "" {
			return nil, wire.Errorf(wire.CodeInvalidRequest, "job", "either tenant and job are needed, or pool and model")
		}
		last, err := s.cfg.Ledger.Last(ctx, req.Tenant, req.Job)
		if err != nil {
			return nil, err
		}
		if last == nil || last.Status != wire.Succeeded || last.Entry.Attempt == nil {
			return nil, wire.Errorf(wire.CodeNotFound, "job", "no job %s of tenant %s has succeeded, or its record is older than the retention", req.Job, req.Tenant)
		}
		req.Pool, req.Model = last.Entry.Attempt.Pool, last.Entry.Attempt.Model
	default:
		req.Tenant = ""
		t := s.cfg.Table()
		if i := t.PoolIndex(req.Pool); i < 0 || t.TargetIndex(i, req.Model) < 0 {
			return nil, wire.Errorf(wire.CodeInvalidRequest, "model", "no route has the upstream model %.80q of pool %.80q: see `sluice route list`", req.Model, req.Pool)
		}
	}
	q, err := observe.Report(ctx, s.cfg.JS, s.cfg.Subjects, req.Pool, req.Model, *req.Score, req.Tenant, req.Job)
	if errors.Is(err, observe.ErrReported) {
		return nil, wire.Errorf(wire.CodeInvalidRequest, "job", "%s", err.Error())
	}
	if err != nil {
		return nil, err
	}
	return map[string]any{"pool": q.Pool, "model": q.Model, "score": q.Score, "reports": q.Reports}, nil
}
