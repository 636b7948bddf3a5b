package control

import (
	"context"

	"github.com/sluicehq/sluice/broker/peek"
	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
)

// listJobs lists the jobs with the newest records, newest first; a tenant, a
// status and a batch may be asked for. Jobs that have no record yet are not in it.
func (s *Service) listJobs(ctx context.Context, req adminRequest) (any, error) {
	if req.Tenant != "" && !wire.ValidName(req.Tenant) {
		return nil, wire.Errorf(wire.CodeInvalidRequest, "tenant", "a tenant must match [A-Za-z0-9_-]{1,64}")
	}
	name := s.cfg.Subjects.Stream(wire.StreamLedger)
	stream, err := s.cfg.JS.Stream(ctx, name)
	if err != nil {
		return nil, err
	}
	state := stream.CachedInfo().State
	subject := s.cfg.Subjects.Records("*", "*")
	if req.Tenant != "" {
		subject = s.cfg.Subjects.Records(req.Tenant, "*")
	}
	want := limit(req.Limit)
	var jobs []*wire.Answer
	for window := uint64(want) * 4; ; window *= 4 {
		from := uint64(1)
		if state.LastSeq > window {
			from = state.LastSeq - window + 1
		}
		if jobs, err = s.newest(ctx, name, subject, from, req); err != nil {
			return nil, err
		}
		if len(jobs) >= want || from <= max(state.FirstSeq, 1) {
			break
		}
	}
	return map[string]any{"jobs": jobs[:min(len(jobs), want)]}, nil
}

// newest folds the records from a sequence on into jobs, newest first.
func (s *Service) newest(ctx context.Context, stream, subject string, from uint64, req adminRequest) ([]*wire.Answer, error) {
	last := map[string]*ledger.Stored{}
	var order []*ledger.Stored
	_, err := s.scan(ctx, stream, subject, from, func(m peek.Message) *wire.Meta {
		rec, err := wire.DecodeRecord(m.Header, nil)
		if err != nil || rec.Entry.Meta.Shadow != "" {
			return nil
		}
		st := &ledger.Stored{Record: rec, Seq: m.Seq, At: m.At}
		order = append(order, st)
		last[rec.Entry.Meta.Tenant+"."+rec.Entry.Meta.ID] = st
		return nil
	})
	if err != nil {
		return nil, err
	}
	jobs := []*wire.Answer{}
	for i := len(order) - 1; i >= 0; i-- {
		st := order[i]
		m := &st.Entry.Meta
		if last[m.Tenant+"."+m.ID] != st || req.Status != "" && st.Status != req.Status || req.Batch != "" && m.Batch != req.Batch {
			continue
		}
		a := ledger.Describe(m.Tenant, m.ID, []*ledger.Stored{st})
		a.History = nil
		jobs = append(jobs, a)
	}
	return jobs, nil
}
