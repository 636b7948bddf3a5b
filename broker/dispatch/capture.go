package dispatch

import (
	"context"
	"hash/fnv"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/sluicehq/sluice/broker/capture"
	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
)

// How what decisions saw is written: together with what else was decided within
// so long. A router that is killed takes that with it.
const (
	sealAfter   = 20 * time.Millisecond
	maxCaptures = 64               // blocks that may wait to be written; more are dropped, so that they never hold up a job
	keepFor     = 30 * time.Second // that a block which is not acknowledged is tried again
	keepAgain   = 500 * time.Millisecond
)

// newCaptures is the writer of the loop's decisions.
func (l *loop) newCaptures() *capture.Writer {
	run := strconv.FormatUint(l.random.Uint64()>>16, 36)
	return capture.NewWriter(run, func(b capture.Block) bool {
		select {
		case l.d.captures <- keeping{l.d.cfg.Subjects.Captures(run, b.Period), b.Data}:
			return true
		default:
			l.d.uncaptured.Add(1)
			return false
		}
	})
}

// keeping is a block on its way to the captures stream.
type keeping struct {
	subject string
	data    []byte
}

// capture keeps what the decision that l.choice holds saw, if the job is one of
// the share: then all its decisions are.
func (l *loop) capture(it *item, d *wire.Decision) {
	if !sampled(&it.asg.Meta, l.d.cfg.Captures) {
		return
	}
	if l.d.lost.Swap(false) {
		l.captures.Break()
	}
	if !l.sealing {
		l.sealing = true
		l.seal.Reset(sealAfter)
	}
	t := &l.tally
	d.Seen = l.captures.Note(t.table, t.load, t.changed, l.choice.Route, &l.choice.Input, &it.asg.Meta)
	t.noted()
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

// keepCaptures writes blocks until there are no more. One that is not stored is
// written again for a while: a copy does no harm, a gap costs what follows it.
func (d *Dispatcher) keepCaptures(ctx context.Context) {
	for k := range d.captures {
		until, err := time.Now().Add(keepFor), d.keepCapture(k)
		for err != nil && time.Now().Before(until) && ledger.Pause(ctx, keepAgain) == nil {
			err = d.keepCapture(k)
		}
		if err != nil {
			d.lost.Store(true)
		}
		if n := d.uncaptured.Swap(0); err != nil || n > 0 {
			d.cfg.Logger.Warn("decisions cannot be replayed: what they saw was not stored", "blocks_dropped", n, "err", err)
		}
	}
}

func (d *Dispatcher) keepCapture(k keeping) error {
	future, err := d.pub.Publish(&nats.Msg{Subject: k.subject, Data: k.data})
	if err != nil {
		return err
	}
	timeout := time.NewTimer(sendTimeout)
	defer timeout.Stop()
	select {
	case <-future.Done():
		_, err = future.Result()
		return err
	case <-timeout.C:
		future.Forget()
		return errNoAck
	}
}
