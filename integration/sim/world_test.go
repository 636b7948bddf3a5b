package sim

import (
	"fmt"

	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
)

// guards are what the protocol rests on; a true one is taken away.
type guards struct {
	claimBlind  bool // a claim does not expect the last record
	endBlind    bool // an end does not expect its own claim
	ackEarly    bool // a work message is acknowledged before the end is stored
	moveEarly   bool // a job message is acknowledged before its work message is stored
	enter       bool // a process works on a message twice at once
	overtake    bool // a claim is overtaken although its owner lives; no loss, but work for nothing
	notAgain    bool // a wait whose requeue was lost is not queued again
	insertBlind bool // an insert does not expect the table's position
	skipAhead   bool // the position moves before the insert
	forgetful   bool // an old copy of a job ends it with what it knows
	recallBlind bool // a job is taken back from a pool without a record
}

// message is one in a queue.
type message struct {
	id     int // its sequence
	meta   wire.Meta
	n      int // attempt of a work message
	prog   wire.Progress
	holder int  // process that it was given to, 0: none
	stuck  bool // forgotten by the queue
}

// work is what tells a work message from others.
func (m *message) work() ledger.Work {
	return ledger.Work{N: m.n, Recalls: m.prog.Recalls, Seq: uint64(m.id)}
}

// row is what an ingester writes of a record that ends an attempt, or a job.
type row struct {
	attempt
	seq  uint64
	cost int64
	cut  bool
}

// attempt names one.
type attempt struct {
	job string
	n   int
}

// call is what the provider's books have of a call.
type call struct {
	attempt
	done bool
	cost int64
}

// world is everything there is.
type world struct {
	g      guards
	choose func(n int) int // below n

	jobs, work []*message
	ids        int
	ledger     []ledger.Stored
	last       map[string]int // index of a job's last record
	accepted   map[string][]uint64
	calls      []*call
	rows       []row
	procs      []*proc
	names      int
	trace      []string
}

func newWorld(g guards, choose func(int) int) *world {
	w := &world{g: g, choose: choose, last: map[string]int{}, accepted: map[string][]uint64{}}
	for range 2 {
		w.procs = append(w.procs, w.start(router), w.start(worker), w.start(ingester))
	}
	w.procs = append(w.procs, w.start(worker))
	return w
}

func (w *world) note(format string, args ...any) {
	w.trace = append(w.trace, fmt.Sprintf(format, args...))
}

func (w *world) put(queue *[]*message, m message) *message {
	w.ids++
	m.id, m.holder, m.stuck = w.ids, 0, false
	*queue = append(*queue, &m)
	return &m
}

// ack takes a message out, whoever holds it by now.
func ack(queue *[]*message, m *message) {
	for i, x := range *queue {
		if x.id == m.id {
			*queue = append((*queue)[:i:i], (*queue)[i+1:]...)
			return
		}
	}
}

// standing is the job's last record, nil if there is none.
func (w *world) standing(id string) *ledger.Stored {
	if i, ok := w.last[id]; ok {
		return &w.ledger[i]
	}
	return nil
}

// store is the ledger's compare-and-set.
func (w *world) store(rec wire.Record, expect uint64, blind bool) (uint64, bool) {
	id := rec.Entry.Meta.ID
	var now uint64
	if s := w.standing(id); s != nil {
		now = s.Seq
	}
	if now != expect && !blind {
		return 0, false
	}
	r := ledger.Stored{Record: rec, Seq: uint64(len(w.ledger) + 1)}
	w.ledger = append(w.ledger, r)
	w.last[id] = len(w.ledger) - 1
	return r.Seq, true
}

// kind is what a process does.
type kind int

const (
	router kind = iota
	worker
	ingester
)

// proc is a process. What it holds in memory dies with it.
type proc struct {
	kind    kind
	name    string
	id      int
	paused  bool
	lapsed  bool // its presence has: others take it for dead
	tasks   []*task
	have    uint64 // an ingester's view of the position
	batch   []row
	read    uint64
	started bool
}

func (w *world) start(k kind) *proc {
	w.names++
	return &proc{kind: k, name: fmt.Sprint([]string{"router", "worker", "ingester"}[k], w.names), id: w.names}
}

// alive is what others see of a process.
func (w *world) alive(name string) bool {
	for _, p := range w.procs {
		if p.name == name {
			return !p.lapsed
		}
	}
	return false
}
