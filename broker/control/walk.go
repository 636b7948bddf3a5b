package control

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"
)

// walk is a read of what a stream holds on a subject, by the server's batched
// direct get: a work queue takes no second consumer, and a consumer per read
// would cost the server more than the read.
type walk struct {
	nc              *nats.Conn
	stream, subject string
	from            uint64 // stream sequence
	batch, bytes    int    // bounds of one answer of the server; a single message may be larger
}

// run gives every message to each, until an answer ends and enough agrees.
// more is whether the stream held more by then.
func (w *walk) run(ctx context.Context, each func(*nats.Msg, uint64), enough func() bool) (more bool, err error) {
	inbox := w.nc.NewInbox()
	sub, err := w.nc.SubscribeSync(inbox)
	if err != nil {
		return false, err
	}
	defer func() { _ = sub.Unsubscribe() }()
	for next := max(w.from, 1); ; {
		req, err := json.Marshal(map[string]any{"seq": next, "next_by_subj": w.subject, "batch": w.batch, "max_bytes": w.bytes})
		if err != nil {
			return false, err
		}
		if err := w.nc.PublishRequest(directGet+w.stream, inbox, req); err != nil {
			return false, err
		}
		last, more, err := w.answer(ctx, sub, each)
		if err != nil || !more || enough() {
			return more, err
		}
		next = last + 1
	}
}

// answer reads one answer of the server to its end marker.
func (w *walk) answer(ctx context.Context, sub *nats.Subscription, each func(*nats.Msg, uint64)) (last uint64, more bool, err error) {
	for {
		msg, err := sub.NextMsgWithContext(ctx)
		if err != nil {
			return 0, false, fmt.Errorf("read %s: %w", w.stream, err)
		}
		if !stored(msg) {
			switch status := msg.Header.Get(directStatus); status {
			case "204": // end of this batch
				n, _ := strconv.Atoi(msg.Header.Get(directPending))
				return last, n > 0 && last > 0, nil
			case "404":
				return last, false, nil
			default:
				return 0, false, fmt.Errorf("read %s: server says %s %s", w.stream, status, msg.Header.Get("Description"))
			}
		}
		seq, err := strconv.ParseUint(said(msg, directSequence), 10, 64)
		if err != nil {
			continue
		}
		last = seq
		each(msg, seq)
	}
}
