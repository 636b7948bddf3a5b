package dispatch

import (
	"context"
	"hash/fnv"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/sluicehq/sluice/broker/capture"
	"github.com/sluicehq/sluice/broker/steer"
	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
)

// Bounds of what decisions saw on its way to its stream: more is dropped, so
// that it never holds up a job.
const (
	maxCaptures     = 4096             // blocks
	maxCaptureBytes = 16 << 20         // of all of them
	keepFor         = 30 * time.Second // that a block which is not acknowledged is tried again
	keepAgain       = 500 * time.Millisecond
)

// newCaptures is the writer of the loop's decisions. A block is published at
// once, and so stands before what follows from its decisions (I6).
func (l *loop) newCaptures() *capture.Writer {
	run := strconv.FormatUint(l.random.Uint64()>>16, 36)
	return capture.NewWriter(run, func(b capture.Block) bool {
		k := keeping{subject: l.d.cfg.Subjects.Captures(run, b.Period), data: b.Data, at: time.Now()}
		if l.d.keepingBytes.Load() < maxCaptureBytes {
			k.future, _ = l.d.pub.Publish(k.message()) // or else it is tried again
			select {
			case l.d.captures <- k:
				l.d.keepingBytes.Add(int64(len(b.Data)))
				return true
			default:
			}
		}
		l.d.uncaptured.Add(1)
		return false
	})
}

// keeping is a block on its way to the captures stream.
type keeping struct {
	subject string
	data    []byte
	future  *ledger.Future // nil: not sent yet
	at      time.Time      // when it was
}

func (k *keeping) message() *nats.Msg { return &nats.Msg{Subject: k.subject, Data: k.data} }

// capture keeps what a decision saw, if the job is one of the share: then all
// its decisions are. job is what the decision's record will say of it.
func (l *loop) capture(job *wire.Meta, d *wire.Decision, ch *steer.Choice) {
	if !sampled(job, l.d.cfg.Captures) {
		return
	}
	if l.d.lost.Swap(false) {
		l.captures.Break()
	}
	t := &l.tally
	d.Seen = l.captures.Note(t.table, t.load, t.changed, ch.Route, &ch.Input, job)
	t.noted()
}

// verdict is what is recorded of a decision without an attempt.
func (l *loop) verdict(it *item, job *wire.Meta, ch *steer.Choice) *wire.Decision {
	d := it.course.Decision(l.tally.load, ch)
	l.capture(job, d, ch)
	return d
}

// hopeless decides about a job in memory that waits already, and returns what is
// recorded of that; nil: somebody would take it, or its route is gone.
func (l *loop) hopeless(it *item, now time.Time) *wire.Decision {
	t := l.tally.table
	if t == nil {
		return nil
	}
	if _, ok := t.Route(it.course.Route); !ok {
		return nil
	}
	l.spare.Bar = l.purse.bar(l)
	l.plan.Decide(t, l.tally.load, &it.course, l.input(it.course.Route, it, now), l.turn, &l.spare)
	if l.spare.Candidate() != nil {
		return nil
	}
	return l.verdict(it, &it.asg.Meta, &l.spare)
}

// sampled tells whether a job is one of a share: the same ones at every router.
func sampled(m *wire.Meta, share float64) bool {
	if share <= 0 || share >= 1 {
		return share >= 1
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(m.Tenant + "." + m.ID)) // never fails
	return float64(mix(h.Sum64())>>11)/(1<<53) < share
}

// mix spreads the bits of a hash.
func mix(x uint64) uint64 {
	x ^= x >> 32
	x *= 0xD6E8FEB86659FD93
	x ^= x >> 32
	x *= 0xD6E8FEB86659FD93
	return x ^ x>>32
}

// keepCaptures waits for the blocks to be stored. One that is not is written
// again for a while, and with it all that were written since: a copy does no
// harm, a gap costs what follows it.
func (d *Dispatcher) keepCaptures(ctx context.Context) {
	var again time.Time // what was sent before this came too early
	for k := range d.captures {
		err := error(errNoAck)
		if !k.at.Before(again) {
			err = stored(k.future)
		} else if k.future != nil {
			k.future.Forget()
		}
		for until := time.Now().Add(keepFor); err != nil; {
			again = time.Now()
			if k.future, err = d.pub.Publish(k.message()); err == nil {
				err = stored(k.future)
			}
			if err != nil && (time.Now().After(until) || ledger.Pause(ctx, keepAgain) != nil) {
				d.lost.Store(true)
				break
			}
			again = time.Now()
		}
		d.keepingBytes.Add(-int64(len(k.data)))
		if n := d.uncaptured.Swap(0); err != nil || n > 0 {
			d.cfg.Logger.Warn("decisions cannot be replayed: what they saw was not stored", "blocks_dropped", n, "err", err)
		}
	}
}

// stored waits for the acknowledgement of a block.
func stored(f *ledger.Future) error {
	if f == nil {
		return errNoAck
	}
	timeout := time.NewTimer(sendTimeout)
	defer timeout.Stop()
	select {
	case <-f.Done():
		_, err := f.Result()
		return err
	case <-timeout.C:
		f.Forget()
		return errNoAck
	}
}
