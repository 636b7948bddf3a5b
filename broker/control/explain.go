package control

import (
	"context"
	"errors"
	"math"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/sluicehq/sluice/broker/budget"
	"github.com/sluicehq/sluice/broker/budget/account"
	"github.com/sluicehq/sluice/broker/steer"
	"github.com/sluicehq/sluice/router"
	"github.com/sluicehq/sluice/sdk/wire"
)

// explain decides about a job without running it. The message is a job as a
// client would publish it, headers included.
func (s *Service) explain(ctx context.Context, m *nats.Msg) any {
	now := time.Now()
	t := s.cfg.Table()
	work, err := s.cfg.JS.Stream(ctx, s.cfg.Subjects.Stream(wire.StreamWork))
	if err != nil {
		return adminFailure(wire.CodeInternal, err.Error())
	}
	info, err := work.Info(ctx, jetstream.WithSubjectFilter(s.cfg.Subjects.WorkAll()))
	if err != nil {
		return adminFailure(wire.CodeInternal, err.Error())
	}
	load := make([]router.Load, len(t.Pools()))
	for i, p := range t.Pools() {
		load[i].Depth = int32(info.State.Subjects[s.cfg.Subjects.Work(p.Name)])
	}
	var stats []router.Stats
	if s.cfg.Observer != nil {
		if facts := s.cfg.Observer.Fresh(); facts.Table == t {
			for i := range load {
				facts.Fill(i, now.UnixNano(), info.State.LastSeq, &load[i])
			}
			stats = facts.Stats
		}
	}
	e, err := s.plan().ExplainMessage(&steer.View{Table: t, Load: load, Stats: stats, Tier: s.cfg.Tier, Judge: s.judge(t), Now: now}, m.Header, m.Data)
	var fault *wire.Error
	if errors.As(err, &fault) {
		return adminFailure(fault.Code, fault.Message)
	}
	return e
}

// judge asks the budgets about a try of an explanation; nil: there are none.
func (s *Service) judge(t *router.Table) steer.Judge {
	if s.cfg.Budgets == nil || !s.cfg.Budgets.Active() {
		return nil
	}
	return func(y *steer.Try) (barred []router.Reason, bounds []steer.Bound) {
		cases, bound := s.cfg.Budgets.Judge(y.Input.Meta, 1, y.Input.Now, budget.Offers(t, y.Route), nil)
		if !bound {
			return nil, nil
		}
		for i, c := range y.Route.Candidates() {
			x := &cases[i]
			if !x.Bound {
				continue
			}
			b := steer.Bound{Pool: c.PoolName, Model: c.Model, Says: x.Kind.String(), Tokens: x.Draw.Tokens}
			if !x.Draw.Unknown {
				b.USD = (*wire.NanoUSD)(&x.Draw.USD)
			}
			if x.Budget != nil && x.Kind != account.Fits {
				b.Budget, b.Then = x.Budget.ID(), string(x.Budget.OnExceeded)
			}
			if x.Kind == account.Exceeded && x.Until < math.MaxInt64 {
				b.Until = time.Unix(0, x.Until).UTC().Format(time.RFC3339)
			}
			bounds = append(bounds, b)
		}
		return budget.Barred(cases), bounds
	}
}
