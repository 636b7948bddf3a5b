package whatif

import (
	"slices"
	"time"

	"github.com/sluicehq/sluice/broker/observe"
	"github.com/sluicehq/sluice/router"
	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
)

// bring gives a job to the router at a time, after a hop.
func (w *world) bring(f *flight, at int64) {
	w.aim(f, 0)
	w.events.push(event{at: at + w.model.Hop.draw(w.drawing, at), kind: evHere, flight: f})
}

// send puts an attempt into its pool's queue.
func (w *world) send(f *flight, pool int) {
	f.pool, f.sent, f.started = pool, w.now, 0
	p := &w.pools[pool]
	p.depth++
	p.queue = append(p.queue, f)
	w.start(pool, false)
}

// aim makes the draws of an attempt the job's own: whatever else a policy
// changes, the same attempt at the same target draws the same.
func (w *world) aim(f *flight, what uint64) {
	w.draws.Seed(w.seed, uint64(f.index+1)<<17|uint64(f.progress.Attempts&0xffff)<<1|what)
}

// start begins attempts while there are slots (I3); queued says that they have
// waited for one.
func (w *world) start(i int, queued bool) {
	p := &w.pools[i]
	for p.running < p.slots && len(p.queue) > 0 {
		f := p.queue[0]
		p.queue[0] = nil
		p.queue = p.queue[1:]
		if f.ended { // given up while it waited
			p.depth--
			continue
		}
		p.running++
		a := f.attempt
		w.aim(f, 1)
		f.started = w.now
		if queued {
			f.started += w.model.Turn.draw(w.drawing, w.now)
		}
		a.QueueMS = max(0, (f.started-f.progress.ReadyAt)/int64(time.Millisecond))
		w.router.news(w.play.Began(f.entry(), w.now))
		output := f.job.Output
		if a.MaxTokens > 0 {
			output = min(output, a.MaxTokens)
		}
		f.settle = w.model.Settle.draw(w.drawing, w.now)
		f.what = w.model.Profiles[Target{a.Pool, a.Model}].draw(w.drawing, w.now, f.job.Input, output)
		w.events.push(event{at: f.started + f.what.taken + f.settle, kind: evEnd, flight: f})
	}
}

// over frees the attempt's slot and settles what it cost.
func (w *world) over(f *flight) {
	p, a, d := &w.pools[f.pool], f.attempt, &f.what
	p.running--
	p.depth--
	a.Status, a.ErrorCode, a.HTTP = d.status, d.code, d.http
	a.LatencyMS, a.TTFTMS, a.RetryAfterMS = d.taken/1e6, d.ttft/1e6, d.after/1e6
	if !f.meta.Stream && d.status == wire.Succeeded {
		a.TTFTMS = a.LatencyMS
	}
	a.Settle(d.usage, wire.UsageEstimated)
	w.out.part(Target{a.Pool, a.Model}).add(a.Status, a.Cost, d.taken)
	w.out.Jobs[f.index].charge(a.Cost)
	w.router.news(w.play.Ended(f.entry(), w.now))
	f.progress.Add(a)
	if w.heard != nil {
		w.heard(f)
	}
	w.router.stirred = true
	w.start(f.pool, true)
}

// end takes in the end of an attempt, and what follows from it.
func (w *world) end(f *flight) {
	w.over(f)
	a := f.attempt
	p := &f.progress
	switch {
	case a.Status == wire.Succeeded:
		w.finish(f, wire.Succeeded, "")
		return
	case a.Status == wire.Failed && (w.Final(a.ErrorCode) || a.ErrorCode.Misfit() && !ledger.Fits(p, a)), w.Retries.Over(p, a):
		w.finish(f, wire.Failed, a.ErrorCode)
		return
	}
	w.Retries.Blame(p, a)
	w.again(f, w.Retries.Wait(p, a, time.Duration(f.what.after), w.below))
}

// again brings a job back to the router after a while.
func (w *world) again(f *flight, wait time.Duration) {
	at := w.now + int64(wait)
	if d := f.meta.Deadline; d != 0 && at >= d {
		w.finish(f, wire.Expired, wire.CodeDeadline)
		return
	}
	f.attempt = nil
	f.progress.ReadyAt = at
	w.bring(f, at)
}

// below is a random duration.
func (w *world) below(d time.Duration) time.Duration { return time.Duration(w.random.Int64N(int64(d))) }

// How often pools are compared and queues are looked at for jobs to take back,
// and how long a job may wait in one: as package dispatch has them.
const (
	recallTicks = int64(time.Second) / observe.JudgeEvery
	recallAfter = int64(10 * time.Second)
	recallBatch = 256
)

// wake lets the clock tick again while there are jobs.
func (w *world) wake() {
	if !w.ticking {
		w.ticking = true
		w.events.push(event{at: (w.now/observe.JudgeEvery + 1) * observe.JudgeEvery, kind: evTick})
	}
}

// tick compares pools, and takes jobs back.
func (w *world) tick() {
	w.ticking = false
	w.router.news(w.play.Judge(w.now))
	busy := w.router.held > 0
	for i := range w.pools {
		busy = busy || w.pools[i].depth > 0
	}
	if busy {
		w.wake()
	}
	if w.now/observe.JudgeEvery%recallTicks != 0 {
		return
	}
	for i := range w.pools {
		w.play.Depth(w.Table.Pools()[i].Name, min(w.pools[i].depth, w.pools[i].slots), w.now)
	}
	for i := range w.pools {
		if len(w.pools[i].queue) > 0 {
			w.recall(i, w.play.Snapshot(w.now))
		}
	}
}

// recall takes jobs back that wait in the queue of a pool in trouble, or long
// while another candidate has a slot free.
func (w *world) recall(i int, s *observe.Snapshot) {
	p, name, moved := &w.pools[i], w.Table.Pools()[i].Name, 0
	trouble := s.Pools[i].Troubled(w.now)
	p.queue = slices.DeleteFunc(p.queue, func(f *flight) bool {
		if moved >= recallBatch || f.ended || !trouble && (w.now-f.sent < recallAfter || !w.roomElsewhere(i, s, f.attempt.Decision.Route)) {
			return false
		}
		moved++
		p.depth--
		if !trouble && !slices.Contains(f.progress.Tried, name) {
			f.progress.Tried = append(slices.Clone(f.progress.Tried), name)
		}
		w.again(f, 0)
		return true
	})
	w.router.stirred = w.router.stirred || moved > 0
}

// roomElsewhere reports whether another candidate of a route has a free slot
// and no trouble.
func (w *world) roomElsewhere(i int, s *observe.Snapshot, name string) bool {
	route, ok := w.Table.Route(name)
	return ok && slices.ContainsFunc(route.Candidates(), func(c router.Candidate) bool {
		other := &s.Pools[c.Pool]
		return c.Pool != i && c.Weight > 0 && !w.Table.Pools()[c.Pool].Draining && !other.Troubled(w.now) &&
			other.Breaker.Circuit == router.Closed && w.pools[c.Pool].depth < w.pools[c.Pool].slots
	})
}
