package fleet

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/sluicehq/sluice/broker/peek"
	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
)

// audit reads the stream of holds while it is written, and adds up afterwards
// what routers have set aside of the budget: with the providers' books as what
// was spent, and arithmetic of its own.
type audit struct {
	steps  []auditStep
	next   uint64 // sequence to be read
	Holds  int
	Gaps   int // where messages were gone before they were read
	by     map[string]bool
	budget string // the pool
}

// auditStep is a message of holds: more are taken, or these are all (after a
// gap, from the state that a router has stored).
type auditStep struct {
	at    time.Time
	all   bool
	holds []auditHold
}

// auditHold is what an attempt of a copy of a job may cost at most.
type auditHold struct {
	owner
	usd int64
}

// owner is an attempt of a copy of a job: copies differ in their submission.
type owner struct {
	job string
	seq uint64
	n   int
}

// holdDraw is the part of a draw that the audit reads.
type holdDraw struct {
	Facts struct {
		Pool string `json:"p"`
	} `json:"f"`
	USD int64 `json:"$"`
}

// holdJSON is a hold in a message, or in a stored state.
type holdJSON struct {
	Job struct {
		ID  string `json:"i"`
		Seq uint64 `json:"s"`
	} `json:"j"`
	N    int             `json:"a"`
	Draw json.RawMessage `json:"c"` // one, or a list of them
}

// auditEvery is how often new holds are read: routers remove those that are
// older than ten seconds.
const auditEvery = 200 * time.Millisecond

// follow reads holds until ctx ends.
func (a *audit) follow(ctx context.Context, js jetstream.JetStream) {
	for ledger.Pause(ctx, auditEvery) == nil {
		a.read(ctx, js)
	}
}

// read takes in what has come.
func (a *audit) read(ctx context.Context, js jetstream.JetStream) {
	var s wire.Subjects
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second) // servers may be away: next time
	defer cancel()
	all := strings.TrimSuffix(s.Holds(), "taken") + "*"
	w := peek.Walk{Conn: js.Conn(), Stream: s.Stream(wire.StreamHolds), Subject: all, From: a.next, Batch: 500, Bytes: 4 << 20}
	_, _ = w.Run(ctx, func(m peek.Message) { a.take(&m, s.HoldsState()) }, func() bool { return false }) // as above
}

// take notes one message.
func (a *audit) take(m *peek.Message, state string) {
	if m.Seq < a.next {
		return
	}
	gap := a.next > 0 && m.Seq > a.next
	a.next = m.Seq + 1
	var msg struct {
		By    string     `json:"by"`
		Holds []holdJSON `json:"holds"`
	}
	if m.Stored == state && !gap || json.Unmarshal(m.Data, &msg) != nil {
		return // what it says is known
	}
	if gap {
		a.Gaps++
	}
	st := auditStep{at: m.At, all: gap && m.Stored == state}
	for i := range msg.Holds {
		h := &msg.Holds[i]
		if m.Stored != state {
			a.Holds++
		}
		draws := []holdDraw{}
		if json.Unmarshal(h.Draw, &draws) != nil {
			draws = make([]holdDraw, 1)
			_ = json.Unmarshal(h.Draw, &draws[0]) // what is no draw holds nothing
		}
		for _, d := range draws {
			if d.Facts.Pool == a.budget {
				st.holds = append(st.holds, auditHold{owner{h.Job.ID, h.Job.Seq, h.N}, d.USD})
			}
		}
	}
	if msg.By != "" {
		a.by[msg.By] = true
	}
	a.steps = append(a.steps, st)
}

// ending is the end of an attempt, or of a job, in the ledger.
type ending struct {
	at       time.Time
	job      string
	seq      uint64
	n        int    // attempts up to this one have ended; 0: none
	key      string // of the attempt that ends, empty: none
	terminal bool
}

// peak is the most that was paid and held at any time: after each message of
// holds, what the books say of the attempts that had ended, and the worst case
// of all others that held something. ends are in the order of the ledger.
func (a *audit) peak(ends []ending, paid map[string]int64) int64 {
	submission := map[string]uint64{} // of each job: the copy that counts
	for _, e := range ends {
		submission[e.job] = e.seq
	}
	open, over := map[owner]int64{}, map[string]int{} // over: attempts of a job that have ended
	var spent, held, most int64
	release := func(o owner) { held -= open[o]; delete(open, o) }
	for _, st := range a.steps {
		for ; len(ends) > 0 && !ends[0].at.After(st.at); ends = ends[1:] {
			e := &ends[0]
			spent += paid[e.key]
			from := over[e.job] + 1
			over[e.job] = max(over[e.job], e.n)
			if e.terminal {
				over[e.job] = maxAttempts
			}
			for n := from; n <= min(over[e.job], maxAttempts); n++ {
				release(owner{e.job, e.seq, n})
			}
		}
		if st.all {
			clear(open)
			held = 0
		}
		for _, h := range st.holds {
			copied := submission[h.job] != 0 && submission[h.job] != h.seq // can never run
			if copied || h.n <= over[h.job] || h.usd <= open[h.owner] {
				continue
			}
			held += h.usd - open[h.owner]
			open[h.owner] = h.usd
		}
		most = max(most, spent+held)
	}
	return most
}

// counted is what an attempt that has ended takes of the budget.
func counted(a *wire.Attempt) int64 {
	if a.Pool != budgetPool || a.Cost == nil {
		return 0
	}
	cut := a.Status != wire.Succeeded && a.Source == wire.UsageEstimated && a.Usage != (wire.Usage{})
	if cut && a.Hold != nil {
		return int64(max(*a.Cost, a.Hold.USD))
	}
	return int64(*a.Cost)
}

// maxAttempts is above any attempt's number in a run.
const maxAttempts = 1000
