package observe

import "github.com/sluicehq/sluice/sdk/wire"

// JudgeEvery is how often peers are compared, in nanoseconds.
const JudgeEvery = int64(judgeEvery)

// Play is an observer's knowledge for those who play attempts in a time of
// their own: the same folds, without ledger, clock or lock. It is for one
// goroutine. Times are Unix nanoseconds and never go back.
type Play struct {
	state *fold
	last  *Snapshot
}

// NewPlay knows nothing yet, of a world with one router.
func NewPlay(s Setup) *Play {
	p := &Play{state: newFold("play")}
	p.state.set(s)
	return p
}

// Began takes in the start of an attempt, and Ended its end. They report
// whether decisions should soon know.
func (p *Play) Began(e *wire.Entry, at int64) bool {
	st := p.state.pools[e.Attempt.Pool]
	return st != nil && p.state.counting && p.state.entry(st, e, false, true, at)
}

// Ended takes in the end of an attempt.
func (p *Play) Ended(e *wire.Entry, at int64) bool {
	st := p.state.pools[e.Attempt.Pool]
	return st != nil && p.state.entry(st, e, true, false, at)
}

// Depth takes in how many jobs are at a pool, once a second or so.
func (p *Play) Depth(pool string, n int, at int64) { p.state.pools[pool].pace.look(at, n) }

// Judge compares peers, every JudgeEvery.
func (p *Play) Judge(at int64) bool { return p.state.judge(at) }

// Snapshot is what is known at a time.
func (p *Play) Snapshot(at int64) *Snapshot {
	p.state.unseen = false
	p.last = p.state.snapshot(at, p.last)
	return p.last
}
