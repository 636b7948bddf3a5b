package whatif

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/sluicehq/sluice/router"
)

// erlangC is the probability that a job waits, with c servers that are offered
// a load of a (Erlang 1917; Cooper, "Introduction to Queueing Theory", 1981).
func erlangC(c int, a float64) float64 {
	term, sum := 1.0, 0.0
	for k := range c {
		sum += term
		term *= a / float64(k+1)
	}
	last := term * float64(c) / (float64(c) - a)
	return last / (sum + last)
}

// TestErlangC: with arrivals and services that are exponential, a pool waits
// as M/M/c does: how many, how long, and how long those who do.
func TestErlangC(t *testing.T) {
	const mean = time.Second
	for _, c := range []struct {
		slots int
		load  float64
	}{{1, 0.6}, {4, 0.8}, {8, 0.7}} {
		rng := rand.New(rand.NewPCG(1, uint64(c.slots)))
		n := 50_000
		rate := c.load * float64(c.slots) / mean.Seconds()
		pools := []router.Pool{{Name: "p", Concurrency: c.slots}}
		table := tableOf(t, pools, routeOver("chat", "least_connections", pools))
		m := Fit(records(Target{"p", "m"}, window, time.Second, exponential(rng, mean)), table)
		m.Hop, m.Settle, m.Turn = Series{}, Series{}, Series{}
		o := play(t, policyOf(table), m, poisson(rng, n, rate), 1)
		var waited, sum, late float64
		for i := range o.Jobs {
			w := float64(o.Jobs[i].Wait) / 1e9
			sum += w
			if w > 0.05 { // more than the router's looks take
				waited++
			}
			if w > 0.5 {
				late++
			}
		}
		p := erlangC(c.slots, c.load*float64(c.slots))
		drain := float64(c.slots)/mean.Seconds() - rate
		for _, x := range []struct {
			what      string
			got, want float64
		}{{"probability of waiting over 0.05 s", waited / float64(n), p * math.Exp(-0.05*drain)}, {"mean wait", sum / float64(n), p / drain},
			{"probability of waiting over 0.5 s", late / float64(n), p * math.Exp(-0.5*drain)}} {
			t.Logf("%2d slots at %.0f %%: %s %.4f, by Erlang %.4f", c.slots, 100*c.load, x.what, x.got, x.want)
			if math.Abs(x.got-x.want) > 0.08*x.want {
				t.Errorf("%d slots at %.0f %%: %s %.4f, by Erlang %.4f", c.slots, 100*c.load, x.what, x.got, x.want)
			}
		}
	}
}
