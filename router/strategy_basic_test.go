package router

import (
	"strings"
	"testing"
)

func sequence(f *fixture, n int) string {
	var names []string
	for range n {
		names = append(names, f.next())
	}
	return strings.Join(names, " ")
}

func TestRoundRobinOrder(t *testing.T) {
	for _, c := range []struct {
		weights []int
		want    string
	}{
		{[]int{1, 1, 1}, "p0 p1 p2 p0 p1 p2"},
		{[]int{2, 2, 2}, "p0 p1 p2 p0 p1 p2"},
		{[]int{3, 1}, "p0 p1 p0 p0 p0 p1"},
		{[]int{1, 3, 2}, "p0 p1 p2 p1 p2 p1"},
		{[]int{1, 0, 1}, "p0 p2 p0 p2 p0 p2"},
	} {
		if got := sequence(simple(t, "round_robin", c.weights...), 6); got != c.want {
			t.Errorf("weights %v: got %s, want %s", c.weights, got, c.want)
		}
	}
}

func TestRoundRobinSkipsFull(t *testing.T) {
	f := simple(t, "round_robin", 1, 1, 1)
	f.load[1].Depth = 1500
	if got, want := sequence(f, 4), "p0 p2 p0 p2"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// Any sum-of-weights decisions in a row give everyone exactly their weight.
func TestSmoothShares(t *testing.T) {
	for _, strategy := range Strategies() {
		if !strategy.Smooth {
			continue
		}
		for _, weights := range [][]int{{1}, {3, 1}, {5, 1, 1}, {7, 3, 2, 0, 1}, {100, 1, 1, 50}, {1, 1, 1, 1, 1}} {
			f := simple(t, strategy.Name, weights...)
			w := 0
			for _, x := range weights {
				w += x
			}
			for _, start := range []uint64{0, 1, 17, 1 << 40} {
				f.in.Sequence = start
				got := f.counts(w)
				for i, x := range weights {
					if name := f.table.Pools()[i].Name; got[name] != x {
						t.Errorf("%s, weights %v from %d: %s was chosen %d times", strategy.Name, weights, start, name, got[name])
					}
				}
			}
		}
	}
}

// Turns come evenly: nobody is ever far from their share.
func TestSmoothSpread(t *testing.T) {
	for _, weights := range [][]int{{5, 1, 1}, {3, 1}, {10, 9, 8, 7, 1}, {50, 1, 1, 1, 1, 1, 1, 1, 1, 1}, {1000, 333, 21, 7}} {
		f := simple(t, "weighted_round_robin", weights...)
		w := 0.0
		for _, x := range weights {
			w += float64(x)
		}
		got, worst := map[string]int{}, 0.0
		for n := 1; n <= int(w); n++ {
			got[f.next()]++
			for i, x := range weights {
				off := float64(got[f.table.Pools()[i].Name]) - float64(n)*float64(x)/w
				worst = max(worst, off, -off)
			}
		}
		t.Logf("weights %v: at most %.2f from the share", weights, worst)
		if worst > 2 {
			t.Errorf("weights %v: %.2f from the share", weights, worst)
		}
	}
}

func TestLeastConnections(t *testing.T) {
	f := simple(t, "least_connections", 1, 1, 1)
	for _, c := range []struct {
		depths [3]int32
		want   string
	}{
		{[3]int32{3, 2, 4}, "p1"},
		{[3]int32{0, 1, 1}, "p0"},
		{[3]int32{9, 9, 8}, "p2"},
		{[3]int32{2000, 2000, 2000}, "-"},
	} {
		for i, d := range c.depths {
			f.load[i].Depth = d
		}
		if got := f.next(); got != c.want {
			t.Errorf("depths %v: got %s, want %s", c.depths, got, c.want)
		}
	}
}

func TestLeastConnectionsFillsByWeight(t *testing.T) {
	f := simple(t, "least_connections", 4, 2, 1)
	for range 700 {
		f.next()
		f.load[f.route.Candidates()[f.out.Choice].Pool].Depth++
	}
	for i, want := range []int32{400, 200, 100} {
		if got := f.load[i].Depth; got < want-1 || got > want+1 {
			t.Errorf("p%d has %d jobs, want %d", i, got, want)
		}
	}
}

// Ties are drawn by weight, also when the caller gives no entropy.
func TestLeastConnectionsTies(t *testing.T) {
	for _, random := range []bool{true, false} {
		f := simple(t, "least_connections", 1, 1, 1)
		got := map[string]int{}
		for range 3000 {
			f.in.Sequence += 2 // in step with nothing
			if random {
				f.in.Random = mix(f.in.Sequence)
			}
			got[f.decide()]++
		}
		for name, n := range got {
			if n < 850 || n > 1150 {
				t.Errorf("random %v: %s was chosen %d times of 3000", random, name, n)
			}
		}
	}
}
