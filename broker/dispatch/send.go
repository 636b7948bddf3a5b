package dispatch

import (
	"context"
	"time"

	"github.com/sluicehq/sluice/internal/tracing"
	"github.com/sluicehq/sluice/router"
	"github.com/sluicehq/sluice/sdk/wire"
)

// placed is a job with a decision, which has not been published yet.
type placed struct {
	it      *item
	attempt *wire.Attempt
	pool    int
	table   *router.Table
	at      time.Time
	traced  string // its trace before the decision
	span    tracing.Span
}

// How many decisions are published at once at the latest, and how old the first
// of them may become while more come in.
const (
	maxPlaced = 64
	gatherFor = 2 * time.Millisecond
)

// gathers reports whether what is to be published may wait for what has come in
// meanwhile: a message of what decisions saw costs as much as one of a job.
func (l *loop) gathers(now time.Time) bool {
	return len(l.placed) > 0 && len(l.d.arrived)+len(l.d.acked) > 0 && now.Sub(l.placed[0].at) < gatherFor
}

// send publishes what the decisions since the last call saw, and then what
// follows from them: so nothing of it is there without what it came of, also if
// the router is killed in between (I6).
func (l *loop) send(ctx context.Context) {
	l.captures.Seal()
	for i := range l.placed {
		p := &l.placed[i]
		future, err := l.d.publish(p.it, p.attempt)
		if err != nil { // stalled or disconnected: not sent
			l.d.cfg.Logger.Debug("work messages not sent, trying again", "jobs", len(l.placed)-i, "err", err)
			l.takeBack(l.placed[i:], err)
			break
		}
		p.span.Decided(&p.it.asg.Meta, p.attempt)
		l.mirror(ctx, p.it, p.at)
		l.d.sent <- sending{it: p.it, pool: p.pool, table: p.table, future: future, until: time.Now().Add(sendTimeout)}
	}
	clear(l.placed)
	l.placed = l.placed[:0]
	for _, f := range l.after {
		l.d.rare.Go(f)
	}
	clear(l.after)
	l.after = l.after[:0]
}

// takeBack returns jobs that have not been sent to the head of their queues.
func (l *loop) takeBack(list []placed, err error) {
	for i := len(list) - 1; i >= 0; i-- {
		p := &list[i]
		l.sending--
		l.tally.settled(outcome{it: p.it, pool: p.pool, table: p.table, err: err})
		p.it.asg.Meta.Trace = p.traced
		q := l.holdFirst(p.it)
		q.blocked, q.full = true, true
	}
}

// then does what follows from a decision, once it is certain what it saw.
func (l *loop) then(f func()) { l.after = append(l.after, f) }
