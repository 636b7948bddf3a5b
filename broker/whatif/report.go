package whatif

import (
	"cmp"
	"slices"

	"github.com/sluicehq/sluice/sdk/wire"
)

// Figures are what an outcome comes to. Those of several plays are means.
type Figures struct {
	Jobs      float64 `json:"jobs"`
	Succeeded float64 `json:"succeeded"`
	Failed    float64 `json:"failed"` // or expired; the rest were cancelled
	Attempts  float64 `json:"attempts"`
	// Cost is the sum of the known ones, in nano-dollars; Unknown counts the
	// attempts whose cost is not known.
	Cost    float64 `json:"cost_nano_usd"`
	Unknown float64 `json:"unknown_cost"`
	// Latency is from arrival to the end, Wait the part of it that is not the
	// last attempt; milliseconds, of jobs that succeeded.
	Latency Spread  `json:"latency_ms"`
	Wait    Spread  `json:"wait_ms"`
	Targets []Share `json:"targets"`
}

// Spread are points of a distribution.
type Spread struct {
	P50 float64 `json:"p50"`
	P95 float64 `json:"p95"`
	P99 float64 `json:"p99"`
}

// Share is what a target had.
type Share struct {
	Pool     string  `json:"pool"`
	Model    string  `json:"model"`
	Attempts float64 `json:"attempts"`
	Failed   float64 `json:"failed"`
	Cost     float64 `json:"cost_nano_usd"`
	Unknown  float64 `json:"unknown_cost"`
	// Share of all attempts, and Busy, how many ran at once on average.
	Share float64 `json:"share"`
	Busy  float64 `json:"busy"`
}

// FailedShare is the share of jobs that failed, from 0 to 1.
func (f *Figures) FailedShare() float64 { return ratio(f.Failed, f.Jobs) }

// PerSuccess is the cost per job that succeeded, failures included, in
// nano-dollars; 0 without one.
func (f *Figures) PerSuccess() float64 { return ratio(f.Cost, f.Succeeded) }

func ratio(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}

// Figures sums the outcome up.
func (o *Outcome) Figures() Figures {
	f := Figures{Jobs: float64(len(o.Jobs)), Targets: []Share{}}
	var total, wait []float64
	for i := range o.Jobs {
		j := &o.Jobs[i]
		f.Attempts += float64(j.Attempts)
		switch j.Status {
		case wire.Succeeded:
			f.Succeeded++
			total, wait = append(total, float64(j.Total)/1e6), append(wait, float64(j.Wait)/1e6)
		case wire.Failed, wire.Expired:
			f.Failed++
		}
	}
	f.Latency, f.Wait = spread(total), spread(wait)
	attempts, unknown, cost := 0, 0, wire.NanoUSD(0)
	for _, p := range o.Parts {
		attempts += p.Attempts
		cost += p.Cost
		unknown += p.Unknown
	}
	f.Cost, f.Unknown = float64(cost), float64(unknown)
	for t, p := range o.Parts {
		f.Targets = append(f.Targets, Share{Pool: t.Pool, Model: t.Model, Attempts: float64(p.Attempts), Failed: float64(p.Failed), Cost: float64(p.Cost),
			Unknown: float64(p.Unknown), Share: ratio(float64(p.Attempts), float64(attempts)), Busy: ratio(float64(p.Busy), float64(o.To-o.From))})
	}
	f.sort()
	return f
}

func (f *Figures) sort() {
	slices.SortFunc(f.Targets, func(a, b Share) int { return cmp.Or(cmp.Compare(a.Pool, b.Pool), cmp.Compare(a.Model, b.Model)) })
}

func spread(v []float64) Spread {
	slices.Sort(v)
	return Spread{P50: quantile(v, 0.5), P95: quantile(v, 0.95), P99: quantile(v, 0.99)}
}

// quantile of sorted values; 0 without any.
func quantile(v []float64, q float64) float64 {
	if len(v) == 0 {
		return 0
	}
	return v[min(int(q*float64(len(v))), len(v)-1)]
}

// Mean is the mean of plays, and how far their costs and p95 latencies lie
// apart: half the distance between the least and the most, as a share of the
// mean.
func Mean(list []Figures) (m Figures, cost, p95 float64) {
	parts := map[Target]Share{}
	low, high := list[0], list[0]
	n := float64(len(list))
	for _, f := range list {
		for _, x := range [...][2]*float64{{&m.Jobs, &f.Jobs}, {&m.Succeeded, &f.Succeeded}, {&m.Failed, &f.Failed}, {&m.Attempts, &f.Attempts},
			{&m.Cost, &f.Cost}, {&m.Unknown, &f.Unknown}, {&m.Latency.P50, &f.Latency.P50}, {&m.Latency.P95, &f.Latency.P95},
			{&m.Latency.P99, &f.Latency.P99}, {&m.Wait.P50, &f.Wait.P50}, {&m.Wait.P95, &f.Wait.P95}, {&m.Wait.P99, &f.Wait.P99}} {
			*x[0] += *x[1] / n
		}
		low.Cost, high.Cost = min(low.Cost, f.Cost), max(high.Cost, f.Cost)
		low.Latency.P95, high.Latency.P95 = min(low.Latency.P95, f.Latency.P95), max(high.Latency.P95, f.Latency.P95)
		for _, s := range f.Targets {
			k := Target{s.Pool, s.Model}
			p := parts[k]
			parts[k] = Share{s.Pool, s.Model, p.Attempts + s.Attempts/n, p.Failed + s.Failed/n, p.Cost + s.Cost/n, p.Unknown + s.Unknown/n,
				p.Share + s.Share/n, p.Busy + s.Busy/n}
		}
	}
	m.Targets = []Share{}
	for _, p := range parts {
		m.Targets = append(m.Targets, p)
	}
	m.sort()
	return m, ratio(high.Cost-low.Cost, 2*m.Cost), ratio(high.Latency.P95-low.Latency.P95, 2*m.Latency.P95)
}
