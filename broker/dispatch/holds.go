package dispatch

import (
	"context"
	"errors"
	"time"

	"github.com/sluicehq/sluice/broker/budget"
	"github.com/sluicehq/sluice/broker/budget/account"
	"github.com/sluicehq/sluice/router"
	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
)

// ask is a job whose hold is being taken.
type ask struct {
	it      *item
	pool    int
	table   *router.Table
	attempt *wire.Attempt
	hold    account.Hold
	answer  budget.Answer
	err     error // nobody knows whether it is held
}

// askHolds gives what has been decided to the book, a batch at a time.
func (l *loop) askHolds() {
	if l.purse == nil || len(l.purse.asks) == 0 {
		return
	}
	select {
	case l.d.asks <- l.purse.asks:
		l.purse.asks = nil
	default: // the answer to the last batch brings the next
	}
}

// takeHolds takes the holds of each batch in one step, until ctx ends.
func (d *Dispatcher) takeHolds(ctx context.Context) {
	for {
		var batch []*ask
		select {
		case batch = <-d.asks:
		case <-ctx.Done():
			d.dropAsks()
			return
		}
		holds := make([]account.Hold, len(batch))
		for i, a := range batch {
			holds[i] = a.hold
		}
		answers, err := d.cfg.Budgets.Hold(ctx, holds)
		if err != nil && ctx.Err() == nil {
			d.cfg.Logger.Warn("holds could not be taken, trying again: jobs with a budget wait", "jobs", len(batch), "err", err)
			_ = ledger.Pause(ctx, 100*time.Millisecond)
		}
		for i, a := range batch {
			if a.err = err; err == nil {
				a.answer = answers[i]
			}
		}
		select {
		case d.held <- batch:
		case <-ctx.Done():
			d.giveBackAsks(batch)
		}
	}
}

// dropAsks returns the jobs of a batch that nobody will take any more.
func (d *Dispatcher) dropAsks() {
	select {
	case batch := <-d.asks:
		d.giveBackAsks(batch)
	default:
	}
}

func (d *Dispatcher) giveBackAsks(batch []*ask) {
	for _, a := range batch {
		d.giveBack(a.it, 0)
	}
}

// answered publishes the jobs of a batch that have their holds. What others
// were faster to take is decided about again.
func (l *loop) answered(ctx context.Context, batch []*ask) {
	now := time.Now()
	for _, a := range batch {
		v := &a.answer
		if a.err == nil && v.Kind == account.Fits {
			if a.attempt.Hold.Seq = v.Seq; !v.Bound { // the budget is gone
				a.attempt.Hold, a.attempt.MaxTokens = nil, 0
			}
			l.publishHeld(a)
			continue
		}
		l.sending--
		l.tally.settled(outcome{it: a.it, pool: a.pool, table: a.table, err: errNotHeld})
		if a.err != nil {
			l.join(ctx, a.it, now)
			continue
		}
		l.holdFirst(a.it)
	}
}

// errNotHeld undoes what was counted for a job that does not leave after all.
var errNotHeld = errors.New("no hold")

// publishHeld sends a job to its pool. If that fails the hold stays, and is
// taken again when the job is.
func (l *loop) publishHeld(a *ask) {
	future, err := l.d.publish(a.it, a.attempt)
	if err != nil {
		l.settled(outcome{it: a.it, pool: a.pool, table: a.table, err: err})
		return
	}
	l.d.sent <- sending{it: a.it, pool: a.pool, table: a.table, future: future, until: time.Now().Add(sendTimeout)}
}
