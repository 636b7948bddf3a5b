package control

import (
	"context"
	"errors"

	"github.com/sluicehq/sluice/broker/capture"
	"github.com/sluicehq/sluice/broker/peek"
	"github.com/sluicehq/sluice/router"
	"github.com/sluicehq/sluice/sdk/wire"
)

// captured is a decision as the ledger has it, and what it saw.
type captured struct {
	Attempt  int             `json:"attempt,omitempty"` // 0: it led to none
	Status   wire.Status     `json:"status"`            // of the record that followed
	Reason   wire.Reason     `json:"reason,omitempty"`  // why the job waits
	Decision *wire.Decision  `json:"decision"`
	Capture  *router.Capture `json:"capture,omitempty"`
	Missing  string          `json:"missing,omitempty"` // why there is no capture
}

// captures gives the recorded decisions about a job and what they saw, so that
// whoever asks can decide again.
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
	decisions := []captured{}
	for _, r := range records {
		d := captured{Status: r.Status, Reason: r.Reason, Decision: r.Entry.Decision}
		if a := r.Entry.Attempt; a != nil && r.Status == wire.Running && r.Reason == "" {
			d.Attempt, d.Decision = a.N, a.Decision
		}
		if d.Decision == nil {
			continue
		}
		switch d.Capture, err = s.capture(ctx, &r.Entry, d.Decision.Seen); {
		case errors.Is(err, capture.ErrLost):
			d.Missing = err.Error()
		case err != nil:
			return nil, err
		case d.Capture == nil:
			d.Missing = "what the decision saw was not captured (records.captures)"
		}
		decisions = append(decisions, d)
	}
	return map[string]any{"decisions": decisions}, nil
}

// capture reads what the decision behind a record saw; nil: it was not captured.
func (s *Service) capture(ctx context.Context, e *wire.Entry, seen string) (*router.Capture, error) {
	if seen == "" {
		return nil, nil
	}
	mark, err := capture.ParseMark(seen)
	if err != nil {
		return nil, err
	}
	r, fault := capture.NewReader(mark.N), error(nil)
	_, err = s.scan(ctx, s.cfg.Subjects.Stream(wire.StreamCaptures), s.cfg.Subjects.Captures(mark.Run, mark.Period), 1,
		func(m peek.Message) *wire.Meta {
			if done := false; fault == nil {
				if done, fault = r.Block(m.Data); done {
					return &e.Meta
				}
			}
			return nil
		})
	if err = errors.Join(err, fault); err != nil {
		return nil, err
	}
	c, err := r.Capture(&e.Meta, &e.Progress)
	if err != nil {
		return nil, err
	}
	c.Input.Meta.Webhook, c.Input.Meta.Trace, c.Input.Meta.TraceState = "", "", "" // no decision looks at them
	return c, nil
}
