package control

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/sluicehq/sluice/broker/peek"
	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
)

// deadLetter is a job in the dead letters.
type deadLetter struct {
	Tenant   string          `json:"tenant"`
	Job      string          `json:"job_id"`
	Class    wire.Class      `json:"class"`
	Route    string          `json:"route"`
	Attempts int             `json:"attempts"`
	At       string          `json:"at"` // RFC 3339
	Error    wire.Code       `json:"error_code,omitempty"`
	Pool     string          `json:"pool,omitempty"`
	Edited   string          `json:"edited_at,omitempty"` // RFC 3339
	Bytes    int             `json:"body_bytes"`
	History  *wire.Answer    `json:"history,omitempty"`
	Cost     *wire.NanoUSD   `json:"cost_nano_usd,omitempty"`
	Body     json.RawMessage `json:"body,omitempty"` // where it is asked for
}

func describeDead(a *wire.Assignment, h nats.Header, at time.Time) deadLetter {
	d := deadLetter{Tenant: a.Meta.Tenant, Job: a.Meta.ID, Class: a.Meta.Class, Route: a.Meta.Route,
		Attempts: a.Progress.Attempts, At: at.UTC().Format(time.RFC3339Nano), Bytes: a.Meta.BodyBytes}
	if died := h.Get(wire.HeaderUntil); died != "" { // edited since
		d.At, d.Edited = died, d.At
	}
	if a.Attempt != nil {
		d.Error, d.Pool = a.Attempt.ErrorCode, a.Attempt.Pool
	}
	if !a.Progress.Unknown {
		d.Cost = &a.Progress.Spent
	}
	return d
}

// deadJobs gives the dead letters of a tenant ("": of all) to each.
func (s *Service) deadJobs(ctx context.Context, tenant string, each func(wire.Assignment, peek.Message)) error {
	if tenant != "" && !wire.ValidName(tenant) {
		return wire.Errorf(wire.CodeInvalidRequest, "tenant", "a tenant must match [A-Za-z0-9_-]{1,64}")
	}
	_, err := s.scan(ctx, s.cfg.Subjects.Stream(wire.StreamDead), s.cfg.Subjects.Dead(anyOf(tenant), "*"), 1, func(m peek.Message) *wire.Meta {
		if a, err := wire.DecodeAssignment(m.Header); err == nil && a.Meta.Valid() {
			each(a, m)
		}
		return nil
	})
	return err
}

// deadList lists the newest dead letters.
func (s *Service) deadList(ctx context.Context, req adminRequest) (any, error) {
	dead, n := []deadLetter{}, limit(req.Limit)
	err := s.deadJobs(ctx, req.Tenant, func(a wire.Assignment, m peek.Message) {
		dead = append(dead, describeDead(&a, m.Header, m.At))
		if len(dead) >= 2*n {
			dead = append(dead[:0], dead[n:]...)
		}
	})
	return map[string]any{"dead": dead[max(len(dead)-n, 0):]}, err
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

// deadShow shows a dead letter with its history: what the ledger says, or what
// was kept with the letter where retention has removed that.
func (s *Service) deadShow(ctx context.Context, req adminRequest) (any, error) {
	a, m, err := s.deadLetterOf(ctx, req.Tenant, req.Job)
	if err != nil {
		return nil, err
	}
	records, err := s.cfg.Ledger.History(ctx, req.Tenant, req.Job)
	if err != nil {
		return nil, err
	}
	d := describeDead(a, m.Header, m.Time)
	if d.History = ledger.Describe(req.Tenant, req.Job, records); len(records) == 0 {
		if kept := ledger.BuriedHistory(m.Header); kept != nil {
			d.History = kept
		}
	}
	if req.All {
		d.Body = m.Data
	}
	return map[string]any{"dead": d}, nil
}

// deadEdit gives a dead letter another body.
func (s *Service) deadEdit(ctx context.Context, req adminRequest) (any, error) {
	a, m, err := s.deadLetterOf(ctx, req.Tenant, req.Job)
	if err != nil {
		return nil, err
	}
	job, fault := wire.ParseJob(a.Meta.Tenant, a.Meta.Class, nats.Header{wire.HeaderEndpoint: {string(a.Meta.Endpoint)}}, req.Body, a.Meta.Seq, time.Unix(0, a.Meta.SubmittedAt))
	if fault == nil {
		if _, ok := s.cfg.Table().Route(job.Route); !ok {
			fault = wire.Errorf(wire.CodeUnknownRoute, "model", "no route is called %.80q: see the configured routes with `sluice route list`", job.Route)
		}
	}
	if fault != nil {
		return nil, fault
	}
	was := a.Meta
	a.Meta.Route, a.Meta.MaxTokens, a.Meta.Needs, a.Meta.BodyBytes, a.Meta.BodyHash = job.Route, job.MaxTokens, job.Needs, job.BodyBytes, job.BodyHash
	a.Meta.Stream = was.Stream || job.Stream
	h := nats.Header(wire.EncodeAssignment(a))
	h[wire.HeaderHistory] = m.Header[wire.HeaderHistory]
	h.Set(wire.HeaderUntil, describeDead(a, m.Header, m.Time).At)
	h.Set(wire.HeaderExpectedLast, strconv.FormatUint(m.Sequence, 10))
	_, err = s.cfg.JS.PublishMsg(ctx, &nats.Msg{Subject: m.Subject, Header: h, Data: req.Body})
	if err != nil {
		return nil, err
	}
	return map[string]any{"dead": describeDead(a, h, time.Now())}, nil
}

// deadRequeue runs dead jobs again. Each goes on under its ID: its subject in
// the ledger continues with a waiting record, and its attempts count on.
func (s *Service) deadRequeue(ctx context.Context, req adminRequest) (any, error) {
	if !req.All {
		if err := s.requeueDead(ctx, req.Tenant, req.Job); err != nil {
			return nil, err
		}
		return map[string]any{"requeued": []string{req.Job}}, nil
	}
	type failed struct {
		Tenant string `json:"tenant"`
		Job    string `json:"job_id"`
		Error  string `json:"error"`
	}
	var todo []wire.Meta
	n, more := limit(req.Limit), false
	err := s.deadJobs(ctx, req.Tenant, func(a wire.Assignment, m peek.Message) {
		if more = len(todo) == n || m.Seq <= req.After; len(todo) < n && m.Seq > req.After {
			a.Meta.Seq = m.Seq
			todo = append(todo, a.Meta)
		}
	})
	if err != nil {
		return nil, err
	}
	requeued, refused, after := []string{}, []failed{}, req.After
	for _, m := range todo {
		if err := s.requeueDead(ctx, m.Tenant, m.ID); err != nil {
			refused = append(refused, failed{m.Tenant, m.ID, err.Error()})
		} else {
			requeued = append(requeued, m.ID)
		}
		after = m.Seq
	}
	return map[string]any{"requeued": requeued, "failed": refused, "more": more && len(todo) == n, "after": after}, nil
}

func anyOf(tenant string) string {
	if tenant == "" {
		return "*"
	}
	return tenant
}

// requeueDead brings one dead job back: first the record, which only one of
// several can write, then the job, then the dead letter goes. Whoever repeats
// it after a crash goes on where it stopped.
func (s *Service) requeueDead(ctx context.Context, tenant, job string) error {
	a, m, err := s.deadLetterOf(ctx, tenant, job)
	if err != nil {
		return err
	}
	last, err := s.cfg.Ledger.Last(ctx, tenant, job)
	if err != nil {
		return err
	}
	now := time.Now()
	again := wire.Assignment{Meta: a.Meta}
	again.Meta.Deadline, again.Meta.NotBefore = 0, 0
	// All earlier attempts are excused, and paid for.
	again.Progress.Attempts, again.Progress.Held = a.Progress.Attempts, a.Progress.Attempts
	again.Progress.ReadyAt = now.UnixNano()
	switch {
	case last != nil && last.Reason == wire.ReasonRequeue && last.Status == wire.Waiting:
		again.Progress.Expect = last.Seq // written, but perhaps not queued
	case last == nil || last.Status.Terminal():
		rec := &wire.Record{Status: wire.Waiting, Reason: wire.ReasonRequeue, Until: now, Entry: wire.Entry{Meta: again.Meta, Progress: again.Progress}}
		expect := uint64(0)
		if last != nil {
			expect = last.Seq
		}
		if again.Progress.Expect, err = s.cfg.Ledger.Append(ctx, rec, expect); err != nil {
			return err
		}
	default:
		return wire.Errorf(wire.CodeInvalidRequest, "", "job %s of tenant %s is %s: it has been requeued already", job, tenant, last.Status)
	}
	if err := s.cfg.Ledger.Requeue(ctx, &again, m.Data, now, now); err != nil {
		return err
	}
	stream, err := s.cfg.JS.Stream(ctx, s.cfg.Subjects.Stream(wire.StreamDead))
	if err != nil {
		return err
	}
	if err := stream.DeleteMsg(ctx, m.Sequence); err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) {
		return err
	}
	return nil
}
