package router

import "testing"

// The window agrees with a list of everything that happened, and never counts
// too little.
func TestWindowAgainstList(t *testing.T) {
	rng, seed := newRand(t)
	for range 50 {
		var w Window
		type entry struct{ at, n int64 }
		var all []entry
		now := 1000 * second
		for range 300 {
			now += rng.Int64N(4 * second)
			n := rng.Int64N(5)
			w.Add(now, n)
			all = append(all, entry{now, n})
			minute, slack := int64(0), int64(0)
			for _, e := range all {
				if e.at > now-60*second {
					minute += e.n
				}
				if e.at > now-61*second {
					slack += e.n
				}
			}
			if got := w.Quota(now, 1).Used; got < minute || got > slack {
				t.Fatalf("seed %d: %d, want %d to %d", seed, got, minute, slack)
			}
		}
		if got := w.Quota(now+61*second, 1); got.Used != 0 || got.Reset != 0 {
			t.Fatalf("seed %d: a minute later: %+v", seed, got)
		}
	}
}

func TestWindowReset(t *testing.T) {
	var w Window
	w.Add(100*second+5, 3)
	w.Add(130*second, 4)
	if q := w.Quota(140*second, 10); q != (Quota{Limit: 10, Used: 7, Reset: 161 * second}) {
		t.Errorf("%+v", q)
	}
	if q := w.Quota(161*second, 10); q != (Quota{Limit: 10, Used: 4, Reset: 191 * second}) {
		t.Errorf("when the first is over: %+v", q)
	}
	if q := w.Quota(140*second, 10); q.Used != 7 {
		t.Errorf("Quota changed the window: %+v", q)
	}
	w.Add(120*second, 1) // late
	if q := w.Quota(140*second, 10); q.Used != 8 {
		t.Errorf("late: %+v", q)
	}
}

func TestWindowRaise(t *testing.T) {
	var w Window
	w.Add(100*second, 5)
	w.Raise(101*second, 3)
	if q := w.Quota(101*second, 9); q.Used != 5 {
		t.Errorf("lowered: %+v", q)
	}
	w.Raise(101*second, 8)
	if q := w.Quota(101*second, 9); q.Used != 8 {
		t.Errorf("not raised: %+v", q)
	}
}

// A provider that takes 100 calls in any minute sees no more, and the limit
// is used.
func TestWindowHoldsALimit(t *testing.T) {
	var w Window
	var sent []int64
	for now := 1000 * second; now < 1600*second; now += second / 5 {
		if q := w.Quota(now, 100); q.admits(1) {
			w.Add(now, 1)
			sent = append(sent, now)
		}
	}
	for i := range sent {
		n := 0
		for j := i; j >= 0 && sent[j] > sent[i]-60*second; j-- {
			n++
		}
		if n > 100 {
			t.Fatalf("%d calls in a minute", n)
		}
	}
	if len(sent) < 950 {
		t.Errorf("only %d calls in ten minutes", len(sent))
	}
}

func TestQuotaAdmits(t *testing.T) {
	for _, c := range []struct {
		q    Quota
		n    int64
		want bool
	}{
		{Quota{}, 5, true}, {Quota{Used: 9}, 5, true}, {Quota{Limit: 10, Used: 5}, 5, true}, {Quota{Limit: 10, Used: 6}, 5, false},
		{Quota{Limit: 10}, 50, true}, {Quota{Limit: 10, Used: 1}, 50, false}, {Quota{Limit: 10, Used: 12}, 1, false},
	} {
		if got := c.q.admits(c.n); got != c.want {
			t.Errorf("%+v admits %d: %v", c.q, c.n, got)
		}
	}
}

func TestRetryBudget(t *testing.T) {
	var b RetryBudget
	now := 1000 * second
	for range 3 {
		if !b.Allows(now, 20, 3) {
			t.Error("the floor is not allowed")
		}
		b.Retries.Add(now, 1)
	}
	if b.Allows(now, 20, 3) {
		t.Error("above the floor without traffic")
	}
	b.First.Add(now, 100)
	for range 17 {
		if !b.Allows(now, 20, 3) {
			t.Error("within the share")
		}
		b.Retries.Add(now, 1)
	}
	if b.Allows(now, 20, 3) {
		t.Error("above the share")
	}
	if !b.Allows(now+61*second, 20, 3) {
		t.Error("a minute later")
	}
}
