package run

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/sluicehq/sluice/workers/engine"
)

// carrier brings one bundle to its end. Each step can be done again, by whoever
// has the bundle next.
type carrier struct {
	*bundler
	b     *bundle
	log   *slog.Logger
	nudge chan struct{} // a job was cancelled

	seqs []uint64 // lines that were sent
	kept int      // of seqs, the first whose job may not be cancelled
}

const (
	// settleAfter is how long after the end of its owner the provider may still
	// begin a bundle that the owner sent.
	settleAfter = time.Minute
	skew        = time.Minute // between the provider's clock and ours
	// giveUp is how long after its jobs' deadline the provider is asked what it
	// has run.
	giveUp   = 30 * time.Minute
	nudgeFor = time.Second // that nudges are gathered for
	failWait = 5 * time.Second
)

// run goes on until the bundle is over, somebody else has it, or take ends.
func (c *carrier) run() {
	wait := time.Duration(0)
	for fails := 1; ; {
		if wait > 0 {
			t := time.NewTimer(wait)
			select {
			case <-t.C:
			case <-c.nudge:
				_ = ledger.Pause(c.take, nudgeFor) // ends with take, as the loop does
			case <-c.take.Done():
			}
			t.Stop()
		}
		if c.take.Err() != nil {
			c.b.Owner = ""
			_ = c.save(c.hard, c.b) // or it is found to be without one
			return
		}
		over, err := c.step(c.hard)
		switch {
		case errors.Is(err, errLost):
			c.log.Info("another worker has the bundle")
			return
		case err != nil && c.hard.Err() == nil:
			c.log.Warn("a bundle waits, trying again", "err", err)
			wait = min(time.Duration(fails)*failWait, c.set.Poll)
			fails++
		case over:
			return
		default:
			wait, fails = c.pause(), 1
		}
	}
}

// pause is how long to leave the bundle alone.
func (c *carrier) pause() time.Duration {
	if c.b.Provider == "" {
		return max(c.unsettled(), time.Millisecond) // on to the next step
	}
	if left := time.Until(time.Unix(0, c.b.Until)); !c.b.Stopped && c.b.Until != wire.Forever {
		return min(max(left, time.Millisecond), c.set.Poll)
	}
	return c.set.Poll
}

// change saves the bundle with a change. The copy that fails to be saved is not
// used any more, so what is seen is what is stored.
func (c *carrier) change(ctx context.Context, f func(b *bundle)) error {
	b := *c.b
	b.Not = slices.Clone(b.Not)
	f(&b)
	if err := c.save(ctx, &b); err != nil {
		return err
	}
	c.b = &b
	return nil
}

// step does what is next.
func (c *carrier) step(ctx context.Context) (over bool, err error) {
	if err := c.owns(ctx); err != nil {
		return false, err
	}
	switch b := c.b; {
	case !b.Closed:
		return false, c.change(ctx, func(b *bundle) { b.Closed = true })
	case b.Provider != "":
		return c.look(ctx)
	case b.Begun != 0:
		return false, c.recover(ctx)
	}
	return c.send(ctx)
}

// owns makes sure that nobody has changed the bundle meanwhile, or ended it.
func (c *carrier) owns(ctx context.Context) error {
	b, err := c.load(ctx, c.b.key())
	if err == nil && (b == nil || b.rev != c.b.rev) {
		return errLost
	}
	return err
}

// send uploads the bundle and has the provider run it. That the provider may
// have it is stored before it is asked (I6).
func (c *carrier) send(ctx context.Context) (over bool, err error) {
	if err := c.choose(ctx); err != nil {
		return false, err
	}
	if len(c.seqs) == 0 {
		return true, c.forget(ctx, c.b)
	}
	file := c.b.File
	if c.api.Files() && file == "" {
		if file, err = c.api.Upload(ctx, c.b.ID, c.upload(ctx)); err != nil {
			return c.refused(ctx, err)
		}
	}
	if err := c.change(ctx, func(b *bundle) { b.File, b.Sent, b.Begun = file, len(c.seqs), time.Now().UnixNano() }); err != nil {
		return false, err
	}
	x, err := c.api.Begin(ctx, file, c.b.Endpoint, c.b.ID, c.upload(ctx))
	if err != nil {
		return c.refused(ctx, err)
	}
	c.log.Info("a bundle has begun", "lines", c.b.Sent, "provider", x.ID)
	if err := c.change(ctx, func(b *bundle) { b.Provider = x.ID }); err != nil {
		if errors.Is(err, errLost) {
			_ = c.api.Stop(ctx, x.ID) // its next owner has not found it, and sends another
		}
		return false, err
	}
	return false, nil
}

// refused acts on an upload or a beginning that failed: where the provider has
// refused it, its jobs end so; else it is looked for, or sent again.
func (c *carrier) refused(ctx context.Context, err error) (over bool, _ error) {
	var x *engine.BundleError
	if !errors.As(err, &x) || !x.Refused() {
		return false, err
	}
	out := c.api.Fail(x.Failure)
	out.HTTP = x.HTTP
	return c.close(ctx, nil, func(*line) *engine.Outcome { return out })
}

// choose finds the lines that are to be sent: those whose jobs the bundle still
// has, that are not cancelled, and that the provider's API can say.
func (c *carrier) choose(ctx context.Context) error {
	c.seqs, c.kept = nil, 0
	return c.eachLine(ctx, c.b, func(l *line) error {
		m := &l.asg.Meta
		last, err := c.cfg.Ledger.Last(ctx, m.Tenant, m.ID)
		if err != nil || !c.has(l, last) {
			return err
		}
		if last.Reason == wire.ReasonCancel || !m.Bundles(time.Now().UnixNano()) {
			return c.settle(ctx, l, c.unrun(l))
		}
		if _, f := c.api.Line(c.lineID(l), c.callOf(l)); f != nil {
			return c.settle(ctx, l, c.api.Fail(f))
		}
		c.seqs = append(c.seqs, l.seq)
		return nil
	})
}

// has reports whether the job's last record is its claim by the bundle, from
// this line.
func (c *carrier) has(l *line, last *ledger.Stored) bool {
	return last != nil && last.Status == wire.Running && last.Entry.Owner == c.b.owner() && last.Entry.WorkSeq == l.work
}

// upload gives the lines that were chosen.
func (c *carrier) upload(ctx context.Context) engine.Lines {
	return func(each func([]byte) error) error {
		next := 0
		return c.eachLine(ctx, c.b, func(l *line) error {
			if next == len(c.seqs) || c.seqs[next] != l.seq {
				return nil
			}
			next++
			raw, f := c.api.Line(c.lineID(l), c.callOf(l))
			if f != nil { // cannot be: it was tried
				return f.Err
			}
			return each(raw)
		})
	}
}

// unsettled is how long the provider may still begin the bundle by itself.
func (c *carrier) unsettled() time.Duration {
	if c.b.Begun == 0 {
		return 0
	}
	return time.Until(time.Unix(0, c.b.Begun).Add(settleAfter))
}

// recover finds out whether the provider has the bundle, after an owner that
// has not said. The file is what decides where there is one: without it, nothing
// begins any more.
func (c *carrier) recover(ctx context.Context) error {
	if c.unsettled() > 0 {
		return nil
	}
	found, guess, err := c.find(ctx)
	if err == nil && found == "" && c.b.File != "" {
		if err = c.api.DropFile(ctx, c.b.File); err == nil {
			found, guess, err = c.find(ctx)
		}
	}
	if err != nil {
		return err
	}
	c.log.Info("a bundle was looked for at the provider", "found", found != "")
	return c.change(ctx, func(b *bundle) {
		if b.Provider, b.Guess = found, guess; found == "" {
			b.File, b.Begun, b.Sent = "", 0, 0
		}
	})
}

// find looks for the bundle among the provider's. Where the provider keeps no
// mark, one of its time and size that no other bundle of ours is may be it.
func (c *carrier) find(ctx context.Context) (id string, guess bool, err error) {
	list, err := c.api.Since(ctx, time.Unix(0, c.b.Begun).Add(-skew))
	if err != nil {
		return "", false, err
	}
	if c.api.Files() {
		for _, x := range list {
			if x.Mark == c.b.ID {
				return x.ID, false, nil
			}
		}
		return "", false, nil
	}
	taken, err := c.taken(ctx)
	for _, x := range list {
		if x.Lines == c.b.Sent && !taken[x.ID] && !slices.Contains(c.b.Not, x.ID) {
			return x.ID, true, err
		}
	}
	return "", false, err
}

// taken are the provider's IDs of all bundles.
func (c *carrier) taken(ctx context.Context) (map[string]bool, error) {
	kv, err := c.bundles(ctx)
	if err != nil {
		return nil, err
	}
	w, err := kv.WatchAll(ctx, jetstream.IgnoreDeletes())
	if err != nil {
		return nil, err
	}
	defer func() { _ = w.Stop() }()
	out := map[string]bool{}
	for {
		select {
		case e, ok := <-w.Updates():
			switch {
			case !ok: // these may not be all
				return nil, cmp.Or(context.Cause(ctx), nats.ErrConnectionClosed)
			case e == nil:
				return out, nil
			}
			if b, err := readBundle(e); err == nil && !b.Guess {
				out[b.Provider] = true
			}
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// look asks how the bundle does, and stops it when it is time.
func (c *carrier) look(ctx context.Context) (over bool, err error) {
	now := time.Now()
	x, err := c.api.State(ctx, c.b.Provider)
	var fault *engine.BundleError
	switch {
	case err == nil && x.Failed != nil:
		out := c.api.Fail(x.Failed)
		return c.close(ctx, x, func(*line) *engine.Outcome { return out })
	case err == nil && x.Ended:
		return c.collect(ctx, x)
	case errors.As(err, &fault) && fault.HTTP == 404: // what it has run, nobody knows
		return c.close(ctx, nil, c.lost)
	case c.b.Deadline != 0 && now.UnixNano() > c.b.Deadline+int64(giveUp):
		c.log.Error("the provider does not say what it has run of a bundle: its cost is not known", "provider", c.b.Provider)
		return c.close(ctx, nil, c.lost)
	case err != nil:
		return false, err
	}
	stop := now.UnixNano() >= c.b.Until
	if !stop {
		if stop, err = c.cancelled(ctx); err != nil {
			return false, err
		}
	}
	if !stop {
		return false, nil
	}
	if err := c.api.Stop(ctx, c.b.Provider); err != nil && !c.b.Stopped {
		return false, err
	}
	if c.b.Stopped {
		return false, nil
	}
	c.log.Info("a bundle is stopped", "late", now.UnixNano() >= c.b.Until)
	return false, c.change(ctx, func(b *bundle) { b.Stopped = true })
}

// cancelled reports whether no job of the bundle is wanted any more.
func (c *carrier) cancelled(ctx context.Context) (bool, error) {
	if c.seqs == nil {
		err := c.eachLine(ctx, c.b, func(l *line) error { c.seqs = append(c.seqs, l.seq); return nil })
		if err != nil {
			return false, err
		}
	}
	for ; c.kept < len(c.seqs); c.kept++ {
		l, err := c.lineAt(ctx, c.seqs[c.kept])
		if err != nil {
			return false, err
		}
		if l == nil {
			continue
		}
		last, err := c.cfg.Ledger.Last(ctx, l.asg.Meta.Tenant, l.asg.Meta.ID)
		if err != nil || c.has(l, last) && last.Reason != wire.ReasonCancel {
			return false, err
		}
	}
	return true, nil
}
