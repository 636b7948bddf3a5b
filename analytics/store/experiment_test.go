package store_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/sluicehq/sluice/analytics/stats"
	"github.com/sluicehq/sluice/analytics/store"
	"github.com/sluicehq/sluice/analytics/store/storetest"
	"github.com/sluicehq/sluice/sdk/wire"
)

// TestExperiment: the sums by variant are those of a walk over the same jobs:
// retries in them, unknown costs, cancelled jobs, variants that changed, other
// experiments.
func TestExperiment(t *testing.T) {
	s := storetest.Open(t)
	rnd := rand.New(rand.NewPCG(3, 4))
	type sums struct {
		jobs, ok, attempts, unknown uint64
		cost, total, latency, ttft  []float64
		quality                     []float64
	}
	want := map[string]*sums{"a": {}, "b'": {}}
	var attempts []store.Attempt
	var jobs []store.Job
	seq := uint64(0)
	for i := range 120 {
		variant, name := []string{"a", "b'"}[i%2], "exp"
		if i%10 == 9 {
			name = "other"
		}
		m := &wire.Meta{ID: fmt.Sprintf("j%d", i), Tenant: []string{"t", "u"}[i%3%2], Class: wire.Standard, SubmittedAt: day.UnixNano()}
		status := wire.Succeeded
		if rnd.IntN(5) == 0 {
			status = wire.Failed
		}
		if rnd.IntN(20) == 0 {
			status = wire.Cancelled
		}
		n := 1 + rnd.IntN(3)
		total, known := 0.0, true
		var last *wire.Attempt
		for k := 1; k <= n; k++ {
			seq++
			a := &wire.Attempt{N: k, Pool: "p", Model: "m", Status: wire.Failed, LatencyMS: rnd.Int64N(1000), TTFTMS: rnd.Int64N(3) * 10,
				Decision: &wire.Decision{Route: "chat", Experiment: name, Variant: variant}}
			if k > 1 && i%7 == 0 {
				a.Decision.Variant = "a" // moved there in between
			}
			if i%11 == 5 {
				known = false
			} else {
				c := wire.NanoUSD(rnd.Int64N(1_000_000))
				a.Cost = &c
				total += float64(c)
			}
			if k == n {
				a.Status = status
			}
			attempts = append(attempts, store.Attempt{Seq: seq, TS: day.Add(time.Duration(seq) * time.Millisecond), Job: m, Attempt: a})
			last = a
		}
		end := day.Add(time.Duration(seq) * time.Millisecond)
		jobs = append(jobs, store.Job{Seq: seq, FinishedAt: end, Job: m, Status: status, Attempts: n})
		if name != "exp" || status == wire.Cancelled {
			continue
		}
		w := want[variant]
		if i%4 < 2 {
			must(t, s.Score(t.Context(), m.Tenant, m.ID, 0.1, "a first look"))
			q := float64(i%100) / 100
			must(t, s.Score(t.Context(), m.Tenant, m.ID, q, "judge's"))
			w.quality = append(w.quality, q)
		}
		w.jobs++
		w.attempts += uint64(n)
		if known {
			w.cost = append(w.cost, total)
		} else {
			w.unknown++
		}
		if status == wire.Succeeded {
			w.ok++
			w.total = append(w.total, float64(end.Sub(day).Milliseconds()))
			w.latency = append(w.latency, float64(last.LatencyMS))
			if last.TTFTMS > 0 {
				w.ttft = append(w.ttft, float64(last.TTFTMS))
			}
		}
	}
	must(t, s.InsertAttempts(t.Context(), attempts))
	must(t, s.InsertJobs(t.Context(), jobs))
	for _, bad := range []float64{-0.1, 1.1, math.NaN()} {
		if s.Score(t.Context(), "t", "j0", bad, "") == nil {
			t.Errorf("a score of %f was stored", bad)
		}
	}
	rows, err := s.Experiment(t.Context(), "exp", day, day.Add(time.Hour))
	must(t, err)
	if len(rows) != 2 || rows[0].Variant != "a" || rows[1].Variant != "b'" {
		t.Fatalf("%+v", rows)
	}
	for _, r := range rows {
		w := want[r.Variant]
		if r.Jobs != w.jobs || r.Succeeded != w.ok || r.Attempts != w.attempts || r.Unknown != w.unknown {
			t.Errorf("%s: %+v, want %d jobs, %d succeeded, %d attempts, %d of unknown cost", r.Variant, r, w.jobs, w.ok, w.attempts, w.unknown)
		}
		for _, c := range []struct {
			what string
			got  stats.Moments
			of   []float64
		}{{"cost", r.Cost, w.cost}, {"total", r.Total, w.total}, {"latency", r.Latency, w.latency}, {"ttft", r.TTFT, w.ttft}, {"quality", r.Quality, w.quality}} {
			m := stats.MomentsOf(c.of)
			if c.got.N != m.N || math.Abs(c.got.Mean-m.Mean) > 1e-6*m.Mean || math.Abs(c.got.Variance-m.Variance) > 1e-6*m.Variance {
				t.Errorf("%s %s: %+v, want %+v", r.Variant, c.what, c.got, m)
			}
		}
		if r.TotalP50 <= 0 || r.TotalP95 < r.TotalP50 {
			t.Errorf("%s: p50 %f, p95 %f", r.Variant, r.TotalP50, r.TotalP95)
		}
	}
	if rows, err := s.Experiment(t.Context(), "exp", day.Add(time.Hour), time.Time{}); err != nil || len(rows) != 0 {
		t.Errorf("later: %+v, %v", rows, err)
	}
	if rows, err := s.Experiment(t.Context(), "no'thing", time.Time{}, time.Time{}); err != nil || len(rows) != 0 {
		t.Errorf("of nothing: %+v, %v", rows, err)
	}
}

// TestReportedScores: the position is that of the reports, whoever inserts
// beside them, and one that comes twice counts once.
func TestReportedScores(t *testing.T) {
	s := storetest.Open(t)
	m := &wire.Meta{ID: "j", Tenant: "t", Class: wire.Standard, SubmittedAt: day.UnixNano()}
	a := &wire.Attempt{N: 1, Pool: "p", Model: "m", Status: wire.Succeeded, Decision: &wire.Decision{Experiment: "rated", Variant: "a"}}
	must(t, s.InsertAttempts(t.Context(), []store.Attempt{{Seq: 900_001, TS: day, Job: m, Attempt: a}}))
	must(t, s.InsertJobs(t.Context(), []store.Job{{Seq: 900_001, FinishedAt: day, Job: m, Status: wire.Succeeded, Attempts: 1}}))
	rows := []store.Score{{Seq: 4, TS: day, Tenant: "t", Job: "j", Quality: 0.25}, {Seq: 9, TS: day.Add(time.Second), Tenant: "t", Job: "other", Quality: 1}}
	for range 2 {
		must(t, s.InsertScores(t.Context(), rows))
		must(t, s.InsertScores(t.Context(), nil))
		if seq, err := s.MaxSeq(t.Context(), store.Scores); err != nil || seq != 9 {
			t.Errorf("at %d, %v", seq, err)
		}
		got, err := s.Experiment(t.Context(), "rated", time.Time{}, time.Time{})
		must(t, err)
		if len(got) != 1 || got[0].Quality.N != 1 || got[0].Quality.Mean != 0.25 {
			t.Errorf("%+v", got)
		}
	}
	must(t, s.Score(t.Context(), "t", "j", 0.75, "judge"))
	got, err := s.Experiment(t.Context(), "rated", time.Time{}, time.Time{})
	must(t, err)
	if seq, _ := s.MaxSeq(t.Context(), store.Scores); seq != 9 || got[0].Quality.Mean != 0.75 {
		t.Errorf("at %d, %+v", seq, got)
	}
}
