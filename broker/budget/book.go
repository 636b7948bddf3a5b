package budget

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/sluicehq/sluice/broker/budget/account"
	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
	"golang.org/x/sync/errgroup"
)

// Config says what a book works with.
type Config struct {
	JS       jetstream.JetStream
	Subjects wire.Subjects
	Ledger   *ledger.Ledger
	Logger   *slog.Logger
	// Instance names this router in messages, for people. Required.
	Instance string
}

// Setup is what a configuration says of budgets.
type Setup struct {
	Budgets []account.Budget
	Bounds  account.Bounds
}

// Book is a router's view of all budgets. Make one with New, start it with
// Run; its methods are safe for concurrent use.
type Book struct {
	cfg    Config
	active atomic.Bool
	known  chan struct{} // closed when it is known which budgets there are
	news   chan struct{}
	follow chan struct{} // asks for the ledger to be followed anew

	holding sync.Mutex        // one batch of holds at a time
	alerts  map[string]raised // by budget; only tick looks at it

	mu     sync.Mutex
	setup  Setup
	stored map[string]override // by ID; nil: not known yet
	state  *account.State      // nil: not read yet
	epoch  uint64              // counts the definitions of the state
	lost   bool                // there was no stored state: claims tell of holds too
	since  int64               // from when on the ledger matters, Unix nanoseconds
	moved  chan struct{}       // closed and replaced when the log of holds moves
	asked  map[account.Job]int64
	saved  saved
	raised map[[2]string]uint64 // events, by budget and kind
}

// New makes a book; it does no I/O.
func New(cfg Config, s Setup) *Book {
	return &Book{cfg: cfg, setup: s, known: make(chan struct{}), news: make(chan struct{}, 1), follow: make(chan struct{}, 1),
		moved: make(chan struct{}), asked: map[account.Job]int64{}, alerts: map[string]raised{}, raised: map[[2]string]uint64{}}
}

// Set replaces what the configuration says; it counts from the next decision
// on. What was set while running goes before it (see SetLimit).
func (b *Book) Set(s Setup) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.setup = s
	b.define()
}

// Known is closed when it is known which budgets there are: nothing may be
// decided before.
func (b *Book) Known() <-chan struct{} { return b.known }

// Active reports whether there is any budget at all.
func (b *Book) Active() bool { return b.active.Load() }

// News has an element when a budget may have more room than before. It is for
// one reader.
func (b *Book) News() <-chan struct{} { return b.news }

func (b *Book) tell() { nudge(b.news) }

func nudge(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// effective are the budgets in force: the configuration's, each replaced by
// what was set while running, and those that were only set.
func (b *Book) effective() []account.Budget {
	byID := map[string]account.Budget{}
	for _, x := range b.setup.Budgets {
		byID[x.ID()] = x
	}
	for id, o := range b.stored {
		byID[id] = o.budget
	}
	var out []account.Budget
	for _, id := range slices.Sorted(maps.Keys(byID)) {
		out = append(out, byID[id])
	}
	return out
}

// define fits the state to the budgets in force; the lock is held.
func (b *Book) define() {
	if b.stored == nil {
		return
	}
	budgets := b.effective()
	b.active.Store(len(budgets) > 0)
	b.epoch++
	if b.state != nil {
		b.since = b.state.Define(budgets, time.Now().UnixNano())
	}
	nudge(b.follow)
	b.tell()
}

// Run keeps the book until ctx ends and returns nil then; an error means that
// the streams are missing.
func (b *Book) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return b.watchStored(ctx) })
	g.Go(func() error { b.whileActive(ctx); return nil })
	return g.Wait()
}

// whileActive waits for a first budget and then follows both streams until ctx
// ends.
func (b *Book) whileActive(ctx context.Context) {
	for !b.Active() {
		select {
		case <-b.follow:
		case <-ctx.Done():
			return
		}
	}
	var g errgroup.Group
	g.Go(func() error { b.followHolds(ctx); return nil })
	g.Go(func() error { b.followLedger(ctx); return nil })
	g.Go(func() error { b.tick(ctx); return nil })
	_ = g.Wait() // none of them fails
}

// Offer is a candidate of a job.
type Offer struct {
	Pool, Provider, Model string
	account.Offer
}

// Case is what the budgets say to a candidate.
type Case struct {
	account.Verdict
	Draw   account.Draw // the worst case
	Output int64        // the bound on output that makes it so; 0: the endpoint has none
}

// Judge says what the budgets say to each candidate of a job for its attempt
// n, as far as this router knows now. It appends to cases and reports whether
// any is bound: if none is, the job needs no hold wherever it goes.
func (b *Book) Judge(m *wire.Meta, n int, now int64, offers []Offer, cases []Case) ([]Case, bool) {
	facts, job := account.FactsOf(m), account.JobOf(m)
	b.mu.Lock()
	defer b.mu.Unlock()
	bound := false
	for i := range offers {
		o := &offers[i]
		facts.Pool, facts.Provider, facts.Model = o.Pool, o.Provider, o.Model
		c := Case{}
		switch {
		case b.state == nil:
			c.Verdict = account.Verdict{Kind: account.Crowded, Bound: true}
		case b.state.Binds(&facts):
			c.Draw, c.Output = b.setup.Bounds.Worst(m, &o.Offer)
			c.Draw.Facts, c.Draw.At, c.Draw.First = facts, now, n == 1
			c.Verdict = b.state.Judge(job, n, &c.Draw)
		}
		bound = bound || c.Bound
		cases = append(cases, c)
	}
	return cases, bound
}

// Answer is what became of a hold that was asked for.
type Answer struct {
	account.Verdict
	Seq uint64 // of the message that took it; 0: it is not held
}

// How long a batch of holds is tried for.
const (
	holdTries = 50
	holdPause = 50 * time.Millisecond // after a failure that is no collision
	holdWait  = time.Second           // for the message that a collision was with
)

// batchMost bounds the holds in one message.
const batchMost = 256

// Hold sets aside what is asked for, each in all budgets that bind it or in
// none, and says which (I2). It blocks for a round trip to the stream, or
// several while other routers do the same. An error says that nobody knows:
// jobs must then not go to a pool, and may be asked for again.
func (b *Book) Hold(ctx context.Context, asks []account.Hold) ([]Answer, error) {
	b.holding.Lock()
	defer b.holding.Unlock()
	out := make([]Answer, 0, len(asks))
	for len(asks) > 0 {
		n := min(len(asks), batchMost)
		answers, err := b.holdBatch(ctx, asks[:n])
		if err != nil {
			return nil, err
		}
		out, asks = append(out, answers...), asks[n:]
	}
	return out, nil
}

func (b *Book) holdBatch(ctx context.Context, asks []account.Hold) ([]Answer, error) {
	var err error
	for range holdTries {
		answers, taken, log, moved, ok := b.plan(asks)
		switch {
		case !ok:
			return nil, errNotRead
		case len(taken) == 0:
			return answers, nil
		}
		var seq uint64
		if seq, err = b.append(ctx, b.cfg.Subjects.Holds(), message{By: b.cfg.Instance, Holds: taken}, log); err == nil {
			b.taken(seq, taken)
			for i := range answers {
				if answers[i].Kind == account.Fits && answers[i].Bound && answers[i].Seq == 0 {
					answers[i].Seq = seq
				}
			}
			return answers, nil
		}
		if !collided(err) { // stored or not: a hold may be taken again
			if perr := ledger.Pause(ctx, holdPause); perr != nil {
				return nil, perr
			}
			continue
		}
		select {
		case <-moved:
		case <-time.After(holdWait):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	return nil, err
}

var errNotRead = errors.New("the state of the budgets is not read yet")

// plan says which holds could be taken now, and which of them need a message:
// one that expects the log to end at log. moved is closed when it does not.
func (b *Book) plan(asks []account.Hold) (answers []Answer, taken []account.Hold, log uint64, moved <-chan struct{}, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.state == nil {
		return nil, nil, 0, nil, false
	}
	for i, v := range b.state.Plan(asks) {
		a := Answer{Verdict: v}
		if v.Kind == account.Fits && v.Bound {
			if a.Seq = b.state.Held(&asks[i]); a.Seq == 0 {
				taken = append(taken, asks[i])
			}
		}
		answers = append(answers, a)
	}
	return answers, taken, b.state.Log(), b.moved, true
}

// taken folds a message of ours as soon as it is stored.
func (b *Book) taken(seq uint64, holds []account.Hold) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.state != nil && b.state.Log()+1 == seq {
		b.state.Take(seq, holds)
		b.logMoved()
	}
}

// logMoved wakes whoever waits for the log; the lock is held.
func (b *Book) logMoved() {
	close(b.moved)
	b.moved = make(chan struct{})
}

// Standings lists all budgets as they stand at this router, by ID.
func (b *Book) Standings(now time.Time) []account.Standing {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.state == nil {
		return nil
	}
	return b.state.Standings(now.UnixNano())
}

// Holds is how many attempts hold something.
func (b *Book) Holds() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.state == nil {
		return 0
	}
	return b.state.Holds()
}
