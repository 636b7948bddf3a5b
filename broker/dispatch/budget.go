package dispatch

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/sluicehq/sluice/broker/budget"
	"github.com/sluicehq/sluice/broker/budget/account"
	"github.com/sluicehq/sluice/broker/steer"
	"github.com/sluicehq/sluice/router"
	"github.com/sluicehq/sluice/sdk/wire"
)

// How jobs wait for a budget. Those that only need what others hold wait in
// memory, a few of each router; the others, and those for which there is
// nothing left, in schedules that bring them back to look again. So a limit
// that is raised is noticed within a minute, and no job stands before another.
const (
	crowdMost  = 64
	crowdEvery = 100 * time.Millisecond // at the latest; sooner when something was settled
	crowdOften = 2 * time.Millisecond
	lookAgain  = time.Minute // at the latest; five times that while very many wait
	lookMany   = 20_000      // a minute
	afterOpen  = time.Second // over which those that wait for one moment come back
	tellAgain  = 24 * time.Hour
)

// purse is what the loop knows of budgets. Its methods may be called on nil.
type purse struct {
	book   *budget.Book
	table  *router.Table
	offers map[*router.Route][]budget.Offer // of the table
	cases  []budget.Case                    // of the job at hand, by candidate
	bound  bool                             // a budget binds one of them, or of another try
	crowd  []*item                          // jobs that wait for what others hold, oldest first
	full   bool                             // some of them wait for a pool that is full as well
	asks   []*ask                           // not given to the book yet
	retry  bool                             // the crowd may have room
	tried  time.Time
	looked router.Window // jobs that were sent to wait
}

func newPurse(b *budget.Book) *purse {
	return &purse{book: b, offers: map[*router.Route][]budget.Offer{}}
}

// news is what the loop hears of budgets: only while jobs wait for them.
func (p *purse) news() <-chan struct{} {
	if !p.crowded() {
		return nil
	}
	return p.book.News()
}

// crowded reports whether jobs wait for budgets.
func (p *purse) crowded() bool { return p != nil && len(p.crowd) > 0 }

// renew notes that the crowd may have room now.
func (p *purse) renew() {
	if p != nil {
		p.retry = true
	}
}

// patience shortens the loop's rest while jobs wait for budgets.
func (p *purse) patience(rest time.Duration) time.Duration {
	if !p.crowded() {
		return rest
	}
	every := crowdEvery
	if p.retry {
		every = crowdOften
	}
	if rest == 0 {
		return every
	}
	return min(rest, every)
}

// each visits the jobs that are here and in no queue.
func (p *purse) each(f func(*item)) {
	if p == nil {
		return
	}
	for _, it := range p.crowd {
		f(it)
	}
	for _, a := range p.asks {
		f(a.it)
	}
}

// take empties the crowd.
func (p *purse) take() []*item {
	if p == nil {
		return nil
	}
	crowd := p.crowd
	p.crowd, p.retry, p.full = nil, false, false
	return crowd
}

// of are the route's candidates as the book sees them.
func (p *purse) of(t *router.Table, route *router.Route) []budget.Offer {
	if p.table != t {
		p.table = t
		clear(p.offers)
	}
	offers, ok := p.offers[route]
	if !ok {
		offers = budget.Offers(t, route)
		p.offers[route] = offers
	}
	return offers
}

// bar is what l.choice asks before each of its tries; nil: there are no
// budgets.
func (p *purse) bar(l *loop) func(*steer.Try) []router.Reason {
	if p == nil || !p.book.Active() {
		return nil
	}
	p.bound = false
	return func(y *steer.Try) []router.Reason {
		if !l.judge(y) {
			return nil
		}
		return budget.Barred(p.cases)
	}
}

// binds reports whether a budget binds a candidate of the last decision.
func (p *purse) binds() bool { return p != nil && p.bound }

// judge asks the budgets about the candidates of a try. It reports whether any
// of them is bound.
func (l *loop) judge(y *steer.Try) bool {
	p := l.purse
	bound := false
	p.cases, bound = p.book.Judge(y.Input.Meta, y.Input.Progress.Attempts+1, y.Input.Now, p.of(l.tally.table, y.Route), p.cases[:0])
	p.bound = p.bound || bound
	return bound
}

// budgeted goes on with the first job of a queue, which a budget binds, after
// the decision: false, if budgets have nothing to say to its outcome.
func (l *loop) budgeted(ctx context.Context, q *queue, now time.Time) bool {
	it := q.items[0]
	if !l.judge(&l.choice.Try) { // the last one that was asked about may be another try
		return false
	}
	chosen := l.choice.Candidate()
	if chosen == nil {
		return l.shut(ctx, q, now)
	}
	c := &l.purse.cases[l.choice.Result.Choice]
	switch {
	case !c.Bound:
		return false
	case c.Kind != account.Fits:
		l.pop(q)
		l.overBudget(ctx, it, &c.Verdict, now)
		return true
	}
	a := l.attempt(it, now)
	a.MaxTokens, a.Hold = c.Output, &wire.Hold{At: c.Draw.At, USD: wire.NanoUSD(c.Draw.USD), Tokens: c.Draw.Tokens}
	l.leaves(q, chosen.Pool, now)
	l.purse.asks = append(l.purse.asks, &ask{it: it, pool: chosen.Pool, table: l.tally.table, attempt: a,
		hold: account.Hold{Job: account.JobOf(&it.asg.Meta), N: a.N, Draw: c.Draw}})
	return true
}

// shut goes on with a job without a candidate, if a budget is why.
func (l *loop) shut(ctx context.Context, q *queue, now time.Time) bool {
	it, p := q.items[0], l.purse
	closed, other := -1, l.choice.Crowded // the candidate that opens first; something else may pass too
	for i := range l.choice.Result.Candidates {
		v, r := &p.cases[i].Verdict, l.choice.Result.Candidates[i].Excluded
		switch {
		case r == router.OverBudget:
			if closed < 0 || v.Kind < p.cases[closed].Kind || v.Kind == p.cases[closed].Kind && v.Until < p.cases[closed].Until {
				closed = i
			}
		case r.Temporary():
			other = true
		case !l.choice.Full && closed < 0 && (r == router.BeyondBudget || r == router.PriceUnknown && v.Kind == account.Unpriced):
			closed = i
		}
	}
	switch {
	case closed < 0:
		return false
	case other && len(p.crowd) >= crowdMost && p.alike(l.choice.Result):
		return false // as for those behind it: the queue waits for the pools
	case other: // a pool may have room before the budget has: the queue goes on meanwhile
		p.full = p.full || l.choice.Crowded
		l.pop(q)
		l.join(ctx, it, now)
	default:
		l.pop(q)
		l.overBudget(ctx, it, &p.cases[closed].Verdict, now)
	}
	return true
}

// alike reports whether the budgets that close candidates are the same for the
// jobs behind: a queue has one tenant and route, and labels of many kinds.
func (p *purse) alike(r *router.Result) bool {
	for i := range r.Candidates {
		if b := p.cases[i].Budget; r.Candidates[i].Excluded == router.OverBudget && b != nil && b.Scope.OfJob() {
			return false
		}
	}
	return true
}

// overBudget does with a job what the budget says that stands in its way.
func (l *loop) overBudget(ctx context.Context, it *item, v *account.Verdict, now time.Time) {
	b := v.Budget
	switch v.Kind {
	case account.Exceeded:
		switch b.OnExceeded {
		case account.Reject:
			todo := "raise it"
			if b.Window.Span != account.Total {
				todo += ", or wait for its next " + string(b.Window.Span)
			}
			l.fail(ctx, it, l.verdict(it, &it.asg.Meta, &l.choice), wire.Errorf(wire.CodeBudget, "", "the budget %q of %s has no room for the job: %s",
				b.ID(), b.Show(b.Limit), todo))
		case account.Cheaper:
			l.sendToWait(ctx, it, wire.Batch, v.Until, now)
		default:
			l.sendToWait(ctx, it, it.asg.Meta.Class, v.Until, now)
		}
	case account.Never:
		l.fail(ctx, it, l.verdict(it, &it.asg.Meta, &l.choice), wire.Errorf(wire.CodeBudget, "max_tokens", "the job could take more than the whole budget %q of %s: lower max_tokens, shorten the request or raise the budget",
			b.ID(), b.Show(b.Limit)))
	case account.Unpriced:
		l.fail(ctx, it, l.verdict(it, &it.asg.Meta, &l.choice), wire.Errorf(wire.CodeUnpriced, "", "the budget %q is in dollars, and what the job would cost is not known: give the model a price, or the budget unknown_price: allow", b.ID()))
	default:
		l.join(ctx, it, now)
	}
}

// fail ends a job by a decision.
func (l *loop) fail(ctx context.Context, it *item, dec *wire.Decision, why *wire.Error) {
	l.then(func() {
		l.d.settle(ctx, it, func() error { return l.d.finish(ctx, it, wire.Failed, dec, why) })
	})
}

// join lets a job wait for what others hold. Where too many do, the latest
// goes into a schedule, for the longer the older it is.
func (l *loop) join(ctx context.Context, it *item, now time.Time) {
	p := l.purse
	if len(p.crowd) < crowdMost {
		p.crowd = append(p.crowd, it)
		return
	}
	age := now.UnixNano() - it.asg.Meta.SubmittedAt
	at := now.Add(min(max(time.Duration(age/8), time.Second), lookAgain)).Add(rand.N(time.Second))
	if d := it.asg.Meta.Deadline; d != 0 && d < at.UnixNano() {
		at = time.Unix(0, d)
	}
	l.d.rare.Go(func() {
		l.d.settle(ctx, it, func() error { return l.d.cfg.Ledger.Requeue(ctx, &it.asg, it.msg.Data(), at, now) })
	})
}

// rejoin puts the jobs that wait for what others hold back at the head of
// their queues, when there may be room for them.
func (l *loop) rejoin(now time.Time) {
	p := l.purse
	if !p.crowded() {
		return
	}
	if since := now.Sub(p.tried); since < crowdOften || !p.retry && since < crowdEvery {
		return
	}
	p.tried = now
	crowd := p.take()
	for i := len(crowd) - 1; i >= 0; i-- {
		l.holdFirst(crowd[i]).blocked = false
	}
}

// holdFirst puts a job before the others of its route.
func (l *loop) holdFirst(it *item) *queue {
	q := l.classes[it.asg.Meta.Class].add(it)
	q.items = slices.Insert(q.items[:len(q.items)-1], 0, it)
	l.held++
	l.expect(it)
	return q
}

// sendToWait writes a waiting record, unless the job has one that holds, and
// a schedule that brings it back: at the time, or sooner to look again.
func (l *loop) sendToWait(ctx context.Context, it *item, class wire.Class, until int64, now time.Time) {
	at := now.UnixNano()
	l.purse.looked.Add(at, 1)
	look := lookAgain
	if l.purse.looked.Quota(at, 0).Used > lookMany {
		look *= 5
	}
	back := at + int64(look/2+rand.N(look/2))
	if until < math.MaxInt64 {
		back = min(back, until+int64(rand.N(afterOpen)))
	}
	asg, dec := it.asg, (*wire.Decision)(nil)
	if asg.Meta.Class != class {
		asg.Meta.Class, asg.Meta.AskedClass = class, "" // for good
	}
	if asg.Progress.Told <= at {
		dec = l.verdict(it, &asg.Meta, &l.choice)
	}
	l.then(func() {
		l.d.settle(ctx, it, func() error { return l.d.awaitBudget(ctx, it, asg, dec, until, back) })
	})
}

// awaitBudget writes a waiting record with the decision, if there is one, and
// the schedule that brings the job back.
func (d *Dispatcher) awaitBudget(ctx context.Context, it *item, asg wire.Assignment, dec *wire.Decision, until, back int64) error {
	now := time.Now()
	if dl := asg.Meta.Deadline; dl != 0 {
		until, back = min(until, dl), min(back, dl) // to end as expired
	}
	if dec != nil {
		rec := &wire.Record{Status: wire.Waiting, Reason: wire.ReasonBudget}
		if asg.Progress.Told = now.Add(tellAgain).UnixNano(); until < math.MaxInt64 {
			asg.Progress.Told, rec.Until = until, time.Unix(0, until)
		}
		rec.Entry = wire.Entry{Meta: asg.Meta, Progress: asg.Progress, Decision: dec}
		seq, err := d.cfg.Ledger.Settle(ctx, rec, asg.Progress.Expect)
		if err != nil || seq == 0 {
			return err
		}
		asg.Progress.Expect = seq
	}
	return d.cfg.Ledger.Requeue(ctx, &asg, it.msg.Data(), time.Unix(0, back), now)
}
