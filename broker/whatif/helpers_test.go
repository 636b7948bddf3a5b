package whatif

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/sluicehq/sluice/router"
	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
)

const begin = int64(1_800_000_000_000_000_000) // of every test's time

func tableOf(t testing.TB, pools []router.Pool, routes ...router.RouteSpec) *router.Table {
	t.Helper()
	table, err := router.NewTable(pools, routes)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func policyOf(table *router.Table) *Policy {
	return &Policy{Table: table, Retries: ledger.Retries{MaxAttempts: 3, MaxCuts: ledger.MaxCuts, Backoff: 500 * time.Millisecond, BackoffMax: ledger.BackoffMax},
		RetryBudget: 0.25, RetryMinimum: 60, Final: func(c wire.Code) bool { return c == wire.CodeProviderRefused }}
}

// routeOver is a route over pools of equal weight with one model and a price.
func routeOver(name, strategy string, pools []router.Pool) router.RouteSpec {
	r := router.RouteSpec{Name: name, Strategy: strategy}
	for i, p := range pools {
		r.Candidates = append(r.Candidates, router.CandidateSpec{Pool: p.Name, Model: "m", Weight: 1,
			Price: &wire.Price{Input: wire.Rate(1000 * (i + 1)), Output: wire.Rate(4000 * (i + 1))}})
	}
	return r
}

// records are n succeeded jobs of one attempt at the target, an interval
// apart, that each took what taken says.
func records(target Target, n int, every time.Duration, taken func(i int) (tokens int64, d time.Duration)) (list []Recorded) {
	for i := range n {
		at := begin + int64(i)*int64(every)
		tokens, d := taken(i)
		list = append(list, Recorded{Tenant: "t", ID: fmt.Sprint(target.Pool, i), Route: "chat", Class: wire.Standard, Submitted: at, Finished: at + int64(d), Status: wire.Succeeded,
			Attempts: []Attempt{{Target: target, Endpoint: wire.ChatCompletions, N: 1, Ended: at + int64(d), Taken: d, Status: wire.Succeeded,
				Usage: wire.Usage{Input: 100, Output: tokens}, Cost: new(wire.NanoUSD)}}})
	}
	return list
}

// exponential are times with exactly that distribution in each run of window,
// so that a draw from any of them is exponential.
func exponential(rng *rand.Rand, mean time.Duration) func(int) (int64, time.Duration) {
	var left []int
	return func(int) (int64, time.Duration) {
		if len(left) == 0 {
			left = rng.Perm(window)
		}
		k := left[0]
		left = left[1:]
		return 1, time.Duration(-math.Log(1-(float64(k)+0.5)/window) * float64(mean))
	}
}

// poisson are jobs that come at a rate per second.
func poisson(rng *rand.Rand, n int, rate float64) []Job {
	jobs := make([]Job, n)
	at := float64(begin)
	for i := range jobs {
		at += rng.ExpFloat64() / rate * 1e9
		jobs[i] = Job{Input: 100, Output: 1, Meta: wire.Meta{ID: fmt.Sprint("j", i), Tenant: "t", Class: wire.Standard, Route: "chat",
			Endpoint: wire.ChatCompletions, SubmittedAt: int64(at), BodyBytes: 400}}
	}
	return jobs
}

func play(t testing.TB, p *Policy, m *Model, jobs []Job, seed uint64) *Outcome {
	t.Helper()
	o, err := Play(p, m, jobs, seed, nil)
	if err != nil {
		t.Fatal(err)
	}
	return o
}
