package ingest

import (
	"slices"
	"strings"

	"github.com/sluicehq/sluice/analytics/store"
	"github.com/sluicehq/sluice/sdk/wire"
)

// keeper copies what rows keep of a record: they wait for company for seconds,
// and would keep its headers meanwhile, and the texts that its strings are cut
// from, which is five times as much. What comes again and again is kept once.
// It is for one goroutine.
type keeper struct {
	words  map[string]string
	prices map[wire.Price]*wire.Price
}

// keptMost is how many words, and prices, are kept for the rows to come.
const keptMost = 4096

func newKeeper() *keeper {
	return &keeper{words: map[string]string{}, prices: map[wire.Price]*wire.Price{}}
}

// own has the rows of one record, either of which may be nil, refer to nothing
// of it any more.
func (k *keeper) own(a *store.Attempt, j *store.Job) {
	var meta *wire.Meta
	if a != nil {
		meta = k.meta(*a.Job)
		a.Job, a.Attempt = meta, k.attempt(*a.Attempt)
	}
	if j != nil {
		if meta == nil {
			meta = k.meta(*j.Job)
		}
		j.Job, j.Cost = meta, clone(j.Cost)
		word(k, &j.Status)
		word(k, &j.ErrorCode)
	}
}

func (k *keeper) meta(m wire.Meta) *wire.Meta {
	for _, s := range [...]*string{&m.ID, &m.Affinity, &m.Webhook, &m.Trace, &m.TraceState} {
		*s = strings.Clone(*s)
	}
	for _, s := range [...]*string{&m.Tenant, &m.Key, &m.Route, &m.Region, &m.Batch, &m.Shadow} {
		word(k, s)
	}
	word(k, &m.Class)
	word(k, &m.AskedClass)
	word(k, &m.Endpoint)
	word(k, &m.Placement)
	m.MaxCost = clone(m.MaxCost)
	if labels := m.Labels; labels != nil {
		m.Labels = make(map[string]string, len(labels))
		for name, v := range labels {
			word(k, &name)
			m.Labels[name] = strings.Clone(v)
		}
	}
	return &m
}

func (k *keeper) attempt(a wire.Attempt) *wire.Attempt {
	for _, s := range [...]*string{&a.Pool, &a.Provider, &a.Model, &a.Region, &a.Strategy} {
		word(k, s)
	}
	word(k, &a.Status)
	word(k, &a.ErrorCode)
	word(k, &a.Source)
	a.Price = k.price(a.Price)
	a.Cost, a.Limits, a.Hold = clone(a.Cost), clone(a.Limits), clone(a.Hold)
	a.Folded = strings.Clone(a.Folded)
	if a.Decision = clone(a.Decision); a.Decision != nil {
		k.decision(a.Decision)
	}
	return &a
}

func (k *keeper) decision(d *wire.Decision) {
	for _, s := range [...]*string{&d.Route, &d.Strategy, &d.Pool, &d.Model, &d.Experiment, &d.Variant} {
		word(k, s)
	}
	d.Seen = strings.Clone(d.Seen)
	d.Candidates = slices.Clone(d.Candidates)
	for i := range d.Candidates {
		c := &d.Candidates[i]
		word(k, &c.Pool)
		word(k, &c.Model)
		word(k, &c.Excluded)
	}
	for _, list := range [...]*[]string{&d.Rules, &d.Failed} {
		*list = slices.Clone(*list)
		for i := range *list {
			word(k, &(*list)[i])
		}
	}
}

func (k *keeper) price(p *wire.Price) *wire.Price {
	if p == nil {
		return nil
	}
	if kept := k.prices[*p]; kept != nil {
		return kept
	}
	if len(k.prices) >= keptMost {
		clear(k.prices)
	}
	kept := clone(p)
	word(k, &kept.Version)
	k.prices[*kept] = kept
	return kept
}

// word replaces a string that other rows are likely to have too.
func word[S ~string](k *keeper, s *S) {
	if *s == "" {
		return
	}
	kept, ok := k.words[string(*s)]
	if !ok {
		if len(k.words) >= keptMost {
			clear(k.words)
		}
		kept = strings.Clone(string(*s))
		k.words[kept] = kept
	}
	*s = S(kept)
}

func clone[T any](p *T) *T {
	if p == nil {
		return nil
	}
	v := *p
	return &v
}
