package control

import (
	"context"
	"strconv"

	"github.com/sluicehq/sluice/broker/peek"
	"github.com/sluicehq/sluice/sdk/wire"
)

// queued looks for a job without a record in the streams it may still be in.
// It returns nil if the job is in none. A job with an automatic ID is one
// read away; any other is searched for among the tenant's queued jobs.
func (s *Service) queued(ctx context.Context, tenant, job string) (*wire.Meta, error) {
	sub := s.cfg.Subjects
	if wire.IsAutoID(job) {
		if m, err := s.bySequence(ctx, tenant, job); m != nil || err != nil {
			return m, err
		}
	} else {
		m, err := s.scan(ctx, sub.Stream(wire.StreamJobs), sub.Jobs(tenant, "*"), 1, func(msg peek.Message) *wire.Meta {
			return matchSubmitted(sub, msg, tenant, job)
		})
		if m != nil || err != nil {
			return m, err
		}
	}
	assigned := func(msg peek.Message) *wire.Meta {
		a, err := wire.DecodeAssignment(msg.Header)
		if err == nil && a.Meta.Tenant == tenant && a.Meta.ID == job {
			return &a.Meta
		}
		return nil
	}
	for _, q := range []struct{ stream, subject string }{
		{wire.StreamJobs, sub.BacklogAll()}, // parked
		{wire.StreamSched, sub.Requeue(tenant, "*")},
		{wire.StreamWork, sub.WorkAll()},
	} {
		if m, err := s.scan(ctx, sub.Stream(q.stream), q.subject, 1, assigned); m != nil || err != nil {
			return m, err
		}
	}
	return nil, nil
}

func (s *Service) bySequence(ctx context.Context, tenant, job string) (*wire.Meta, error) {
	seq, err := strconv.ParseUint(job[1:], 10, 64)
	if err != nil || seq == 0 {
		return nil, nil
	}
	m, ok, err := peek.At(ctx, s.cfg.JS.Conn(), s.cfg.Subjects.Stream(wire.StreamJobs), seq)
	if err != nil || !ok {
		return nil, err
	}
	return matchSubmitted(s.cfg.Subjects, m, tenant, job), nil
}

// matchSubmitted tells whether a submitted message is the tenant's job; the ID
// is compared before the body is looked at.
func matchSubmitted(sub wire.Subjects, msg peek.Message, tenant, job string) *wire.Meta {
	if !wire.IsAutoID(job) && msg.Header.Get(wire.HeaderJobID) != job {
		return nil
	}
	t, class, ok := sub.SplitJobs(msg.Stored)
	if !ok || t != tenant {
		return nil
	}
	parsed, _ := wire.ParseJob(tenant, class, msg.Header, msg.Data, msg.Seq, msg.At)
	if parsed.ID != job {
		return nil
	}
	return &parsed.Meta
}

// scanBatch and scanBytes bound one answer of a scan.
const (
	scanBatch = 1000
	scanBytes = 16 << 20
)

// scan reads the stream's messages on a subject from a sequence on until match
// returns something.
func (s *Service) scan(ctx context.Context, stream, subject string, from uint64, match func(peek.Message) *wire.Meta) (*wire.Meta, error) {
	var found *wire.Meta
	w := peek.Walk{Conn: s.cfg.JS.Conn(), Stream: stream, Subject: subject, From: from, Batch: scanBatch, Bytes: scanBytes}
	_, err := w.Run(ctx, func(m peek.Message) {
		if found == nil {
			found = match(m)
		}
	}, func() bool { return found != nil })
	return found, err
}
