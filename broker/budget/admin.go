package budget

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/sluicehq/sluice/broker/budget/account"
	"github.com/sluicehq/sluice/sdk/wire"
)

// Entry is a budget as administrators see it. Amounts are nano-dollars, tokens
// or jobs, as Unit says.
type Entry struct {
	ID           string `json:"id"`
	Scope        string `json:"scope"`
	Unit         string `json:"unit"`
	Window       string `json:"window"`
	Rolling      bool   `json:"rolling"`
	Zone         string `json:"zone,omitempty"`
	OnExceeded   string `json:"on_exceeded"`
	UnknownPrice string `json:"unknown_price"`
	UnknownCost  string `json:"unknown_cost"`
	Alerts       []int  `json:"alerts"`
	Limit        int64  `json:"limit"`
	Spent        int64  `json:"spent"`
	Held         int64  `json:"held"`
	Left         int64  `json:"left"`
	Start        string `json:"window_start,omitempty"` // RFC 3339
	End          string `json:"window_end,omitempty"`   // RFC 3339; none of a total
	// Forecast is what will be spent at the window's end at the pace of late;
	// of a rolling window, in a whole one. None of a total.
	Forecast *int64 `json:"forecast,omitempty"`
	Source   string `json:"source"`           // config, or set: while running
	Behind   bool   `json:"behind,omitempty"` // what was spent is still being counted
}

// List is how the budgets stand, by ID. With a tenant, only those whose scope
// names it or one of its keys.
func (b *Book) List(tenant string, now time.Time) []Entry {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := []Entry{}
	if b.state == nil {
		return out
	}
	for _, s := range b.state.Standings(now.UnixNano()) {
		if of, _ := s.Budget.Scope.Tenant(); tenant == "" || of == tenant {
			_, set := b.stored[s.Budget.ID()]
			out = append(out, entryOf(&s, set))
		}
	}
	return out
}

func entryOf(s *account.Standing, set bool) Entry {
	def := s.Budget.Define()
	e := Entry{ID: s.Budget.ID(), Scope: def.Scope, Unit: string(s.Budget.Unit), Window: def.Window, Rolling: def.Rolling, Zone: def.Zone,
		OnExceeded: def.OnExceeded, UnknownPrice: def.UnknownPrice, UnknownCost: def.UnknownCost, Alerts: s.Budget.Alerts, Limit: s.Budget.Limit, Spent: s.Spent, Held: s.Held,
		Left: s.Left(), Source: "config", Behind: s.Behind}
	if set {
		e.Source = "set"
	}
	if s.End != 0 {
		e.Start, e.End = stamp(s.Start), stamp(s.End)
	}
	if s.Forecast >= 0 {
		e.Forecast = &s.Forecast
	}
	return e
}

func stamp(at int64) string { return time.Unix(0, at).UTC().Format(time.RFC3339) }

// SetLimit stores a budget: from now on it counts at every router, instead of
// the configuration's of the same scope, unit and window, until it is removed.
// What the definition leaves open is as it was.
func (b *Book) SetLimit(ctx context.Context, d account.Definition) (string, error) {
	x, faults := d.Parse()
	if len(faults) > 0 {
		return "", wire.Errorf(wire.CodeInvalidRequest, faults[0].Field, "%s", account.Error(faults))
	}
	b.mu.Lock()
	for _, old := range b.effective() {
		if old.ID() == x.ID() {
			d = filled(d, old.Define())
		}
	}
	b.mu.Unlock()
	if x, faults = d.Parse(); len(faults) > 0 {
		return "", wire.Errorf(wire.CodeInvalidRequest, faults[0].Field, "%s", account.Error(faults))
	}
	kv, err := b.cfg.JS.KeyValue(ctx, b.cfg.Subjects.Stream(wire.BucketLimits))
	if err != nil {
		return "", err
	}
	raw, err := json.Marshal(x.Define())
	if err == nil {
		_, err = kv.Put(ctx, limitKey(x.ID()), raw)
	}
	return x.ID(), err
}

// filled is a definition with what it leaves open taken from another.
func filled(d, old account.Definition) account.Definition {
	if d.OnExceeded == "" {
		d.OnExceeded = old.OnExceeded
	}
	if d.UnknownPrice == "" {
		d.UnknownPrice = old.UnknownPrice
	}
	if d.UnknownCost == "" {
		d.UnknownCost = old.UnknownCost
	}
	if d.Zone == "" {
		d.Zone = old.Zone
	}
	if d.Alerts == nil {
		d.Alerts = old.Alerts
	}
	return d
}

// RemoveLimit takes back what SetLimit has set; the configuration's budget of
// the same ID, if there is one, counts again.
func (b *Book) RemoveLimit(ctx context.Context, id string) error {
	unknown := wire.Errorf(wire.CodeInvalidRequest, "id", "no budget %.200q was set while running: see `sluice budget list`", id)
	if id = strings.TrimSpace(id); len(id) > account.MaxID {
		return unknown
	}
	kv, err := b.cfg.JS.KeyValue(ctx, b.cfg.Subjects.Stream(wire.BucketLimits))
	if err != nil {
		return err
	}
	key := limitKey(id)
	switch _, err := kv.Get(ctx, key); {
	case errors.Is(err, jetstream.ErrKeyNotFound):
		return unknown
	case err != nil:
		return err
	}
	return kv.Purge(ctx, key)
}
