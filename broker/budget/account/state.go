package account

import (
	"maps"
	"math"
	"slices"

	"github.com/sluicehq/sluice/sdk/wire"
)

// Job names a job of which copies may exist: its submission is part of it.
type Job struct {
	Tenant string `json:"t"`
	ID     string `json:"i"`
	Seq    uint64 `json:"s"`
}

// JobOf is the job of a Meta.
func JobOf(m *wire.Meta) Job { return Job{m.Tenant, m.ID, m.Seq} }

// Hold asks for, or is, a draw set aside for attempt N of a job.
type Hold struct {
	Job  Job  `json:"j"`
	N    int  `json:"a"`
	Draw Draw `json:"c"`
}

type attempt struct {
	job Job
	n   int
}

// hold is what is set aside for an attempt. It is never changed, only
// replaced. Copies of the job may have taken it for several candidates.
type hold struct {
	n     int
	seq   uint64 // of the last message that took it
	draws []Draw
	since int64 // the earliest moment of theirs
}

// State is what a router knows of all budgets. Its owner serialises access.
type State struct {
	counters map[string]*counter // by ID, also those that are not defined here
	order    []*counter          // those that are, by ID
	index    index               // of them
	holds    map[Job][]*hold
	early    map[attempt]uint64 // ended before their hold was seen, and its sequence
	log      uint64             // last sequence of the stream of holds
	pos      uint64             // last sequence of the ledger
	posAt    int64              // when that was stored
	caught   bool               // the ledger's end was reached once
}

// New is an empty state, of the beginning of both streams.
func New() *State {
	return &State{counters: map[string]*counter{}, index: newIndex(nil), holds: map[Job][]*hold{}, early: map[attempt]uint64{}}
}

// Log and Pos are the sequences up to which the streams of holds and records
// are folded.
func (s *State) Log() uint64 { return s.log }

// Pos is that of the ledger.
func (s *State) Pos() uint64 { return s.pos }

// position is up to where a counter has counted.
func (s *State) position(c *counter) uint64 {
	if c.defined {
		return max(c.from, s.pos)
	}
	return c.from
}

// Define sets which budgets there are, by ID; of two with one ID the last
// counts. Where one is new, or was away, the ledger must be read again: Pos
// goes back then. since is from when on (Unix nanoseconds) records matter.
func (s *State) Define(budgets []Budget, now int64) (since int64) {
	since = forever
	if s.pos > 0 {
		since = s.posAt
	}
	for _, c := range s.counters {
		c.from, c.defined = s.position(c), false
		clear(c.held)
	}
	pos := s.pos
	var defined []*counter
	for _, b := range budgets {
		id := b.ID()
		c := s.counters[id]
		if c == nil {
			c = newCounter(id)
			s.counters[id] = c
		}
		c.Budget = b
		c.forget()
		c.behind = c.behind || !s.caught || c.from < pos
		if c.from < pos || c.from == 0 {
			since = min(since, max(b.Window.Start(now), c.seen))
		}
		if !c.defined {
			defined = append(defined, c)
		}
		c.defined = true
	}
	for _, c := range defined {
		s.pos = min(s.pos, c.from)
	}
	slices.SortFunc(defined, func(a, b *counter) int {
		if a.id < b.id {
			return -1
		}
		return 1
	})
	s.order, s.index = defined, newIndex(defined)
	for _, list := range s.holds {
		for _, h := range list {
			s.apply(h, 1)
		}
	}
	return since
}

// Any reports whether any budget is defined.
func (s *State) Any() bool { return len(s.order) > 0 }

// Reached says that the ledger holds nothing up to a sequence that has not
// been settled, and that this was its end a moment ago.
func (s *State) Reached(seq uint64) {
	s.pos, s.caught = max(s.pos, seq), true
	for _, c := range s.counters {
		c.behind = c.behind && !c.defined
	}
}

// Prune forgets what no window can reach any more.
func (s *State) Prune(now int64) {
	for _, c := range s.order {
		c.prune(now)
	}
}

// share is what a hold takes of one budget, and in the window of which time.
type share struct{ n, at int64 }

// shares are what a hold takes. Of copies of a job only one runs, so of their
// amounts the largest counts, where the latest of them is (I2).
func (s *State) shares(h *hold) map[*counter]share {
	out := map[*counter]share{}
	for i := range h.draws {
		c := &h.draws[i]
		for _, x := range s.index.find(&c.Facts) {
			out[x] = share{max(out[x].n, x.Budget.Amount(c)), max(out[x].at, c.At)}
		}
	}
	return out
}

// apply adds what a hold takes, or with -1 takes it away.
func (s *State) apply(h *hold, sign int64) {
	if len(h.draws) > 1 {
		for c, x := range s.shares(h) {
			c.hold(x.at, sign*x.n)
		}
		return
	}
	c := &h.draws[0]
	for _, x := range s.index.find(&c.Facts) {
		x.hold(c.At, sign*x.Budget.Amount(c))
	}
}

// standing finds the hold of an attempt.
func (s *State) standing(j Job, n int) *hold {
	for _, h := range s.holds[j] {
		if h.n == n {
			return h
		}
	}
	return nil
}

// Held is the message that took an equal hold, 0 if none has.
func (s *State) Held(h *Hold) uint64 {
	old := s.standing(h.Job, h.N)
	if old == nil {
		return 0
	}
	for i := range old.draws {
		c := &old.draws[i]
		if sameTarget(c, &h.Draw) && c.At == h.Draw.At && c.USD >= h.Draw.USD && c.Tokens >= h.Draw.Tokens {
			return old.seq
		}
	}
	return 0
}

func sameTarget(a, b *Draw) bool {
	return a.Facts.Pool == b.Facts.Pool && a.Facts.Model == b.Facts.Model && a.Facts.Provider == b.Facts.Provider
}

// merged is a hold with a further draw.
func merged(old *hold, h *Hold, seq uint64) *hold {
	out := &hold{n: h.N, seq: seq, since: h.Draw.At, draws: []Draw{h.Draw}}
	if old == nil {
		return out
	}
	for _, c := range old.draws {
		if sameTarget(&c, &h.Draw) {
			mine := &out.draws[0]
			mine.At = max(mine.At, c.At)
			mine.USD, mine.Tokens, mine.First = max(mine.USD, c.USD), max(mine.Tokens, c.Tokens), mine.First || c.First
			continue
		}
		out.draws = append(out.draws, c)
	}
	out.since = min(old.since, out.since)
	return out
}

// replace puts a hold in the place of another; either may be nil.
func (s *State) replace(j Job, old, now *hold) {
	list := s.holds[j]
	if old != nil {
		s.apply(old, -1)
		list = slices.DeleteFunc(slices.Clone(list), func(h *hold) bool { return h == old })
	}
	if now != nil {
		s.apply(now, 1)
		list = append(list, now)
	}
	if len(list) == 0 {
		delete(s.holds, j)
		return
	}
	s.holds[j] = list
}

// Take folds a message of the stream of holds. What ended before its hold was
// seen is not held any more (I3).
func (s *State) Take(seq uint64, holds []Hold) {
	if seq <= s.log {
		return
	}
	s.log = seq
	for i := range holds {
		h := &holds[i]
		if ended, ok := s.early[attempt{h.Job, h.N}]; ok && seq <= ended {
			continue
		}
		old := s.standing(h.Job, h.N)
		s.replace(h.Job, old, merged(old, h, seq))
	}
	for k, ended := range s.early {
		if ended <= seq {
			delete(s.early, k)
		}
	}
}

// Settle folds a record of the ledger, stored at a time. It reports whether it
// changed anything that a Judge may say.
func (s *State) Settle(seq uint64, stored int64, r *wire.Record) bool {
	if seq <= s.pos {
		return false
	}
	e, changed := &r.Entry, false
	job := JobOf(&e.Meta)
	if r.EndsAttempt() {
		known, most := Of(e, stored)
		for _, c := range s.index.find(&known.Facts) {
			if c.from < seq {
				c.spend(known.At, c.Budget.spent(&known, &most))
				c.seen = stored
				changed = true
			}
		}
		if h := e.Attempt.Hold; h != nil && h.Seq > s.log {
			s.early[attempt{job, e.Attempt.N}] = h.Seq
		}
		changed = s.release(job, e.Attempt.N) || changed
	}
	if r.Status.Terminal() {
		changed = s.release(job, allAttempts) || changed
	}
	s.pos, s.posAt = seq, stored
	return changed
}

// allAttempts is above any attempt's number.
const allAttempts = math.MaxInt

// release removes the holds of a job's attempts up to n.
func (s *State) release(j Job, n int) bool {
	changed := false
	for _, h := range s.holds[j] {
		if h.n <= n {
			s.replace(j, h, nil)
			changed = true
		}
	}
	return changed
}

// Void removes the holds of a job of which something else than the fold has
// shown that they are void: the ledger's record at seq says that its attempts
// up to n have ended, or (done) that it will never run again. Nothing is
// removed before that record is folded, or a cost could be forgotten between
// hold and record.
func (s *State) Void(j Job, n int, done bool, seq uint64) bool {
	if seq > s.pos {
		return false
	}
	if done {
		n = allAttempts
	}
	return s.release(j, n)
}

// Owner is a job with a hold, of which attempt, and since when.
type Owner struct {
	Job   Job
	N     int // the latest
	Since int64
}

// Owners lists the jobs that hold something since before a time.
func (s *State) Owners(before int64) []Owner {
	var out []Owner
	for j, list := range s.holds {
		o := Owner{Job: j, Since: forever}
		for _, h := range list {
			o.N, o.Since = max(o.N, h.n), min(o.Since, h.since)
		}
		if o.Since < before {
			out = append(out, o)
		}
	}
	return out
}

// Holds is how many attempts hold something.
func (s *State) Holds() int {
	n := 0
	for _, list := range s.holds {
		n += len(list)
	}
	return n
}

// Binds reports whether any budget binds what has the facts.
func (s *State) Binds(f *Facts) bool { return len(s.index.find(f)) > 0 }

// Skip passes over a message of the log that takes nothing.
func (s *State) Skip(seq uint64) { s.Take(seq, nil) }

// Caught reports whether the ledger's end has been reached, for all budgets.
func (s *State) Caught() bool {
	return s.caught && !slices.ContainsFunc(s.order, func(c *counter) bool { return c.behind })
}

// Tenants are those that the budgets name; false if one is for every tenant.
func (s *State) Tenants() ([]string, bool) {
	set := map[string]bool{}
	for _, c := range s.order {
		t, ok := c.Budget.Scope.Tenant()
		if !ok {
			return nil, false
		}
		set[t] = true
	}
	return slices.Sorted(maps.Keys(set)), true
}
