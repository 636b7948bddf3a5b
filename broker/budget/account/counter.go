package account

import "maps"

// counter is what a budget knows: sums by slots of its window.
type counter struct {
	Budget  Budget
	id      string
	defined bool   // here; others are only passed on (I5)
	behind  bool   // the ledger is not read to its end yet
	from    uint64 // ledger records up to this one have been counted
	seen    int64  // Unix nanoseconds of the last record that was counted, or looked at
	spent   map[int64]int64
	held    map[int64]int64

	cache struct{ low, until, start, spent, held int64 } // sums of the window of low ≤ time < until
}

func newCounter(id string) *counter {
	return &counter{id: id, spent: map[int64]int64{}, held: map[int64]int64{}}
}

// at is what is spent and held in the window of a time.
func (c *counter) at(now int64) (spent, held int64) {
	k := &c.cache
	if now < k.low || now >= k.until {
		w := c.Budget.Window
		k.start, k.low, k.until = w.Start(now), w.Start(now), w.End(now)
		if w.Rolling {
			k.low, k.until = floor(now, w.slotLength()), floor(now, w.slotLength())+w.slotLength()
		}
		k.spent, k.held = since(c.spent, k.start), since(c.held, k.start)
	}
	return k.spent, k.held
}

// since sums the slots from a time on. What lies ahead counts too: clocks of
// routers differ a little, and a limit holds by all of them.
func since(slots map[int64]int64, start int64) (sum int64) {
	for s, n := range slots {
		if s >= start {
			sum += n
		}
	}
	return sum
}

// slot is Window.Slot, fast for times in the window last looked at.
func (c *counter) slot(at int64) int64 {
	w := c.Budget.Window
	if !w.Rolling && w.Span != Total && at >= c.cache.low && at < c.cache.until {
		return max(floor(at, w.slotLength()), c.cache.start)
	}
	return w.Slot(at)
}

func (c *counter) spend(at, n int64) {
	s := c.slot(at)
	c.spent[s] += n
	if s >= c.cache.start {
		c.cache.spent += n
	}
}

func (c *counter) hold(at, n int64) {
	s := c.slot(at)
	if c.held[s] += n; c.held[s] == 0 {
		delete(c.held, s)
	}
	if s >= c.cache.start {
		c.cache.held += n
	}
}

// forget empties the cache.
func (c *counter) forget() { c.cache.low, c.cache.until = 0, 0 }

// keptSlots are how many slots of a calendar window keep their own sum: for
// rates. Older ones are one sum.
const keptSlots = 24

// prune drops what no window can reach any more.
func (c *counter) prune(now int64) {
	w := c.Budget.Window
	if w.Span == Total {
		return
	}
	oldest := w.Start(w.Start(now) - 1)
	fine := floor(now, w.slotLength()) - keptSlots*w.slotLength()
	for s, n := range maps.Clone(c.spent) {
		switch {
		case s < oldest && s < fine:
			delete(c.spent, s)
		case !w.Rolling && s < fine && s > w.Start(s):
			delete(c.spent, s)
			c.spent[w.Start(s)] += n
		}
	}
}

// opens is the earliest time at which time alone makes room for a draw that
// what is spent leaves no room for.
func (c *counter) opens(at, n int64) int64 {
	w := c.Budget.Window
	if !w.Rolling {
		return w.End(at)
	}
	spent, _ := c.at(at)
	start := w.Start(at)
	until := w.End(at)
	for spent+n > c.Budget.Limit {
		oldest := forever
		for s := range c.spent {
			if s >= start && s < oldest {
				oldest = s
			}
		}
		if oldest == forever {
			break
		}
		spent -= c.spent[oldest]
		start, until = oldest+1, w.End(oldest)
	}
	return until
}

// pace is what was spent in a time before now, by whole slots.
func (c *counter) pace(now, before int64) int64 {
	return since(c.spent, c.Budget.Window.Slot(now-before))
}
