package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"
)

// WhatIfOptions says what to replay, and how much faster than it was recorded.
// Only so fast that the providers' times, divided by Speed, are much longer
// than what the broker takes on this machine.
type WhatIfOptions struct {
	Arrivals []Arrival
	Speed    float64
	Seed     uint64
	Runs     int      // plays to predict from; 0: as sluice simulate has it
	Command  []string // that runs `sluice`, without arguments
	Log      io.Writer
}

// whatIfPool is a provider of one model, as fast as in life, and what the two
// policies make of it.
type whatIfPool struct {
	name         string
	ttft, speed  float64 // seconds, tokens per second
	in, out      float64 // dollars per million tokens
	errors       float64 // share of calls that fail
	old, changed int     // concurrency under either policy
}

// whatIfPools are four providers of the same model. The new policy takes the
// cheapest that has room, with other numbers of calls at once: so other pools
// are busy, and jobs wait elsewhere.
var whatIfPools = []whatIfPool{
	{"east", 0.30, 80, 0.59, 0.79, 0, 6, 5},
	{"west", 0.45, 60, 0.72, 0.72, 0, 6, 4},
	{"fast", 0.25, 120, 0.90, 0.90, 0, 6, 4},
	{"spot", 0.70, 45, 0.35, 0.40, 0.03, 6, 14},
}

// The strategies of the two policies.
const (
	whatIfOld = "least_connections"
	whatIfNew = "cost"
)

// whatIfYAML is one of the two policies, times divided by speed.
func whatIfYAML(strategy string, speed float64, slots func(*whatIfPool) int) string {
	var pools, candidates strings.Builder
	scale := func(seconds float64) time.Duration { return time.Duration(seconds / speed * float64(time.Second)) }
	for i := range whatIfPools {
		p := &whatIfPools[i]
		fmt.Fprintf(&pools, "  - {name: %s, adapter: simulated, concurrency: %d, models: {m: {price: {input: %g, output: %g}}},\n"+
			"     simulated: {seed: %d, ttft: %s, tokens_per_second: %g, error_share: %g, errors: [server_error], fill: true}}\n",
			p.name, slots(p), p.in, p.out, i+1, scale(p.ttft), p.speed*speed, p.errors)
		fmt.Fprintf(&candidates, "{pool: %s, model: m}, ", p.name)
	}
	return fmt.Sprintf("workers: {max_attempts: 5, retry_backoff: %s}\nanalytics: {flush_interval: 200ms}\npools:\n%sroutes:\n  - {model: chat, strategy: %s, candidates: [%s]}\n",
		scale(0.5), pools.String(), strategy, strings.TrimSuffix(candidates.String(), ", "))
}

// Truth is what a run really came to.
type Truth struct {
	Jobs, Failed  int
	Cost          float64 // nano-dollars
	P50, P95, P99 float64 // milliseconds from submission to the end
	Shares        map[string]float64
}

// Foretold is what sluice simulate said.
type Foretold struct {
	Recorded, Old, New foretold
}

// foretold are the figures of it that are compared.
type foretold struct {
	Cost    float64 `json:"cost_nano_usd"`
	Latency struct {
		P50, P95, P99 float64
	} `json:"latency_ms"`
	Targets []struct {
		Pool  string
		Share float64
	}
}

// WhatIfReport is a prediction beside the truth.
type WhatIfReport struct {
	Foretold Foretold
	Old, New Truth // what the real runs of either policy came to
	Took     time.Duration
	Thought  time.Duration // that sluice simulate took
}

// Errors are the prediction's, in percent of the truth.
func (r *WhatIfReport) Errors() (cost, p50, p95, p99 float64) {
	by := func(said, is float64) float64 { return 100 * (said - is) / is }
	l := r.Foretold.New.Latency
	return by(r.Foretold.New.Cost, r.New.Cost), by(l.P50, r.New.P50), by(l.P95, r.New.P95), by(l.P99, r.New.P99)
}

// Err is nil if cost and p95 latency are within so many percent of the truth.
func (r *WhatIfReport) Err(cost, p95 float64) error {
	c, _, p, _ := r.Errors()
	var errs []error
	if !(math.Abs(c) <= cost) {
		errs = append(errs, fmt.Errorf("the predicted cost is off by %+.2f %%, more than %g %%", c, cost))
	}
	if !(math.Abs(p) <= p95) {
		errs = append(errs, fmt.Errorf("the predicted p95 latency is off by %+.1f %%, more than %g %%", p, p95))
	}
	return errors.Join(errs...)
}

// Print writes the report for people.
func (r *WhatIfReport) Print(w io.Writer) {
	fmt.Fprintf(w, "%d jobs under the old policy (%s) and then under the new (%s), in %.0f s; sluice simulate took %.1f s\n\n",
		r.New.Jobs, whatIfOld, whatIfNew, r.Took.Seconds(), r.Thought.Seconds())
	cost, p50, p95, p99 := r.Errors()
	fmt.Fprintf(w, "%-16s %12s %12s %12s %8s\n", "", "old, true", "new, said", "new, true", "error")
	line := func(name string, old, said, is, off float64, format string) {
		f := func(v float64) string { return fmt.Sprintf(format, v) }
		fmt.Fprintf(w, "%-16s %12s %12s %12s %+7.2f%%\n", name, f(old), f(said), f(is), off)
	}
	l := r.Foretold.New.Latency
	line("cost, USD", r.Old.Cost/1e9, r.Foretold.New.Cost/1e9, r.New.Cost/1e9, cost, "%.4f")
	line("latency p50, ms", r.Old.P50, l.P50, r.New.P50, p50, "%.1f")
	line("latency p95, ms", r.Old.P95, l.P95, r.New.P95, p95, "%.1f")
	line("latency p99, ms", r.Old.P99, l.P99, r.New.P99, p99, "%.1f")
	for _, p := range whatIfPools {
		said := 0.0
		for _, t := range r.Foretold.New.Targets {
			if t.Pool == p.name {
				said = t.Share
			}
		}
		fmt.Fprintf(w, "%-16s %11.1f%% %11.1f%% %11.1f%% %+7.2f points\n", "share of "+p.name, 100*r.Old.Shares[p.name], 100*said, 100*r.New.Shares[p.name], 100*(said-r.New.Shares[p.name]))
	}
	fmt.Fprintf(w, "\nits error on the old policy, by its own account: cost %+.2f %%, p95 %+.1f %%\n",
		100*(r.Foretold.Old.Cost/r.Foretold.Recorded.Cost-1), 100*(r.Foretold.Old.Latency.P95/r.Foretold.Recorded.Latency.P95-1))
}

// WhatIf runs the trace under a policy, has sluice simulate say what it would
// have come to under another, and runs it under that one.
func WhatIf(ctx context.Context, o WhatIfOptions) (*WhatIfReport, error) {
	begin := time.Now()
	old := whatIfYAML(whatIfOld, o.Speed, func(p *whatIfPool) int { return p.old })
	changed := whatIfYAML(whatIfNew, o.Speed, func(p *whatIfPool) int { return p.changed })
	r := &WhatIfReport{}
	err := o.under(ctx, old, &r.Old, func(p *process) error {
		path := filepath.Join(p.dir, "new.yaml")
		if err := os.WriteFile(path, []byte(changed), 0o600); err != nil {
			return err
		}
		thinks := time.Now()
		args := []string{"simulate", "--config", p.config, "--policy", path, "--since", "all", "--seed", fmt.Sprint(o.Seed), "--json"}
		if o.Runs > 0 {
			args = append(args, "--runs", fmt.Sprint(o.Runs))
		}
		cmd := exec.CommandContext(ctx, o.Command[0], append(o.Command[1:len(o.Command):len(o.Command)], args...)...)
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, p.log
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("sluice simulate: %w", err)
		}
		r.Thought = time.Since(thinks)
		return json.Unmarshal(out.Bytes(), &r.Foretold)
	})
	if err != nil {
		return nil, err
	}
	if err := o.under(ctx, changed, &r.New, nil); err != nil {
		return nil, err
	}
	r.Took = time.Since(begin)
	return r, nil
}

// under runs the trace under a policy; then happens while the server still
// runs.
func (o *WhatIfOptions) under(ctx context.Context, policy string, truth *Truth, then func(*process) error) error {
	p, err := newProcess(o.Command, func(string) string { return policy }, o.Log)
	if err != nil {
		return err
	}
	defer p.remove()
	if err := p.start(ctx); err != nil {
		return err
	}
	defer p.stop()
	client, err := p.dial(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	st, err := awaitStore(ctx, p.dsn) // its start must not disturb the first jobs
	if err != nil {
		return err
	}
	defer func() { _ = st.Close() }()
	var sent atomic.Int64
	if err := submitTrace(ctx, client, TraceOptions{Arrivals: o.Arrivals, Speed: o.Speed}, &sent); err != nil {
		return err
	}
	sys := &System{Store: st}
	if err := sys.awaitJobs(ctx, len(o.Arrivals)); err != nil {
		return err
	}
	if err := sys.truth(ctx, truth); err != nil || then == nil {
		return err
	}
	return then(p)
}

// truth reads what a run came to, from the rows.
func (s *System) truth(ctx context.Context, t *Truth) error {
	rows, err := s.Store.Query(ctx, `SELECT count(), countIf(status != 'succeeded'), toFloat64((SELECT sum(cost_nano_usd) FROM attempts)),
		quantileExactIf(0.5)(took, status = 'succeeded'), quantileExactIf(0.95)(took, status = 'succeeded'), quantileExactIf(0.99)(took, status = 'succeeded')
		FROM (SELECT status, dateDiff('microsecond', submitted_at, finished_at) / 1000 AS took FROM jobs)`)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		if err := scanAll(rows.Values(), &t.Jobs, &t.Failed, &t.Cost, &t.P50, &t.P95, &t.P99); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	shares, err := s.Store.Query(ctx, "SELECT pool, count() / (SELECT count() FROM attempts) FROM attempts GROUP BY pool")
	if err != nil {
		return err
	}
	defer func() { _ = shares.Close() }()
	t.Shares = map[string]float64{}
	for shares.Next() {
		var pool string
		var share float64
		if err := scanAll(shares.Values(), &pool, &share); err != nil {
			return err
		}
		t.Shares[pool] = share
	}
	return shares.Err()
}

// scanAll reads values into places.
func scanAll(values []any, places ...any) error {
	for i, p := range places {
		if _, err := fmt.Sscan(fmt.Sprint(values[i]), p); err != nil {
			return err
		}
	}
	return nil
}
