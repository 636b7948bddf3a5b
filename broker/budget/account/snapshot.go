package account

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/sluicehq/sluice/sdk/wire"
)

// snapshot is a State as JSON.
type snapshot struct {
	Version  int             `json:"v"`
	Log      uint64          `json:"log"`
	Pos      uint64          `json:"pos"`
	PosAt    int64           `json:"pos_at"`
	Counters []storedCounter `json:"counters"`
	Holds    []storedHold    `json:"holds"`
}

type storedCounter struct {
	ID    string          `json:"id"`
	Pos   uint64          `json:"pos"`
	Seen  int64           `json:"seen,omitempty"`
	Spent map[int64]int64 `json:"spent"`
}

type storedHold struct {
	Job   Job    `json:"j"`
	N     int    `json:"a"`
	Seq   uint64 `json:"s"`
	Since int64  `json:"at"`
	Draws []Draw `json:"c"`
}

const snapshotVersion = 1

// forgotten is after how long without a definition a counter is dropped.
const forgotten = 40 * 24 * int64(3600e9)

// Encode is the whole state: a router that decodes it and folds what comes
// after Log and Pos knows the same (I5).
func (s *State) Encode() ([]byte, error) {
	out := snapshot{Version: snapshotVersion, Log: s.log, Pos: s.pos, PosAt: s.posAt}
	for _, id := range slices.Sorted(maps.Keys(s.counters)) {
		c := s.counters[id]
		if !c.defined && s.posAt-c.seen > forgotten {
			continue
		}
		seen := c.seen
		if c.defined {
			seen = max(seen, s.posAt)
		}
		out.Counters = append(out.Counters, storedCounter{ID: id, Pos: s.position(c), Seen: seen, Spent: c.spent})
	}
	for _, j := range slices.SortedFunc(maps.Keys(s.holds), compareJobs) {
		for _, h := range s.holds[j] {
			out.Holds = append(out.Holds, storedHold{j, h.n, h.seq, h.since, h.draws})
		}
	}
	return json.Marshal(&out)
}

func compareJobs(a, b Job) int {
	if c := strings.Compare(a.Tenant, b.Tenant); c != 0 {
		return c
	}
	if c := strings.Compare(a.ID, b.ID); c != 0 {
		return c
	}
	switch {
	case a.Seq < b.Seq:
		return -1
	case a.Seq > b.Seq:
		return 1
	}
	return 0
}

// Decode reads what Encode wrote. Nothing is defined in the state: Define must
// follow.
func Decode(b []byte) (*State, error) {
	var in snapshot
	if err := json.Unmarshal(b, &in); err != nil {
		return nil, fmt.Errorf("stored budgets: %w", err)
	}
	if in.Version != snapshotVersion {
		return nil, fmt.Errorf("stored budgets: version %d is not known", in.Version)
	}
	s := New()
	s.log, s.pos, s.posAt = in.Log, in.Pos, in.PosAt
	for _, x := range in.Counters {
		c := newCounter(x.ID)
		c.from, c.seen = x.Pos, x.Seen
		if x.Spent != nil {
			c.spent = x.Spent
		}
		s.counters[x.ID] = c
	}
	for _, x := range in.Holds {
		s.holds[x.Job] = append(s.holds[x.Job], &hold{n: x.N, seq: x.Seq, since: x.Since, draws: x.Draws})
	}
	return s, nil
}

// Claim takes a hold from the claim of an attempt that has one, where the
// stream of holds may have lost it.
func (s *State) Claim(r *wire.Record, b Bounds) {
	e := &r.Entry
	a := e.Attempt
	if r.Status != wire.Running || a == nil || a.Hold == nil || a.Status != "" {
		return
	}
	job := JobOf(&e.Meta)
	if s.standing(job, a.N) != nil || e.Meta.Seq == 0 {
		return
	}
	m := e.Meta
	if a.MaxTokens > 0 {
		m.MaxTokens = a.MaxTokens
	}
	d, _ := b.Worst(&m, &Offer{Price: a.Price})
	if a.Hold.Tokens > 0 { // as it was taken
		d.USD, d.Tokens = int64(a.Hold.USD), a.Hold.Tokens
	}
	d.Facts, d.At, d.First = FactsOf(&e.Meta), a.Hold.At, a.N == 1
	d.Facts.Pool, d.Facts.Provider, d.Facts.Model = a.Pool, a.Provider, a.Model
	s.replace(job, nil, merged(nil, &Hold{Job: job, N: a.N, Draw: d}, a.Hold.Seq))
}
