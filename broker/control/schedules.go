package control

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/sluicehq/sluice/broker/cron"
	"github.com/sluicehq/sluice/broker/peek"
	"github.com/sluicehq/sluice/sdk/wire"
)

// scheduleInfo is what is shown of a schedule.
type scheduleInfo struct {
	cron.Schedule
	Next  string `json:"next,omitempty"` // RFC 3339
	Bytes int    `json:"body_bytes"`
}

func describeSchedule(s *cron.Schedule, now time.Time, whole bool) scheduleInfo {
	i := scheduleInfo{Schedule: *s, Bytes: len(s.Body)}
	if next := s.Next(now); !next.IsZero() {
		i.Next = next.Format(time.RFC3339)
	}
	if !whole {
		i.Body = nil
	}
	return i
}

// addSchedule stores a schedule; one of that name is replaced only on demand.
func (s *Service) addSchedule(ctx context.Context, req adminRequest) (any, error) {
	now := time.Now()
	sched := &req.Schedule
	if err := sched.Check(now); err != nil {
		return nil, err
	}
	subject, h, body := sched.Message(s.cfg.Subjects)
	job, err := wire.ParseJob(sched.Tenant, sched.Class, h, body, 1, now)
	if err == nil {
		if _, ok := s.cfg.Table().Route(job.Route); !ok {
			err = wire.Errorf(wire.CodeUnknownRoute, "model", "no route is called %.80q: see the configured routes with `sluice route list`", job.Route)
		}
	}
	if err != nil {
		return nil, err
	}
	if !req.Replace {
		h[wire.HeaderExpectedLast] = []string{"0"}
	}
	if err := s.storeSchedule(ctx, subject, h, body); err != nil {
		return nil, err
	}
	return map[string]any{"schedule": describeSchedule(sched, now, false)}, nil
}

func (s *Service) storeSchedule(ctx context.Context, subject string, h nats.Header, body []byte) error {
	_, err := s.cfg.JS.PublishMsg(ctx, &nats.Msg{Subject: subject, Header: h, Data: body})
	var api *jetstream.APIError
	if errors.As(err, &api) && (api.ErrorCode == 10071 || api.ErrorCode == 10164) {
		return wire.Errorf(wire.CodeInvalidRequest, "name", "the schedule has changed meanwhile, or exists already: look with `sluice schedule list`, replace it with --replace")
	}
	return err
}

// listSchedules lists the schedules, of one tenant if it is named.
func (s *Service) listSchedules(ctx context.Context, req adminRequest) (any, error) {
	if req.Tenant != "" && !wire.ValidName(req.Tenant) {
		return nil, wire.Errorf(wire.CodeInvalidRequest, "tenant", "a tenant must match [A-Za-z0-9_-]{1,64}")
	}
	now, list := time.Now(), []scheduleInfo{}
	_, err := s.scan(ctx, s.cfg.Subjects.Stream(wire.StreamSched), s.cfg.Subjects.Cron(anyOf(req.Tenant), "*"), 1, func(m peek.Message) *wire.Meta {
		if x, ok := cron.Read(s.cfg.Subjects, m.Stored, m.Header, m.Data); ok {
			list = append(list, describeSchedule(x, now, false))
		}
		return nil
	})
	slices.SortFunc(list, func(a, b scheduleInfo) int {
		return strings.Compare(a.Tenant+" "+a.Name, b.Tenant+" "+b.Name)
	})
	return map[string]any{"schedules": list}, err
}

// scheduleOf reads one schedule and its sequence.
func (s *Service) scheduleOf(ctx context.Context, req adminRequest) (*cron.Schedule, uint64, error) {
	tenant, name := req.Schedule.Tenant, req.Schedule.Name
	if !wire.ValidName(tenant) || !wire.ValidName(name) {
		return nil, 0, wire.Errorf(wire.CodeInvalidRequest, "", "tenant and name must match [A-Za-z0-9_-]{1,64}")
	}
	stream, err := s.cfg.JS.Stream(ctx, s.cfg.Subjects.Stream(wire.StreamSched))
	if err != nil {
		return nil, 0, err
	}
	m, err := stream.GetLastMsgForSubject(ctx, s.cfg.Subjects.Cron(tenant, name))
	if err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, 0, err
	}
	if err == nil {
		if x, ok := cron.Read(s.cfg.Subjects, m.Subject, m.Header, m.Data); ok {
			return x, m.Sequence, nil
		}
	}
	return nil, 0, wire.Errorf(wire.CodeNotFound, "", "tenant %s has no schedule %s: see `sluice schedule list`", tenant, name)
}

func (s *Service) showSchedule(ctx context.Context, req adminRequest) (any, error) {
	x, _, err := s.scheduleOf(ctx, req)
	if err != nil {
		return nil, err
	}
	return map[string]any{"schedule": describeSchedule(x, time.Now(), true)}, nil
}

// removeSchedule forgets a schedule; jobs that it has submitted go on.
func (s *Service) removeSchedule(ctx context.Context, req adminRequest) (any, error) {
	x, _, err := s.scheduleOf(ctx, req)
	if err != nil {
		return nil, err
	}
	stream, err := s.cfg.JS.Stream(ctx, s.cfg.Subjects.Stream(wire.StreamSched))
	if err == nil {
		err = stream.Purge(ctx, jetstream.WithPurgeSubject(s.cfg.Subjects.Cron(x.Tenant, x.Name)))
	}
	return map[string]any{"schedule": describeSchedule(x, time.Now(), false)}, err
}

// pauseSchedule stops a schedule from firing, or has it fire again. What would
// have fired meanwhile does not.
func (s *Service) pauseSchedule(ctx context.Context, req adminRequest) (any, error) {
	x, seq, err := s.scheduleOf(ctx, req)
	if err != nil {
		return nil, err
	}
	if x.Paused != req.Schedule.Paused {
		x.Paused = req.Schedule.Paused
		subject, h, body := x.Message(s.cfg.Subjects)
		h[wire.HeaderExpectedLast] = []string{strconv.FormatUint(seq, 10)}
		if err := s.storeSchedule(ctx, subject, h, body); err != nil {
			return nil, err
		}
	}
	return map[string]any{"schedule": describeSchedule(x, time.Now(), false)}, nil
}
