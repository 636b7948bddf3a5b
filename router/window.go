package router

// windowSlots are the seconds that a minute can touch.
const windowSlots = 61

// Window counts what happened in the last minute, by whole seconds and never
// too low: something is forgotten only when all of its second is more than a
// minute ago. It is a value; the zero value is empty.
type Window struct {
	Slots [windowSlots]int64
	Sum   int64
	Last  int64 // second of the last change
}

const nanosPerSecond = int64(1e9)

// move forgets what is too old at the time.
func (w *Window) move(now int64) {
	second := now / nanosPerSecond
	if second <= w.Last {
		return
	}
	for s := max(w.Last+1, second-windowSlots+1); s <= second; s++ {
		slot := &w.Slots[s%windowSlots]
		w.Sum -= *slot
		*slot = 0
	}
	w.Last = second
}

// Add counts n more at a time. What comes late counts as if it came with the
// last; a negative n takes back.
func (w *Window) Add(now, n int64) {
	w.move(now)
	w.Slots[w.Last%windowSlots] += n
	w.Sum += n
}

// Raise makes the count at least used: a provider's own word (limit minus
// what remains) when others use its key too.
func (w *Window) Raise(now, used int64) {
	w.move(now)
	if used > w.Sum {
		w.Add(now, used-w.Sum)
	}
}

// Quota is the window's use of a limit at a time.
func (w Window) Quota(now, limit int64) Quota {
	w.move(now)
	q := Quota{Limit: limit, Used: w.Sum}
	for s := w.Last - windowSlots + 1; s <= w.Last; s++ {
		if s >= 0 && w.Slots[s%windowSlots] > 0 {
			q.Reset = (s + windowSlots) * nanosPerSecond
			break
		}
	}
	return q
}

// RetryBudget holds retries to a share of traffic, so that a failing provider
// is not called more than a working one. It is a value.
type RetryBudget struct {
	First, Retries Window
}

// Allows reports whether another retry may start: there are fewer than floor
// in the last minute, or fewer than percent of the first attempts.
func (b *RetryBudget) Allows(now, percent, floor int64) bool {
	first, retries := b.First.Quota(now, 0).Used, b.Retries.Quota(now, 0).Used
	return retries < floor || retries*100 < first*percent
}
