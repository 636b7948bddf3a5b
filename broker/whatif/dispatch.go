package whatif

import (
	"slices"
	"time"

	"github.com/sluicehq/sluice/broker/observe"
	"github.com/sluicehq/sluice/broker/steer"
	"github.com/sluicehq/sluice/router"
	"github.com/sluicehq/sluice/sdk/wire"
)

// How fresh depths are, how long retries wait for their budget, and when jobs
// age: as package dispatch has them.
const (
	staleAfter   = int64(25 * time.Millisecond)
	lookEvery    = int64(2 * time.Millisecond)
	lookSeldom   = int64(20 * time.Millisecond)
	idleLook     = int64(time.Second)
	agedAfter    = int64(10 * time.Second)
	agedStandard = 8
	agedBatch    = 16
	retryPerSlot = 15
)

// dispatcher is the router's loop: what package dispatch does, on values.
type dispatcher struct {
	lanes    map[wire.Class]*lane
	load     []router.Load // as it sees the pools
	facts    *observe.Snapshot
	choice   steer.Choice
	sequence map[string]uint64
	budgets  map[string]*router.RetryBudget
	work     uint64 // work messages so far
	held     int
	since    int64 // when the first of them came

	seen    int64 // of the last look
	pace    int64 // between looks while jobs wait
	at      int64 // of the look that is due, 0: none is
	sent    bool  // since the last look
	moved   bool  // something was placed since the last look
	nudged  bool  // something was observed since the last look
	stirred bool  // a depth has changed since the last look
}

func (d *dispatcher) begin(w *world) {
	d.lanes, d.sequence, d.budgets = map[wire.Class]*lane{}, map[string]uint64{}, map[string]*router.RetryBudget{}
	for _, c := range wire.Classes() {
		d.lanes[c] = &lane{class: c, byName: map[[2]string]*queue{}}
	}
	d.load, d.pace = make([]router.Load, len(w.pools)), lookEvery
	d.look(w, 0)
}

// hold steers a job and takes it in.
func (d *dispatcher) hold(w *world, f *flight) {
	f.attempt = nil
	f.course = w.Plan.Steer(w.Table, &f.meta, w.Tiers[f.meta.Tenant], f.progress.Attempts+1, time.Unix(0, w.now))
	l := d.lanes[f.meta.Class]
	if l == nil {
		l = d.lanes[wire.Standard]
	}
	l.add(f)
	if d.held++; d.held == 1 {
		d.since = w.now
	}
}

// drop forgets a job, if it is here.
func (d *dispatcher) drop(f *flight) {
	for _, l := range d.lanes {
		if q := l.byName[[2]string{f.course.Route, f.meta.Tenant}]; q != nil {
			if i := slices.Index(q.items, f); i >= 0 {
				q.items = slices.Delete(q.items, i, i+1)
				d.held--
			}
		}
	}
}

// all are the jobs that are here, in no order that matters.
func (d *dispatcher) all() (list []*flight) {
	for _, c := range wire.Classes() {
		for _, x := range d.lanes[c].lines {
			for _, q := range x.queues {
				list = append(list, q.items...)
			}
		}
	}
	return list
}

// news notes that something was observed.
func (d *dispatcher) news(is bool) { d.nudged = d.nudged || is && d.held > 0 }

// look takes in depths and observations. at is when it was asked for; 0 is at
// once.
func (d *dispatcher) look(w *world, at int64) {
	if at != d.at {
		return // another one was, since
	}
	_, d.pace = d.nextPace(w.now)
	if d.pace *= 2; d.moved || d.pace > lookSeldom {
		d.pace = lookSeldom
		if d.moved {
			d.pace = lookEvery
		}
	}
	d.facts = w.play.Snapshot(w.now)
	for i := range d.load {
		d.load[i].Depth = int32(w.pools[i].depth)
		d.facts.Fill(i, w.now, d.work, &d.load[i])
		d.load[i].Draining = d.load[i].Draining || w.Table.Pools()[i].Draining
	}
	d.seen, d.at, d.sent, d.moved, d.nudged, d.stirred = w.now, 0, false, false, false, false
	for _, l := range d.lanes {
		l.denied = false
		for _, q := range l.byName {
			q.blocked = false
		}
	}
}

// nextPace is when the next look is due while jobs wait for room, and the pause
// before it, had the looks been made that would have brought nothing. While no
// job waits there are none.
func (d *dispatcher) nextPace(now int64) (at, pace int64) {
	at, pace = max(d.seen+d.pace, d.since), d.pace
	for at < now && pace < lookSeldom {
		pace = min(2*pace, lookSeldom)
		at += pace
	}
	if at < now {
		at += (now - at + pace - 1) / pace * pace
	}
	return at, pace
}

// refresh sees to the next look.
func (d *dispatcher) refresh(w *world) {
	at := int64(0)
	sooner := func(t int64) {
		if t = max(t, w.now); at == 0 || t < at {
			at = t
		}
	}
	if d.sent {
		sooner(d.seen + staleAfter)
	}
	if d.held > 0 {
		if d.nudged {
			sooner(d.seen + lookEvery)
		}
		until, crowded := d.patience()
		switch {
		case crowded && d.stirred: // else a look would bring nothing
			next, _ := d.nextPace(w.now)
			sooner(next)
		case crowded:
		case until != 0:
			sooner(d.seen + min(max(until-d.seen, d.pace), idleLook))
		default:
			sooner(d.seen + idleLook)
		}
	}
	if at != 0 && (d.at == 0 || at < d.at) {
		d.at = at
		w.events.push(event{at: at, kind: evLook})
	}
}

// patience is what waiting jobs wait for: a moment, or a depth.
func (d *dispatcher) patience() (until int64, crowded bool) {
	for _, l := range d.lanes {
		for _, q := range l.byName {
			switch {
			case len(q.items) == 0:
			case !q.blocked || q.full:
				return 0, true
			case q.until != 0 && (until == 0 || q.until < until):
				until = q.until
			}
		}
	}
	return until, false
}

// place assigns what can be assigned: what has waited too long, then the most
// urgent class first.
func (d *dispatcher) place(w *world) {
	if d.held == 0 {
		return
	}
	d.placeAged(w)
	for _, c := range wire.Classes() {
		l := d.lanes[c]
		for idle := 0; idle < len(l.lines); {
			if idle++; d.placeOne(w, l.next()) {
				idle = 0
			}
		}
		l.sweep()
	}
}

func (d *dispatcher) placeOne(w *world, x *line) bool {
	for range x.queues {
		q := x.next()
		if len(q.items) > 0 && !q.blocked && d.step(w, q, false) {
			return true
		}
	}
	return false
}

func (l *lane) agedEvery() int {
	if l.class == wire.Batch {
		return agedBatch
	}
	return agedStandard
}

// accrue counts a placed job for the less urgent ones that wait.
func (d *dispatcher) accrue(class wire.Class) {
	urgent := false
	for _, c := range wire.Classes() {
		if l := d.lanes[c]; urgent && len(l.byName) > 0 {
			l.credit = min(l.credit+1, l.agedEvery())
		}
		urgent = urgent || c == class
	}
}

// placeAged assigns one job of each lane whose turn has come by its age.
func (d *dispatcher) placeAged(w *world) {
	for _, c := range wire.Classes()[1:] {
		l := d.lanes[c]
		if l.credit < l.agedEvery() || l.denied {
			continue
		}
		l.denied = true
		for range l.lines {
			if d.placeOld(w, l.next()) {
				l.credit, l.denied = 0, false
				break
			}
		}
	}
}

func (d *dispatcher) placeOld(w *world, x *line) bool {
	for range x.queues {
		q := x.next()
		if len(q.items) > 0 && q.items[0].progress.ReadyAt <= w.now-agedAfter && d.step(w, q, true) {
			return true
		}
	}
	return false
}

// step decides about the first job of a queue; false: it has to wait.
func (d *dispatcher) step(w *world, q *queue, aged bool) bool {
	f := q.items[0]
	route, ok := w.Table.Route(q.route)
	if !ok {
		d.pop(q)
		w.finish(f, wire.Failed, wire.CodeUnknownRoute)
		return true
	}
	if d.overspent(w, q, route) {
		d.pop(q)
		w.again(f, time.Second+w.below(time.Second))
		return true
	}
	in := router.Input{Meta: &f.meta, Progress: &f.progress, Now: w.now, Sequence: d.turn(w, q.route), Random: w.random.Uint64(),
		Tier: w.Tiers[f.meta.Tenant], Needs: router.Capability(f.meta.Needs), Stats: d.facts.Stats, Aged: aged}
	f.course.Input(&in)
	w.Plan.Decide(w.Table, d.load, &f.course, in, func(r string) uint64 { return d.turn(w, r) }, &d.choice)
	c := d.choice.Candidate()
	switch {
	case c != nil:
		d.leave(w, q, c)
		return true
	case d.choice.Full:
		q.blocked, q.full, q.until = true, d.choice.Crowded, d.choice.Until
		return false
	}
	d.pop(q)
	code := wire.CodeNoCandidate
	if len(f.progress.Misfits) > 0 {
		code = f.progress.Misfit
	}
	w.finish(f, wire.Failed, code)
	return true
}

func (d *dispatcher) pop(q *queue) {
	q.pop()
	d.held--
}

// leave sends the first job of a queue to the chosen candidate.
func (d *dispatcher) leave(w *world, q *queue, c *router.Candidate) {
	f := q.items[0]
	d.sequence[d.choice.Route.Name()]++
	f.attempt = f.course.Attempt(f.progress.Attempts+1, w.Table, d.load, &d.choice)
	f.attempt.Doubtful = d.facts.Doubts(c.Pool, c.Target, &f.meta, &f.progress, w.now)
	d.pop(q)
	d.spend(q.route, f, w.now)
	d.accrue(f.meta.Class)
	d.work++
	f.work, d.moved, d.sent = d.work, true, true
	l := &d.load[c.Pool]
	l.Depth++
	l.Probes = max(l.Probes-1, 0)
	l.Requests.Used++
	if l.Tokens.Limit > 0 {
		l.Tokens.Used += max(d.facts.Pools[c.Pool].Each, 1)
	}
	w.send(f, c.Pool)
}

// turn is a route's decision counter.
func (d *dispatcher) turn(w *world, route string) uint64 {
	n, ok := d.sequence[route]
	if !ok {
		n = uint64(w.random.Uint32())
		d.sequence[route] = n
	}
	return n
}

func retry(f *flight) bool { return f.progress.Attempts > f.progress.Cuts }

// overspent reports whether the queue's first job is a retry that has to wait.
func (d *dispatcher) overspent(w *world, q *queue, route *router.Route) bool {
	if !retry(q.items[0]) {
		return false
	}
	if d.probing(route) && slices.ContainsFunc(q.items, func(f *flight) bool { return !retry(f) }) {
		return true
	}
	b := d.budgets[q.route]
	if b == nil {
		return false
	}
	floor := 0
	for _, c := range route.Candidates() {
		floor += retryPerSlot * w.Table.Pools()[c.Pool].Concurrency
	}
	return !b.Allows(w.now, int64(100*w.RetryBudget), int64(max(floor, w.RetryMinimum)))
}

// probing reports whether the route's candidates take probes at most.
func (d *dispatcher) probing(route *router.Route) bool {
	probes := false
	for _, c := range route.Candidates() {
		l := &d.load[c.Pool]
		if l.Circuit == router.Closed && !l.Down && !l.Draining {
			return false
		}
		probes = probes || l.Circuit == router.HalfOpen
	}
	return probes
}

// spend counts a placed job in its route's retry budget.
func (d *dispatcher) spend(route string, f *flight, now int64) {
	b := d.budgets[route]
	if b == nil {
		b = &router.RetryBudget{}
		d.budgets[route] = b
	}
	if retry(f) {
		b.Retries.Add(now, 1)
	} else {
		b.First.Add(now, 1)
	}
}
