package run

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/sluicehq/sluice/workers/engine"
)

// bundler serves a pool by its provider's own batch API. Its goroutine gathers
// jobs into bundles; each bundle that is full, or was found without an owner, is
// carried to its end in a goroutine of its own.
type bundler struct {
	*Runner
	p    Pool
	set  Bundling
	pub  *ledger.Publisher // of lines
	api  *engine.Bundles
	log  *slog.Logger
	open map[group]*gathering

	take, hard context.Context // until when jobs are taken, and what is under way may go on

	mu      sync.Mutex
	carried map[string]*carrier // by bundle
	all     sync.WaitGroup
}

// gathering is a bundle that jobs join.
type gathering struct {
	b     *bundle
	joint time.Time       // when one last did
	works map[uint64]bool // sequences of their work messages
}

// Bounds of gathering.
const (
	gatherMost  = 1024 // messages at a time
	gatherWait  = time.Second
	gatherIdle  = 5 * time.Second
	claimAtOnce = 32
	adoptEvery  = 10 * time.Second
)

// bundle serves the pool until take ends; bundles then go to other workers.
// What is being done about one has Config.Drain to end.
func (r *Runner) bundle(ctx, take, hard context.Context, cut context.CancelCauseFunc, p Pool) error {
	api, ok := p.Endpoint.Bundles()
	if !ok {
		return errors.New("worker: pool " + p.Name + ": its adapter has no batch API")
	}
	g := &bundler{Runner: r, p: p, set: p.Bundle.withDefaults(), pub: ledger.NewPublisher(r.cfg.JS.Conn()), api: api, log: r.cfg.Logger.With("pool", p.Name),
		open: map[group]*gathering{}, carried: map[string]*carrier{}, take: take, hard: hard}
	r.mu.Lock()
	r.bundlers = append(r.bundlers, g)
	r.mu.Unlock()
	for take.Err() == nil {
		cons, err := ledger.OpenQueue(take, r.cfg.JS, r.cfg.Subjects, wire.StreamWork,
			ledger.WorkConsumerConfig(r.cfg.Subjects, p.Name, p.Concurrency, r.cfg.AckWait))
		if err == nil {
			err = g.gather(cons)
		}
		if err != nil && take.Err() == nil {
			g.log.Warn("pool queue lost, opening it again", "err", err)
			_ = ledger.Pause(take, time.Second) // ends with take, as the loop does
		}
	}
	for _, o := range g.open {
		o.b.Owner = ""
		_ = r.save(hard, o.b) // or it is found to be without one
	}
	defer context.AfterFunc(ctx, func() { time.AfterFunc(r.cfg.Drain, func() { cut(errDraining) }) })()
	g.all.Wait()
	return nil
}

// gather takes jobs until take ends or the queue fails.
func (g *bundler) gather(cons jetstream.Consumer) error {
	take, hard := g.take, g.hard
	adopt := time.Time{}
	for take.Err() == nil {
		if time.Since(adopt) >= adoptEvery {
			adopt = time.Now()
			if err := g.adopt(hard); err != nil {
				g.log.Warn("bundles not looked for, trying again", "err", err)
			}
		}
		byGroup, err := g.fetch(cons)
		if err != nil {
			return err
		}
		for k, list := range byGroup {
			g.join(hard, k, list)
		}
		g.leave()
	}
	return nil
}

// fetch waits for work messages, not so long while a bundle is to leave.
func (g *bundler) fetch(cons jetstream.Consumer) (map[group][]*attempt, error) {
	wait := gatherIdle
	if len(g.open) > 0 {
		wait = min(gatherWait, g.set.Linger)
	}
	ctx, cancel := context.WithTimeout(g.take, wait)
	defer cancel()
	batch, err := cons.Fetch(min(g.p.Concurrency, gatherMost), jetstream.FetchContext(ctx))
	if err != nil {
		return nil, err
	}
	byGroup := map[group][]*attempt{}
	for m := range batch.Messages() {
		if g.cfg.Subjects.IsPin(m.Subject()) {
			continue
		}
		if a, v := g.attempt(m); a != nil {
			k := groupOf(&a.asg)
			byGroup[k] = append(byGroup[k], a)
		} else {
			g.acknowledge(m, v)
		}
	}
	if err := batch.Error(); err != nil && ctx.Err() == nil && !errors.Is(err, nats.ErrTimeout) {
		return byGroup, err
	}
	return byGroup, nil
}

// attempt reads a work message; without an attempt, the verdict is what becomes
// of it.
func (g *bundler) attempt(m jetstream.Msg) (*attempt, verdict) {
	md, err := ledger.ParseReply(m.Reply())
	if err != nil {
		return nil, done
	}
	asg, err := wire.DecodeAssignment(m.Headers())
	if err != nil || asg.Attempt == nil || !asg.Meta.Valid() {
		g.log.Error("unreadable work message dropped", "seq", md.Seq, "err", err)
		return nil, done
	}
	return &attempt{Runner: g.Runner, pool: g.p, asg: asg, key: asg.Meta.Tenant + "." + asg.Meta.ID, body: m.Data(), workSeq: md.Seq,
		call: &call{msg: m, workSeq: md.Seq}}, done
}

// join adds jobs to the bundle of their group, in this order (I7): their lines
// are stored, they are claimed in its name, it says that they belong to it, and
// then only are their work messages acknowledged.
func (g *bundler) join(ctx context.Context, k group, list []*attempt) {
	o := g.open[k]
	if o == nil {
		b, err := g.newBundle(ctx, g.p.Name, k)
		if err != nil {
			g.log.Warn("no bundle made, trying again", "err", err)
			g.finish(list, later)
			return
		}
		o = &gathering{b: b, joint: time.Now(), works: map[uint64]bool{}}
		g.open[k] = o
	}
	list, last, err := g.store(ctx, o, list)
	if err != nil { // some lines may be there: nothing may join them
		g.log.Warn("lines of a bundle not stored, trying again", "bundle", o.b.ID, "err", err)
		g.finish(list, later)
		delete(g.open, k)
		g.carry(o.b)
		return
	}
	if len(list) == 0 {
		return
	}
	verdicts := make([]verdict, len(list))
	claimed := make([]bool, len(list))
	var all errgroup.Group
	all.SetLimit(claimAtOnce)
	for i, a := range list {
		all.Go(func() error {
			_, verdicts[i], claimed[i] = a.claim(ctx)
			return nil
		})
	}
	_ = all.Wait() // none fails
	for i, a := range list {
		if claimed[i] {
			o.b.Lines++
			o.b.Bytes += int64(len(a.body))
			o.b.Until = min(o.b.Until, a.asg.Meta.BundledUntil())
		}
	}
	o.b.Last, o.joint = last, time.Now()
	if err := g.save(ctx, o.b); err != nil {
		g.log.Warn("a bundle went on without its newest jobs, which start again", "bundle", o.b.ID, "err", err)
		delete(g.open, k)
		return // untouched: they come again, and their claims are void
	}
	for i, a := range list {
		o.works[a.workSeq] = claimed[i]
		g.acknowledge(a.call.msg, verdicts[i])
	}
}

// store writes the lines of jobs that may join a bundle, and gives those and the
// sequence of the last line.
func (g *bundler) store(ctx context.Context, o *gathering, list []*attempt) (joining []*attempt, last uint64, err error) {
	var sent []*ledger.Future
	now := time.Now()
	for _, a := range list {
		switch m := &a.asg.Meta; {
		case o.works[a.workSeq]: // it has joined, and its acknowledgement was lost
			g.acknowledge(a.call.msg, done)
			continue
		case m.Expired(now):
			g.acknowledge(a.call.msg, a.expire(ctx))
			continue
		case !m.Bundles(now.UnixNano()): // it has waited too long: back to the routers
			ok, err := g.cfg.Ledger.TakeBack(ctx, &a.asg, a.workSeq, a.body)
			g.acknowledge(a.call.msg, map[bool]verdict{true: done, false: later}[ok && err == nil])
			continue
		}
		a.owner = o.b.owner()
		at := a.asg.Attempt
		at.QueueMS = max(0, (now.UnixNano()-max(a.asg.Progress.ReadyAt, a.asg.Meta.SubmittedAt))/int64(time.Millisecond))
		h := wire.EncodeAssignment(&a.asg)
		h[headerWork] = []string{strconv.FormatUint(a.workSeq, 10)}
		joining = append(joining, a)
		f, perr := g.pub.Publish(&nats.Msg{Subject: g.cfg.Subjects.Bundles(o.b.ID, a.asg.Meta.Tenant, a.asg.Meta.ID), Header: h, Data: a.body})
		if perr != nil {
			err = perr
			break
		}
		sent = append(sent, f)
	}
	wait, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	for _, f := range sent {
		select {
		case <-f.Done():
			seq, ferr := f.Result()
			last, err = max(last, seq), errors.Join(err, ferr)
		case <-wait.Done():
			f.Forget()
			err = context.Cause(wait)
		}
	}
	return joining, last, err
}

// storeTimeout bounds the wait for lines to be stored.
const storeTimeout = 10 * time.Second

// finish acknowledges jobs alike.
func (g *bundler) finish(list []*attempt, v verdict) {
	for _, a := range list {
		g.acknowledge(a.call.msg, v)
	}
}

// leave sends the bundles on their way that are full, or that nothing has joined
// for a while.
func (g *bundler) leave() {
	for k, o := range g.open {
		b := o.b
		age := time.Since(time.Unix(0, b.At))
		if b.Lines < g.set.MaxLines && b.Bytes < g.set.MaxBytes && age < 6*g.set.Linger && time.Since(o.joint) < g.set.Linger {
			continue
		}
		delete(g.open, k)
		g.carry(b)
	}
}

// adopt takes the bundles of the pool that nobody has.
func (g *bundler) adopt(ctx context.Context) error {
	kv, err := g.bundles(ctx)
	if err != nil {
		return err
	}
	keys, err := kv.ListKeysFiltered(ctx, g.p.Name+".*")
	if err != nil {
		return err
	}
	mine := map[string]bool{}
	for _, o := range g.open {
		mine[o.b.key()] = true
	}
	var all []string
	for key := range keys.Keys() {
		all = append(all, key)
	}
	for _, key := range all {
		g.mu.Lock()
		known := g.carried[key] != nil || mine[key]
		g.mu.Unlock()
		if known {
			continue
		}
		b, err := g.load(ctx, key)
		if err != nil {
			return err
		}
		if b == nil {
			continue
		}
		if b.Owner != "" && b.Owner != g.cfg.Instance {
			alive, err := ledger.Alive(ctx, g.cfg.JS, g.cfg.Subjects, b.Owner)
			if err != nil || alive {
				continue
			}
		}
		b.Owner = g.cfg.Instance
		if err := g.save(ctx, b); err != nil {
			continue // somebody else was faster
		}
		g.log.Info("a bundle without an owner goes on here", "bundle", b.ID, "lines", b.Lines)
		g.carry(b)
	}
	return nil
}

// carry brings a bundle to its end, beside the others, until take ends.
func (g *bundler) carry(b *bundle) {
	c := &carrier{bundler: g, b: b, log: g.log.With("bundle", b.ID), nudge: make(chan struct{}, 1)}
	g.mu.Lock()
	g.carried[b.key()] = c
	g.mu.Unlock()
	g.all.Go(func() {
		c.run()
		g.mu.Lock()
		delete(g.carried, b.key())
		g.mu.Unlock()
	})
}

// aborted says that a job of some bundle was cancelled.
func (g *bundler) aborted() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range g.carried {
		select {
		case c.nudge <- struct{}{}:
		default:
		}
	}
}
