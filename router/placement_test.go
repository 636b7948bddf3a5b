package router

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
)

// misplaced reports whether candidate i is not where the job may run.
func (o *oracle) misplaced(i int) bool {
	m, now := o.in.Meta, o.in.Now
	p, _ := o.pool(i)
	placed, until := wire.Realtime, m.Deadline
	if m.Class == wire.Batch && m.Placement != "" {
		placed = m.Placement
	}
	if placed == wire.Auto {
		until = m.Deadline - max((m.Deadline-m.SubmittedAt)/4, int64(15*time.Minute)) - int64(10*time.Minute)
	}
	fits := placed != wire.Realtime && !m.Stream && (m.Deadline == 0 || now < until)
	tried := func(name string) bool {
		return placed == wire.Auto && o.in.Progress != nil && slices.Contains(o.in.Progress.Tried, name)
	}
	if p.Bundles {
		return !fits || tried(p.Name)
	}
	if placed != wire.Auto || !fits {
		return placed == wire.AtProvider
	}
	cost := func(j int) float64 { // in pico-dollars; unknown is less than everything
		c := o.cands[j]
		if c.Price == nil {
			return -1
		}
		input, output, _ := o.tokens()
		if c.MaxOutput > 0 {
			output = min(output, c.MaxOutput)
		}
		return math.Ceil(float64(input*int64(c.Price.Input)+output*int64(c.Price.Output)) / 1000)
	}
	for j := range o.cands {
		if q, _ := o.pool(j); q.Bundles && !tried(q.Name) && o.never(j) == Eligible && (cost(j) < 0 || cost(i) < 0 || cost(j) < cost(i)) {
			return true
		}
	}
	return false
}

// TestPlacement: a job is where it may be, and where that is its own choice it
// goes to a provider's batch API while that is cheaper and there is time.
func TestPlacement(t *testing.T) {
	const now = int64(1e18)
	cheap, dear, free := &wire.Price{Input: 500_000, Output: 500_000}, &wire.Price{Input: 1_000_000, Output: 1_000_000}, &wire.Price{}
	hour := int64(time.Hour)
	for _, c := range []struct {
		name      string
		class     wire.Class
		placement wire.Placement
		left      int64 // to the deadline of four hours; 0: no deadline
		price     *wire.Price
		tried     []string
		load      Load // of the batch API
		want      string
		full      bool
	}{
		{name: "realtime", class: wire.Batch, price: dear, want: "calls"},
		{name: "said so", class: wire.Batch, placement: wire.Realtime, price: dear, want: "calls"},
		{name: "provider", class: wire.Batch, placement: wire.AtProvider, price: free, want: "bundles"},
		{name: "provider, late", class: wire.Batch, placement: wire.AtProvider, left: 1, price: dear, want: "bundles"},
		{name: "auto", class: wire.Batch, placement: wire.Auto, price: dear, want: "bundles"},
		{name: "auto, another class", class: wire.Standard, placement: wire.Auto, price: dear, want: "calls"},
		{name: "auto, time enough", class: wire.Batch, placement: wire.Auto, left: 2 * hour, price: dear, want: "bundles"},
		{name: "auto, little time", class: wire.Batch, placement: wire.Auto, left: hour + 9*hour/60, price: dear, want: "calls"},
		{name: "auto, the last quarter", class: wire.Batch, placement: wire.Auto, left: hour - 1, price: dear, want: "calls"},
		{name: "auto, not cheaper", class: wire.Batch, placement: wire.Auto, price: free, tried: []string{"bundles"}, want: "calls"},
		{name: "auto, failed there", class: wire.Batch, placement: wire.Auto, price: dear, tried: []string{"bundles"}, want: "calls"},
		{name: "auto, no price", class: wire.Batch, placement: wire.Auto, want: "bundles"},
		{name: "auto, no room", class: wire.Batch, placement: wire.Auto, price: dear, load: Load{Depth: 9}, full: true},
		{name: "auto, limited", class: wire.Batch, placement: wire.Auto, price: dear, load: Load{LimitedUntil: now + 1}, full: true},
		{name: "provider, failed there", class: wire.Batch, placement: wire.AtProvider, price: dear, tried: []string{"bundles"}, want: "bundles"},
	} {
		table, err := NewTable([]Pool{{Name: "bundles", Concurrency: 4, Bundles: true}, {Name: "calls", Concurrency: 4}},
			[]RouteSpec{{Name: "chat", Strategy: "least_connections", Candidates: []CandidateSpec{
				{Pool: "bundles", Model: "m", Weight: 1, Price: cheap}, {Pool: "calls", Model: "m", Weight: 1, Price: c.price}}}})
		if err != nil {
			t.Fatal(err)
		}
		m := &wire.Meta{Class: c.class, Placement: c.placement, Endpoint: wire.ChatCompletions, BodyBytes: 400}
		if c.left > 0 {
			m.SubmittedAt, m.Deadline = now-4*hour+c.left, now+c.left
		}
		route, _ := table.Route("chat")
		var r Result
		table.Decide(route, []Load{c.load, {}}, &Input{Meta: m, Now: now, Progress: &wire.Progress{Tried: c.tried}}, &r)
		got := ""
		if r.Choice >= 0 {
			got = route.Candidates()[r.Choice].PoolName
		}
		if got != c.want || r.Full != c.full {
			t.Errorf("%s: %q, full %v, want %q and %v: %+v", c.name, got, r.Full, c.want, c.full, r.Candidates)
		}
	}
}
