package control

import (
	"context"
	"strconv"

	"github.com/sluicehq/sluice/broker/cron"
	"github.com/sluicehq/sluice/broker/peek"
	"github.com/sluicehq/sluice/sdk/wire"
)

// queued looks for a job without a record in the queues that it may still be
// in. It returns nil if the job is in none.
func (s *Service) queued(ctx context.Context, tenant, job string) (*wire.Meta, error) {
	if wire.IsAutoID(job) {
		if m, err := s.bySequence(ctx, tenant, job); m != nil || err != nil {
			return m, err
		}
	}
	if m, err := s.index.find(ctx, tenant, job); m != nil || err != nil {
		return m, err
	}
	// The pools' queues are short.
	return s.scan(ctx, s.cfg.Subjects.Stream(wire.StreamWork), s.cfg.Subjects.WorkAll(), 1, func(msg peek.Message) *wire.Meta {
		if m := metaOf(s.cfg.Subjects, msg); m != nil && m.Tenant == tenant && m.ID == job {
			return m
		}
		return nil
	})
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
	if meta := metaOf(s.cfg.Subjects, m); meta != nil && meta.Tenant == tenant && meta.ID == job {
		return meta, nil
	}
	return nil, nil
}

// metaOf is the job of a message in a queue: submitted, fired, or queued by
// Sluice itself; nil: there is none to be read.
func metaOf(s wire.Subjects, m peek.Message) *wire.Meta {
	tenant, class, ok := s.SplitJobs(m.Stored)
	switch {
	case ok && m.Stored == s.Jobs(tenant, class):
		job, _ := wire.ParseJob(tenant, class, m.Header, m.Data, m.Seq, m.At)
		return &job.Meta
	case ok && m.Stored == s.Requeue(tenant, class) && cron.Fired(s, m.Header):
		job, _ := cron.Job(s, m.Header, class, m.Data, m.Seq, m.At)
		return &job.Meta
	}
	if a, err := wire.DecodeAssignment(m.Header); err == nil && a.Meta.Valid() {
		return &a.Meta
	}
	return nil
}

// idOf is the job's ID, without a look at a submitted body; empty for one that
// is found by its sequence.
func idOf(s wire.Subjects, m peek.Message) string {
	if tenant, class, ok := s.SplitJobs(m.Stored); ok && m.Stored == s.Jobs(tenant, class) {
		return m.Header.Get(wire.HeaderJobID)
	}
	if meta := metaOf(s, m); meta != nil {
		return meta.ID
	}
	return ""
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
