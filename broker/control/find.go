package control

import (
	"context"
	"encoding/json"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
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
		m, err := s.scan(ctx, sub.Stream(wire.StreamJobs), sub.Jobs(tenant, "*"), 1, func(msg *nats.Msg, seq uint64, at time.Time) *wire.Meta {
			return matchSubmitted(sub, msg, seq, at, tenant, job)
		})
		if m != nil || err != nil {
			return m, err
		}
	}
	assigned := func(msg *nats.Msg, _ uint64, _ time.Time) *wire.Meta {
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
	sub := s.cfg.Subjects
	req, err := json.Marshal(map[string]uint64{"seq": seq})
	if err != nil {
		return nil, err
	}
	m, err := s.cfg.JS.Conn().RequestWithContext(ctx, directGet+sub.Stream(wire.StreamJobs), req)
	if err != nil {
		return nil, err
	}
	if !stored(m) {
		return nil, nil
	}
	return matchSubmitted(sub, m, seq, storedAt(m), tenant, job), nil
}

// matchSubmitted tells whether a submitted message is the tenant's job; the ID
// is compared before the body is looked at.
func matchSubmitted(sub wire.Subjects, msg *nats.Msg, seq uint64, at time.Time, tenant, job string) *wire.Meta {
	if !wire.IsAutoID(job) && msg.Header.Get(wire.HeaderJobID) != job {
		return nil
	}
	t, class, ok := sub.SplitJobs(said(msg, directSubject))
	if !ok || t != tenant {
		return nil
	}
	parsed, _ := wire.ParseJob(tenant, class, msg.Header, msg.Data, seq, at)
	if parsed.ID != job {
		return nil
	}
	return &parsed.Meta
}

// Headers and statuses of the server's batched direct get.
const (
	directSubject  = "Nats-Subject"
	directSequence = "Nats-Sequence"
	directTime     = "Nats-Time-Stamp"
	directPending  = "Nats-Num-Pending"
	directStatus   = "Status"
)

const directGet = "$JS.API.DIRECT.GET."

// said is what the server says about a message it has read: it puts its
// headers behind those of the publisher, who may have set the same names.
func said(m *nats.Msg, name string) string {
	if v := m.Header[name]; len(v) > 0 {
		return v[len(v)-1]
	}
	return ""
}

// stored reports whether m is a message of the stream; else it is a word of
// the server. A status header alone does not tell: publishers may set one.
func stored(m *nats.Msg) bool { return said(m, directSequence) != "" }

func storedAt(m *nats.Msg) time.Time {
	at, _ := time.Parse(time.RFC3339Nano, said(m, directTime))
	return at
}

// scanBatch and scanBytes bound one answer of a scan.
const (
	scanBatch = 1000
	scanBytes = 16 << 20
)

// scan reads the stream's messages on a subject from a sequence on until match
// returns something.
func (s *Service) scan(ctx context.Context, stream, subject string, from uint64, match func(*nats.Msg, uint64, time.Time) *wire.Meta) (*wire.Meta, error) {
	var found *wire.Meta
	w := walk{nc: s.cfg.JS.Conn(), stream: stream, subject: subject, from: from, batch: scanBatch, bytes: scanBytes}
	_, err := w.run(ctx, func(m *nats.Msg, seq uint64) {
		if found == nil {
			found = match(m, seq, storedAt(m))
		}
	}, func() bool { return found != nil })
	return found, err
}
