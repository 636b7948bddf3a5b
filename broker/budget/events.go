package budget

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/sluicehq/sluice/broker/budget/account"
	"github.com/sluicehq/sluice/sdk/wire"
)

// Kinds of events; the last token of their subject.
const (
	// EventSpent: what is spent has reached one of the budget's alerts.
	EventSpent = "spent"
	// EventPace: at the pace of late, and of the last moments, the budget will
	// be used up before its window ends.
	EventPace = "pace"
)

// Event is the JSON of an event.
type Event struct {
	Kind    string `json:"event"`
	At      string `json:"at"`                // RFC 3339
	Percent int    `json:"percent,omitempty"` // the alert that was reached
	Budget  Entry  `json:"budget"`
}

// raised is what has been raised of a budget in a period: its window, or where
// that rolls one of its length.
type raised struct {
	Period  int64 `json:"period"`
	Percent int   `json:"percent"`
	Pace    bool  `json:"pace"`
}

// paceFrom is the share of a limit, in percent, below which no pace is judged.
const paceFrom = 10

// due is what should have been raised of a budget by now.
func (r raised) due(s *account.Standing) raised {
	period := s.Start
	if s.Budget.Window.Rolling && s.End > s.Start {
		period = s.End - s.End%(s.End-s.Start)
	}
	if r.Period != period {
		r = raised{Period: period}
	}
	for _, p := range s.Budget.Alerts {
		if s.Percent() >= int64(p) {
			r.Percent = max(r.Percent, p)
		}
	}
	limit := s.Budget.Limit
	if len(s.Budget.Alerts) > 0 && s.Forecast > limit && s.Quick > limit && s.Spent < limit && s.Percent() >= paceFrom {
		r.Pace = true
	}
	return r
}

// alert raises what is due. Of several routers the first to note it in the
// bucket does.
func (b *Book) alert(ctx context.Context) {
	for _, s := range b.Standings(time.Now()) {
		id := s.Budget.ID()
		if r := b.alerts[id].due(&s); !s.Behind && r != b.alerts[id] {
			if err := b.raise(ctx, &s); err != nil {
				b.cfg.Logger.Debug("event of a budget not raised yet", "budget", id, "err", err)
				return
			}
		}
	}
}

func (b *Book) raise(ctx context.Context, s *account.Standing) error {
	id := s.Budget.ID()
	kv, err := b.cfg.JS.KeyValue(ctx, b.cfg.Subjects.Stream(wire.BucketLimits))
	if err != nil {
		return err
	}
	key := "raised." + wire.Token(id)
	var before raised
	revision := uint64(0)
	e, err := kv.Get(ctx, key)
	switch {
	case err == nil:
		revision = e.Revision()
		if err := json.Unmarshal(e.Value(), &before); err != nil {
			before = raised{} // raise again rather than not
		}
	case !errors.Is(err, jetstream.ErrKeyNotFound):
		return err
	}
	now := before.due(s)
	if now == before {
		b.alerts[id] = before
		return nil
	}
	raw, err := json.Marshal(now)
	if err != nil {
		return err
	}
	if _, err := kv.Update(ctx, key, raw, revision); err != nil {
		return err // another router was first: the next look says so
	}
	b.alerts[id] = now
	fresh := before.Period != now.Period
	if now.Percent > 0 && (fresh || now.Percent > before.Percent) {
		b.publish(EventSpent, now.Percent, s)
	}
	if now.Pace && (fresh || !before.Pace) {
		b.publish(EventPace, 0, s)
	}
	return nil
}

// publish tells of an event: in the log, and to whoever listens.
func (b *Book) publish(kind string, percent int, s *account.Standing) {
	b.mu.Lock()
	_, set := b.stored[s.Budget.ID()]
	b.raised[[2]string{s.Budget.ID(), kind}]++
	b.mu.Unlock()
	show := s.Budget.Show
	if kind == EventSpent {
		b.cfg.Logger.Warn("a budget has reached an alert", "budget", s.Budget.ID(), "percent", percent, "spent", show(s.Spent), "limit", show(s.Budget.Limit))
	} else {
		b.cfg.Logger.Warn("a budget will be used up before its window ends", "budget", s.Budget.ID(), "spent", show(s.Spent), "limit", show(s.Budget.Limit),
			"forecast", show(s.Forecast))
	}
	raw, err := json.Marshal(Event{Kind: kind, At: time.Now().UTC().Format(time.RFC3339Nano), Percent: percent, Budget: entryOf(s, set)})
	if err == nil {
		err = b.cfg.JS.Conn().Publish(b.cfg.Subjects.BudgetEvents(kind), raw)
	}
	if err != nil {
		b.cfg.Logger.Debug("event of a budget not published", "budget", s.Budget.ID(), "err", err)
	}
}

// Raised counts the events that this router has raised, by budget and kind.
func (b *Book) Raised() map[[2]string]uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := map[[2]string]uint64{}
	for k, n := range b.raised {
		out[k] = n
	}
	return out
}
