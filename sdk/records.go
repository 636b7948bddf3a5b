package sdk

import (
	"context"
	"iter"

	"github.com/nats-io/nats.go"

	"github.com/sluicehq/sluice/sdk/wire"
)

// Records follows the job's life: every record from the first, then each as
// it is stored, in order and without repeat. The loop ends after the terminal
// record. A job that is still queued has none yet, which is waited for; a job
// that does not exist gives wire.CodeNotFound, as in [Handle.Wait].
func (h *Handle) Records(ctx context.Context) iter.Seq2[wire.Record, error] {
	return func(yield func(wire.Record, error) bool) {
		if err := h.valid(); err != nil {
			yield(wire.Record{}, err)
			return
		}
		l, err := h.c.watch.listen(h.id, true)
		if err != nil {
			yield(wire.Record{}, err)
			return
		}
		defer l.close()
		r := recordReader{h: h, l: l, yield: yield}
		if err := r.follow(ctx); err != nil && !r.done {
			yield(wire.Record{}, h.waiting(ctx, err))
		}
	}
}

// recordReader is one loop over a job's records.
type recordReader struct {
	h     *Handle
	l     *listener
	yield func(wire.Record, error) bool
	read  uint64 // ledger sequence of the last record yielded
	done  bool   // the terminal record was yielded, or the loop was left
}

func (r *recordReader) follow(ctx context.Context) error {
	unknown := 0
	for hinted := false; ; {
		last, ok, err := r.l.look(ctx, hinted)
		if err != nil {
			return err
		}
		if ok && last.seq > r.read {
			if err := r.catchUp(ctx); err != nil || r.done {
				return err
			}
		}
		if hinted, err = r.l.next(ctx); err != nil {
			return err
		}
		if hinted || ok || r.l.confirm > 0 {
			unknown = 0
		} else if unknown, err = r.h.exists(ctx, unknown); err != nil {
			return err
		}
	}
}

// catchUp yields the records that the ledger holds after those read.
func (r *recordReader) catchUp(ctx context.Context) error {
	c := r.h.c
	var inner error
	err := c.replay(ctx, r.h.id,
		func() wire.ReplayRequest { return wire.ReplayRequest{Of: wire.ReplayRecords, After: r.read} },
		func(m *nats.Msg) bool {
			record, err := wire.DecodeRecord(m.Header, m.Data)
			if err != nil {
				inner = fail(wire.CodeInternal, err, "%v", err)
				return false
			}
			r.done = !r.yield(record, nil) || record.Status.Terminal()
			return !r.done
		},
		func(seq uint64) { r.read = seq })
	if inner != nil {
		return inner
	}
	return err
}
