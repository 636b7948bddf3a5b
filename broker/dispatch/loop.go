package dispatch

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/sluicehq/sluice/broker/capture"
	"github.com/sluicehq/sluice/broker/steer"
	"github.com/sluicehq/sluice/router"
	"github.com/sluicehq/sluice/sdk/wire"
)

// How fresh the depths must be, and how often the server may be asked.
const (
	staleAfter = 25 * time.Millisecond // while jobs are being placed
	lookEvery  = 2 * time.Millisecond  // while jobs wait for room and find some
	lookSeldom = 20 * time.Millisecond // while they wait and there is none
	lookLost   = 5 * time.Second       // a look that does not come back
	lookWait   = 50 * time.Millisecond // for one before a job is placed, where there are other routers
	heldPulse  = 10 * time.Second      // sign of life for jobs in memory
)

// loop owns all decision state (I2).
type loop struct {
	d        *Dispatcher
	classes  map[wire.Class]*lane
	tally    tally
	choice   steer.Choice
	spare    steer.Choice      // of hopeless
	sequence map[string]uint64 // decisions per route
	random   *rand.Rand
	sending  int
	held     int
	lots     map[lot]bool  // routes whose new jobs are parked
	leaving  []*item       // to be parked
	pace     time.Duration // between looks while jobs wait; doubles when a look brings nothing
	moved    bool          // something was placed since the last look
	nudged   bool          // something was observed since the last look
	aside    map[lot]aside
	budgets  map[string]*router.RetryBudget // by route
	plan     *steer.Plan                    // that the held jobs' courses are of
	purse    *purse                         // nil: no budgets
	soonest  int64                          // no deadline of a held job is before this, 0: there is none
	captures *capture.Writer
	placed   []placed // not published yet
	after    []func() // what follows from decisions without an attempt, likewise
}

func newLoop(d *Dispatcher) *loop {
	l := &loop{d: d, classes: map[wire.Class]*lane{}, lots: map[lot]bool{}, pace: lookEvery, sequence: map[string]uint64{},
		aside: map[lot]aside{}, budgets: map[string]*router.RetryBudget{},
		random: rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))}
	l.captures = l.newCaptures()
	if d.cfg.Budgets != nil {
		l.purse = newPurse(d.cfg.Budgets)
	}
	for _, c := range wire.Classes() {
		l.classes[c] = newLane(c)
	}
	return l
}

func (l *loop) run(ctx context.Context) {
	pulse := time.NewTicker(heldPulse)
	defer pulse.Stop()
	retry := time.NewTimer(lookEvery)
	defer retry.Stop()
	for ctx.Err() == nil {
		select {
		case it := <-l.d.arrived:
			l.hold(it)
		case o := <-l.d.acked:
			l.settled(o)
		case s := <-l.d.depths:
			l.looked(s)
		case <-l.news():
			l.nudged = true
		case <-l.d.replanned:
		case <-l.purse.news():
			l.purse.renew()
		case asks := <-l.d.held:
			l.answered(ctx, asks)
		case k := <-l.d.found:
			l.openLot(ctx, k)
		case k := <-l.d.emptied:
			delete(l.lots, k)
		case <-retry.C:
		case <-pulse.C:
			l.keepAlive()
		case <-ctx.Done():
		}
		l.drain()
		l.expire(ctx)
		l.rejoin(time.Now())
		l.place(ctx)
		if l.gathers(time.Now()) {
			continue
		}
		l.send(ctx)
		l.askHolds()
		if wait := l.purse.patience(l.refresh()); wait > 0 {
			retry.Reset(wait)
		}
	}
	l.send(ctx)
	l.handBack()
}

// drain takes what else has come in, so that a busy loop decides in batches.
func (l *loop) drain() {
	for range 256 {
		select {
		case it := <-l.d.arrived:
			l.hold(it)
		case o := <-l.d.acked:
			l.settled(o)
		default:
			return
		}
	}
}

func (l *loop) hold(it *item) {
	if !it.source.lot && l.lots[lot{it.asg.Meta.Class, it.course.Route}] {
		l.leaving = append(l.leaving, it) // behind those parked before it
		return
	}
	l.classes[it.asg.Meta.Class].add(it)
	l.held++
	l.expect(it)
}

func (l *loop) settled(o outcome) {
	l.sending--
	l.tally.settled(o)
	switch {
	case o.err == nil:
	case errors.Is(o.err, errNoAck):
		l.d.giveBack(o.it, time.Second)
	default:
		l.d.cfg.Logger.Warn("work queue refused a job, trying again", "job", o.it.asg.Meta.ID, "err", o.err)
		l.d.giveBack(o.it, 100*time.Millisecond)
	}
}

func (l *loop) looked(s depths) {
	l.tally.look(s)
	l.tally.came = time.Now()
	if o := l.d.cfg.Observer; o != nil {
		l.tally.fill(o.Fresh(), time.Now())
	}
	l.nudged = false
	if l.pace *= 2; l.moved || l.pace > lookSeldom {
		l.pace = lookSeldom
		if l.moved {
			l.pace = lookEvery
		}
	}
	l.moved = false
	l.purse.renew()
	for _, lane := range l.classes {
		lane.denied = false
		for _, q := range lane.queues {
			q.blocked = false
		}
	}
}

// place assigns what can be assigned: what has waited too long, then the most
// urgent class first.
func (l *loop) place(ctx context.Context) {
	if t := l.d.table.Load(); t != l.tally.table {
		l.tally.reset(t, l.d.cfg.Subjects)
	}
	l.resteer()
	l.observe()
	l.leave()
	if l.outdated(time.Now()) {
		return
	}
	l.placeAged(ctx)
	for _, class := range wire.Classes() {
		lane := l.classes[class]
		if !l.placeLane(ctx, lane) {
			return
		}
		lane.sweep()
		l.unclog(ctx, class)
	}
	l.leave()
}

// step decides about the first job of a queue; false: it has to wait. An aged
// one may use the room of the most urgent class.
func (l *loop) step(ctx context.Context, q *queue, aged bool) bool {
	it := q.items[0]
	now := time.Now()
	t := l.tally.table
	route, ok := t.Route(q.route)
	if !ok {
		l.pop(q)
		l.d.rare.Go(func() { l.d.admit(ctx, it) }) // says so in a record
		return true
	}
	if l.overspent(q, route, now) {
		l.pop(q)
		l.retryLater(ctx, it, now)
		return true
	}
	in := l.input(q.route, it, now)
	in.Aged = aged
	l.choice.Bar = l.purse.bar(l)
	l.plan.Decide(t, l.tally.load, &it.course, in, l.turn, &l.choice)
	if l.purse.binds() && l.budgeted(ctx, q, now) {
		return true
	}
	c := l.choice.Candidate()
	if c == nil {
		if l.choice.Full {
			l.block(ctx, q, now)
			return false
		}
		l.pop(q)
		l.refuse(ctx, it, l.verdict(it, &it.asg.Meta, &l.choice))
		return true
	}
	m, a := &it.asg.Meta, l.attempt(it, now)
	p := placed{it: it, attempt: a, pool: c.Pool, table: t, at: now, traced: m.Trace}
	p.span = l.d.cfg.Tracer.Decision(ctx, m, now)
	l.leaves(q, c.Pool, now)
	if l.placed = append(l.placed, p); len(l.placed) >= maxPlaced {
		l.send(ctx)
	}
	return true
}

// attempt is the one that l.choice decides for.
func (l *loop) attempt(it *item, now time.Time) *wire.Attempt {
	l.sequence[l.choice.Route.Name()]++
	a := it.course.Attempt(it.asg.Progress.Attempts+1, l.tally.table, l.tally.load, &l.choice)
	a.Doubtful = l.doubts(l.choice.Candidate(), it, now)
	l.capture(&it.asg.Meta, a.Decision, &l.choice)
	return a
}

// leaves counts the first job of a queue as on its way to a pool.
func (l *loop) leaves(q *queue, pool int, now time.Time) {
	it := q.items[0]
	l.pop(q)
	q.since = 0
	l.spend(q.route, it, now)
	l.accrue(it.asg.Meta.Class)
	l.moved = true
	l.tally.sent(pool)
	l.sending++
}

// waits reports whether jobs wait here for room of some kind.
func (l *loop) waits() bool { return l.held > 0 || l.purse.crowded() }

// pop removes the first job of a queue.
func (l *loop) pop(q *queue) {
	q.items[0] = nil
	q.items = q.items[1:]
	l.held--
}

// refuse ends a job that no candidate can ever take.
func (l *loop) refuse(ctx context.Context, it *item, dec *wire.Decision) {
	code, why := wire.CodeOverMaxCost, "no candidate of route "+dec.Route+" can take the job:"
	for _, c := range dec.Candidates {
		why += " " + c.Pool + "/" + c.Model + " (" + c.Excluded + ")"
		if c.Excluded != router.OverMaxCost.String() {
			code = wire.CodeNoCandidate
		}
	}
	if p := &it.asg.Progress; len(p.Misfits) > 0 {
		code, why = p.Misfit, why+"; what refused it last did so with "+string(p.Misfit)
	}
	l.fail(ctx, it, dec, wire.Errorf(code, "", "%s", why))
}

// outdated reports whether a look is to be waited for before jobs are placed:
// after a pause, other routers have filled the pools that were empty when this
// one last looked, and all would send their next job to the same.
func (l *loop) outdated(now time.Time) bool {
	t := &l.tally
	if t.facts == nil || t.facts.Routers < 2 || l.held == 0 || now.Sub(t.came) <= staleAfter {
		return false
	}
	if t.asked.IsZero() {
		select {
		case l.d.wake <- struct{}{}:
			t.asked = now
		default:
		}
	}
	return now.Sub(t.asked) < lookWait
}

// refresh asks for a new look at the depths when one is due, and says after
// how long to come back (0: nothing to wait for).
func (l *loop) refresh() time.Duration {
	waits := l.waits()
	if !waits && l.sending == 0 && len(l.leaving) == 0 && len(l.tally.own) == 0 {
		return 0
	}
	now := time.Now()
	if asked := now.Sub(l.tally.asked); !l.tally.asked.IsZero() && asked < lookLost {
		if waits && asked < lookWait {
			return lookWait - asked
		}
		return lookLost
	}
	due := staleAfter
	switch {
	case !waits:
	case l.nudged:
		due = lookEvery
	default:
		due = l.patience(now)
	}
	if wait := due - now.Sub(l.tally.seen); wait > 0 {
		return wait
	}
	select {
	case l.d.wake <- struct{}{}:
		l.tally.asked = now
	default:
	}
	return due
}

// keepAlive tells the server that the jobs in memory are not forgotten.
func (l *loop) keepAlive() {
	for _, lane := range l.classes {
		for _, q := range lane.queues {
			for _, it := range q.items {
				l.alive(it)
			}
		}
	}
	l.purse.each(l.alive)
}

func (l *loop) alive(it *item) {
	if err := it.msg.InProgress(); err != nil {
		l.d.cfg.Logger.Debug("no sign of life sent", "job", it.asg.Meta.ID, "err", err)
	}
}

// handBack returns every job in memory to its queue, at the end.
func (l *loop) handBack() {
	for _, lane := range l.classes {
		for _, q := range lane.queues {
			for _, it := range q.items {
				l.d.giveBack(it, 0)
			}
		}
	}
	for _, it := range l.leaving {
		l.d.giveBack(it, 0)
	}
	l.purse.each(func(it *item) { l.d.giveBack(it, 0) })
	l.d.dropAsks()
}
