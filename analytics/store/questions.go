package store

import (
	"context"
	"strings"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
)

// Share is what part of a route's attempts a candidate got.
type Share struct {
	Route, Pool, Model string
	Attempts           uint64
	Spend              wire.NanoUSD
	// Share of the route's attempts, and Expected, what the weights of the
	// route's latest decision ask for; both from 0 to 1. Expected is -1 where
	// no decision lies within the last hour of the window.
	Share, Expected float64
	Weight          uint32
}

// Distribution compares how attempts were spread over candidates with their
// weights, route by route, the busiest candidate first. An empty route is all
// routes.
func (s *Store) Distribution(ctx context.Context, since, until time.Time, route string) ([]Share, error) {
	q := CostQuery{By: []string{"route", "pool", "model"}, Since: since, Until: until, Limit: 10_000}
	if route != "" {
		q.Where = map[string]string{"route": route}
	}
	sum, _, err := q.plan()
	if err != nil {
		return nil, err
	}
	sum.order = "k0, attempts DESC"
	rows, err := s.costRows(ctx, sum, false)
	if err != nil {
		return nil, err
	}
	weights, err := s.weights(ctx, until)
	if err != nil {
		return nil, err
	}
	total := map[string]uint64{}
	for _, r := range rows {
		total[r.Keys[0]] += r.Attempts
	}
	list := make([]Share, 0, len(rows))
	for _, r := range rows {
		x := Share{Route: r.Keys[0], Pool: r.Keys[1], Model: r.Keys[2], Attempts: r.Attempts, Spend: r.Spend,
			Share: ratio(r.Attempts, total[r.Keys[0]]), Expected: -1}
		if w, ok := weights[x.Route]; ok {
			x.Weight = w.of[x.Pool+"\x00"+x.Model]
			x.Expected = ratio(uint64(x.Weight), w.sum)
		}
		list = append(list, x)
	}
	return list, nil
}

// candidateWeights are those of one decision.
type candidateWeights struct {
	of  map[string]uint32
	sum uint64
}

// weights reads the last decision of each route in the last hour before until.
// Of all those rows it reads the candidates of these decisions only.
func (s *Store) weights(ctx context.Context, until time.Time) (map[string]candidateWeights, error) {
	at := "(SELECT max(seq) FROM attempts)"
	conds := "ts >= (SELECT max(ts) FROM attempts WHERE seq = " + at + ") - INTERVAL 1 HOUR"
	if !until.IsZero() {
		conds = join([]string{"ts >= " + moment(until.Add(-time.Hour)), "ts < " + moment(until)})
	}
	out := map[string]candidateWeights{}
	err := s.eachSQL(ctx, "weights", "SELECT route, `candidates.pool`, `candidates.model`, `candidates.weight` FROM attempts WHERE "+conds+
		" AND seq IN (SELECT max(seq) FROM attempts WHERE "+conds+" AND notEmpty(`candidates.pool`) GROUP BY route)", func(scan func(...any) error) error {
		var route string
		var pools, models []string
		var weights []uint32
		if err := scan(&route, &pools, &models, &weights); err != nil {
			return err
		}
		w := candidateWeights{of: map[string]uint32{}}
		for i := range pools {
			w.of[pools[i]+"\x00"+models[i]] += weights[i]
			w.sum += uint64(weights[i])
		}
		out[route] = w
		return nil
	})
	return out, err
}

// Saving is what a provider's prompt cache saved on one model.
type Saving struct {
	Pool, Model string
	CacheRead   int64         // tokens
	HitShare    float64       // of the tokens in, from 0 to 1
	Saved       *wire.NanoUSD // nil: no price is known; below 0: writing cost more than reading saved
}

// Savings compares what cached tokens cost with what they would have cost
// uncached, at the prices that price gives now for a pool's upstream model.
func (s *Store) Savings(ctx context.Context, since, until time.Time, price func(pool, model string) *wire.Price) ([]Saving, error) {
	q := CostQuery{By: []string{"pool", "model"}, Since: since, Until: until}
	sum, _, err := q.plan() // without the times
	if err != nil {
		return nil, err
	}
	rows, err := s.costRows(ctx, sum, false)
	if err != nil {
		return nil, err
	}
	var list []Saving
	for i := range rows {
		r := &rows[i]
		if r.Usage.CacheRead == 0 && r.Usage.CacheWrite == 0 {
			continue
		}
		x := Saving{Pool: r.Keys[0], Model: r.Keys[1], CacheRead: r.Usage.CacheRead, HitShare: r.CacheShare()}
		if p := price(x.Pool, x.Model); p != nil {
			pico := int64(p.Input-p.CacheRead)*r.Usage.CacheRead + int64(p.Input-p.CacheWrite)*r.Usage.CacheWrite
			saved := wire.NanoUSD(pico / 1000)
			x.Saved = &saved
		}
		list = append(list, x)
	}
	return list, nil
}

// Waste is money spent on attempts that gave no answer.
type Waste struct {
	Keys     []string // values of the query's By
	Reason   string   // the attempts' status: failed, interrupted, cancelled …
	Attempts uint64
	Spend    wire.NanoUSD
}

// Waste sums up the attempts that did not succeed, by reason and the query's
// dimensions, the dearest first.
func (s *Store) Waste(ctx context.Context, q CostQuery) ([]Waste, error) {
	n := len(q.By)
	q.By = append(q.By[:n:n], "status")
	sum, _, err := q.plan()
	if err != nil {
		return nil, err
	}
	rows, err := s.costRows(ctx, sum, q.fromRows())
	var list []Waste
	for _, r := range rows {
		if r.Keys[n] != string(wire.Succeeded) {
			list = append(list, Waste{Keys: r.Keys[:n], Reason: r.Keys[n], Attempts: r.Attempts, Spend: r.Spend})
		}
	}
	return list, err
}

// join is the conjunction of conditions.
func join(conds []string) string {
	if len(conds) == 0 {
		return "1"
	}
	return strings.Join(conds, " AND ")
}
