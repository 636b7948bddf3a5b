package control

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/sluicehq/sluice/broker/peek"
	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
)

// listJobs lists the jobs with the newest records, newest first; a tenant and
// a status may be asked for. Jobs that have no record yet are not in it.
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
		if jobs, err = s.newest(ctx, name, subject, from, req.Status); err != nil {
			return nil, err
		}
		if len(jobs) >= want || from <= max(state.FirstSeq, 1) {
			break
		}
	}
	return map[string]any{"jobs": jobs[:min(len(jobs), want)]}, nil
}

// newest folds the records from a sequence on into jobs, newest first.
func (s *Service) newest(ctx context.Context, stream, subject string, from uint64, status wire.Status) ([]*wire.Answer, error) {
	last := map[string]*ledger.Stored{}
	var order []*ledger.Stored
	_, err := s.scan(ctx, stream, subject, from, func(m peek.Message) *wire.Meta {
		rec, err := wire.DecodeRecord(m.Header, nil)
		if err != nil {
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
		if last[m.Tenant+"."+m.ID] != st || status != "" && st.Status != status {
			continue
		}
		a := ledger.Describe(m.Tenant, m.ID, []*ledger.Stored{st})
		a.History = nil
		jobs = append(jobs, a)
	}
	return jobs, nil
}

// deadLetter is a job in the dead letters, without its body.
type deadLetter struct {
	Tenant   string        `json:"tenant"`
	Job      string        `json:"job_id"`
	Class    wire.Class    `json:"class"`
	Route    string        `json:"route"`
	Attempts int           `json:"attempts"`
	At       string        `json:"at"` // RFC 3339
	Error    wire.Code     `json:"error_code,omitempty"`
	Pool     string        `json:"pool,omitempty"`
	Bytes    int           `json:"body_bytes"`
	History  *wire.Answer  `json:"history,omitempty"`
	Cost     *wire.NanoUSD `json:"cost_nano_usd,omitempty"`
}

func describeDead(a *wire.Assignment, at time.Time) deadLetter {
	d := deadLetter{Tenant: a.Meta.Tenant, Job: a.Meta.ID, Class: a.Meta.Class, Route: a.Meta.Route,
		Attempts: a.Progress.Attempts, At: at.UTC().Format(time.RFC3339Nano), Bytes: a.Meta.BodyBytes}
	if a.Attempt != nil {
		d.Error, d.Pool = a.Attempt.ErrorCode, a.Attempt.Pool
	}
	if !a.Progress.Unknown {
		d.Cost = &a.Progress.Spent
	}
	return d
}

func (s *Service) deadList(ctx context.Context, req adminRequest) (any, error) {
	tenant := req.Tenant
	if tenant == "" {
		tenant = "*"
	}
	dead := []deadLetter{}
	_, err := s.scan(ctx, s.cfg.Subjects.Stream(wire.StreamDead), s.cfg.Subjects.Dead(tenant, "*"), 1,
		func(m peek.Message) *wire.Meta {
			if a, err := wire.DecodeAssignment(m.Header); err == nil && a.Meta.Valid() {
				dead = append(dead, describeDead(&a, m.At))
			}
			return nil
		})
	if n := limit(req.Limit); len(dead) > n {
		dead = dead[len(dead)-n:]
	}
	return map[string]any{"dead": dead}, err
}

// deadLetterOf reads one dead letter.
func (s *Service) deadLetterOf(ctx context.Context, tenant, job string) (*wire.Assignment, *jetstream.RawStreamMsg, error) {
	if !wire.ValidName(tenant) || !wire.ValidName(job) {
		return nil, nil, wire.Errorf(wire.CodeInvalidRequest, "", "tenant and job must match [A-Za-z0-9_-]{1,64}")
	}
	stream, err := s.cfg.JS.Stream(ctx, s.cfg.Subjects.Stream(wire.StreamDead))
	if err != nil {
		return nil, nil, err
	}
	m, err := stream.GetLastMsgForSubject(ctx, s.cfg.Subjects.Dead(tenant, job))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, nil, wire.Errorf(wire.CodeNotFound, "", "no dead letter of job %s of tenant %s: see `sluice dead list`", job, tenant)
	}
	if err != nil {
		return nil, nil, err
	}
	a, err := wire.DecodeAssignment(m.Header)
	return &a, m, err
}

func (s *Service) deadShow(ctx context.Context, req adminRequest) (any, error) {
	a, m, err := s.deadLetterOf(ctx, req.Tenant, req.Job)
	if err != nil {
		return nil, err
	}
	records, err := s.cfg.Ledger.History(ctx, req.Tenant, req.Job)
	if err != nil {
		return nil, err
	}
	d := describeDead(a, m.Time)
	d.History = ledger.Describe(req.Tenant, req.Job, records)
	return map[string]any{"dead": d}, nil
}

// deadRequeue runs dead jobs again. A finished job keeps its terminal record,
// so the new run is a job of its own: `<job>-r<n>`, labelled with the old ID.
func (s *Service) deadRequeue(ctx context.Context, req adminRequest) (any, error) {
	var todo []wire.Assignment
	if req.All {
		_, err := s.scan(ctx, s.cfg.Subjects.Stream(wire.StreamDead), s.cfg.Subjects.Dead(anyOf(req.Tenant), "*"), 1,
			func(m peek.Message) *wire.Meta {
				if a, err := wire.DecodeAssignment(m.Header); err == nil && a.Meta.Valid() {
					todo = append(todo, a)
				}
				return nil
			})
		if err != nil {
			return nil, err
		}
	} else {
		a, _, err := s.deadLetterOf(ctx, req.Tenant, req.Job)
		if err != nil {
			return nil, err
		}
		todo = append(todo, *a)
	}
	requeued := []string{}
	for i := range todo {
		id, err := s.rerun(ctx, &todo[i].Meta)
		if err != nil {
			return nil, err
		}
		requeued = append(requeued, id)
	}
	return map[string]any{"requeued": requeued}, nil
}

func anyOf(tenant string) string {
	if tenant == "" {
		return "*"
	}
	return tenant
}

// labelRequeued names the job that a requeued one comes from.
const labelRequeued = "requeued_from"

// rerun submits a dead job again and then forgets the dead letter. The ID is
// derived from the dead letter, so a crash in between does not run it twice.
func (s *Service) rerun(ctx context.Context, m *wire.Meta) (string, error) {
	_, raw, err := s.deadLetterOf(ctx, m.Tenant, m.ID)
	if err != nil {
		return "", err
	}
	suffix := "-r" + strconv.FormatUint(raw.Sequence, 10)
	again := *m
	again.ID = m.ID[:min(len(m.ID), 64-len(suffix))] + suffix
	again.Seq, again.SubmittedAt, again.Deadline, again.NotBefore = raw.Sequence, time.Now().UnixNano(), 0, 0
	again.Labels = map[string]string{labelRequeued: m.ID}
	for k, v := range m.Labels {
		if _, ok := again.Labels[k]; !ok {
			again.Labels[k] = v
		}
	}
	now := time.Now()
	if err := s.cfg.Ledger.Requeue(ctx, &wire.Assignment{Meta: again}, raw.Data, now, now); err != nil {
		return "", err
	}
	stream, err := s.cfg.JS.Stream(ctx, s.cfg.Subjects.Stream(wire.StreamDead))
	if err != nil {
		return "", err
	}
	return again.ID, stream.DeleteMsg(ctx, raw.Sequence)
}
