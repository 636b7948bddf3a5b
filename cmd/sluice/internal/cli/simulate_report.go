package cli

import (
	"fmt"
	"io"

	"github.com/sluicehq/sluice/broker/whatif"
	"github.com/sluicehq/sluice/sdk/wire"
)

// simulateReport is the answer of sluice simulate.
type simulateReport struct {
	Since    string         `json:"since"`
	Until    string         `json:"until"`
	Seed     uint64         `json:"seed"`
	Runs     int            `json:"runs"`
	Recorded whatif.Figures `json:"recorded"`
	Old      played         `json:"old"`
	New      played         `json:"new"`
	// Error is how far the play of the old policy is from what was recorded,
	// Change how far that of the new is from that of the old: in percent of the
	// latter, failures in percentage points.
	Error  differences `json:"error"`
	Change differences `json:"change"`
	Models []modelJSON `json:"models"`
	Notes  []string    `json:"notes"`
}

// played are the means of some plays.
type played struct {
	whatif.Figures
	// CostSpread and P95Spread are half the distance between the least and the
	// most of the plays, as a share of the mean.
	CostSpread float64 `json:"cost_spread"`
	P95Spread  float64 `json:"latency_p95_spread"`
}

// differences are in percent.
type differences struct {
	Cost       float64 `json:"cost"`
	PerSuccess float64 `json:"cost_per_success"`
	P50        float64 `json:"latency_p50"`
	P95        float64 `json:"latency_p95"`
	P99        float64 `json:"latency_p99"`
	WaitP95    float64 `json:"wait_p95"`
	Failed     float64 `json:"failed_points"`
}

// modelJSON is how a target of the new policy answers.
type modelJSON struct {
	Pool        string  `json:"pool"`
	Model       string  `json:"model"`
	Like        string  `json:"like,omitempty"`
	Configured  bool    `json:"configured,omitempty"`
	Attempts    int     `json:"attempts"`
	Failed      int     `json:"failed"`
	TTFT        float64 `json:"ttft_ms"`
	Speed       float64 `json:"tokens_per_second,omitempty"`
	Concurrency int     `json:"concurrency"`
}

func differ(from, to *whatif.Figures) differences {
	by := func(a, b float64) float64 {
		if a == 0 {
			return 0
		}
		return 100 * (b - a) / a
	}
	return differences{Cost: by(from.Cost, to.Cost), PerSuccess: by(from.PerSuccess(), to.PerSuccess()), P50: by(from.Latency.P50, to.Latency.P50),
		P95: by(from.Latency.P95, to.Latency.P95), P99: by(from.Latency.P99, to.Latency.P99), WaitP95: by(from.Wait.P95, to.Wait.P95),
		Failed: 100 * (to.FailedShare() - from.FailedShare())}
}

// finish compares what was played.
func (r *simulateReport) finish(s *simulation) {
	r.Seed, r.Runs = s.f.seed, s.f.runs
	r.Error, r.Change = differ(&r.Recorded, &r.Old.Figures), differ(&r.Old.Figures, &r.New.Figures)
	r.Models = []modelJSON{}
	for _, t := range s.next.Table.Targets() {
		pool := s.next.Table.Pools()[t.Pool]
		k := whatif.Target{Pool: pool.Name, Model: t.Model}
		p := s.model.Profiles[k]
		if p == nil {
			continue
		}
		m := modelJSON{Pool: k.Pool, Model: k.Model, Configured: p.Configured, TTFT: p.First, Concurrency: pool.Concurrency}
		if p.Like != k {
			m.Like = p.Like.String()
		}
		if !p.Configured {
			m.Attempts, m.Failed = p.Samples()
		}
		if p.Each > 0 {
			m.Speed = 1000 / p.Each
		}
		r.Models = append(r.Models, m)
	}
	if r.Notes == nil {
		r.Notes = []string{}
	}
}

// print writes the answer for people.
func (r *simulateReport) print(w io.Writer) error {
	if _, err := fmt.Fprintf(w, "%s from %s to %s, means of %s with seed %d\n\n", count(int(r.Recorded.Jobs), "job"),
		localTime(r.Since), localTime(r.Until), count(r.Runs, "play"), r.Seed); err != nil {
		return err
	}
	t := newTable("", ">RECORDED", ">OLD, PLAYED", ">ERROR", ">NEW, PLAYED", ">CHANGE")
	row := func(name string, show func(*whatif.Figures) string, unit string, diff func(*differences) float64) {
		t.row(name, show(&r.Recorded), show(&r.Old.Figures), signed(diff(&r.Error), unit), show(&r.New.Figures), signed(diff(&r.Change), unit))
	}
	ms := func(of func(*whatif.Figures) float64) func(*whatif.Figures) string {
		return func(f *whatif.Figures) string { return millis(of(f)) }
	}
	row("cost, USD", func(f *whatif.Figures) string { return nanos(f.Cost) }, "%", func(d *differences) float64 { return d.Cost })
	row("cost per success, USD", func(f *whatif.Figures) string { return nanos(f.PerSuccess()) }, "%", func(d *differences) float64 { return d.PerSuccess })
	row("latency p50, ms", ms(func(f *whatif.Figures) float64 { return f.Latency.P50 }), "%", func(d *differences) float64 { return d.P50 })
	row("latency p95, ms", ms(func(f *whatif.Figures) float64 { return f.Latency.P95 }), "%", func(d *differences) float64 { return d.P95 })
	row("latency p99, ms", ms(func(f *whatif.Figures) float64 { return f.Latency.P99 }), "%", func(d *differences) float64 { return d.P99 })
	row("wait p95, ms", ms(func(f *whatif.Figures) float64 { return f.Wait.P95 }), "%", func(d *differences) float64 { return d.WaitP95 })
	row("jobs failed", func(f *whatif.Figures) string { return percent(f.FailedShare()) }, " pt", func(d *differences) float64 { return d.Failed })
	t.row("attempts per job", perJob(&r.Recorded), perJob(&r.Old.Figures), "", perJob(&r.New.Figures), "")
	if err := t.print(w); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(w, "\nplays of the new policy differ by ±%.1f%% in cost and ±%.1f%% in p95\n\n", 100*r.New.CostSpread, 100*r.New.P95Spread); err != nil {
		return err
	}
	return r.targets().print(w)
}

// targets says how attempts are spread.
func (r *simulateReport) targets() *table {
	t := newTable("POOL", "MODEL", ">RECORDED", ">OLD", ">NEW", ">NEW FAILED", ">NEW BUSY", ">OF", ">NEW USD", "ANSWERS")
	type key struct{ pool, model string }
	seen := map[key]bool{}
	find := func(f *whatif.Figures, k key) *whatif.Share {
		for i := range f.Targets {
			if f.Targets[i].Pool == k.pool && f.Targets[i].Model == k.model {
				return &f.Targets[i]
			}
		}
		return &whatif.Share{}
	}
	add := func(k key, slots, answers string) {
		if seen[k] {
			return
		}
		seen[k] = true
		n := find(&r.New.Figures, k)
		t.row(k.pool, k.model, percent(find(&r.Recorded, k).Share), percent(find(&r.Old.Figures, k).Share), percent(n.Share),
			percent(ratioOf(n.Failed, n.Attempts)), fmt.Sprintf("%.1f", n.Busy), slots, nanos(n.Cost), answers)
	}
	for _, m := range r.Models {
		add(key{m.Pool, m.Model}, fmt.Sprint(m.Concurrency), m.answers())
	}
	for _, f := range []*whatif.Figures{&r.Recorded, &r.Old.Figures} {
		for _, s := range f.Targets {
			add(key{s.Pool, s.Model}, "", "not a candidate any more")
		}
	}
	return t
}

// answers says what is known of how a target answers.
func (m *modelJSON) answers() string {
	text := fmt.Sprintf("%.0f ms", m.TTFT)
	if m.Speed > 0 {
		text += fmt.Sprintf(", %.0f tokens/s", m.Speed)
	}
	switch {
	case m.Configured:
		return text + ", as configured"
	case m.Like != "":
		return text + ", like " + m.Like
	}
	return text + ", from " + count(m.Attempts, "attempt")
}

func signed(v float64, unit string) string { return fmt.Sprintf("%+.1f%s", v, unit) }

// nanos are nano-dollars for people.
func nanos(nano float64) string { return wire.NanoUSD(nano + 0.5).String() }

func perJob(f *whatif.Figures) string { return fmt.Sprintf("%.3f", ratioOf(f.Attempts, f.Jobs)) }

func ratioOf(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}
