package peek

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
)

// Headers and statuses of the server's direct get.
const (
	subjectHeader  = "Nats-Subject"
	sequenceHeader = "Nats-Sequence"
	timeHeader     = "Nats-Time-Stamp"
	pendingHeader  = "Nats-Num-Pending"
	statusHeader   = "Status"
)

const directGet = "$JS.API.DIRECT.GET."

// Message is what a stream holds at a sequence.
type Message struct {
	*nats.Msg        // headers and body; its own subject is that of the reply
	Stored    string // the subject in the stream
	Seq       uint64
	At        time.Time
}

// said is what the server says about a message it has read: it puts its
// headers behind those of the publisher, who may have set the same names (I1).
func said(m *nats.Msg, name string) string {
	if v := m.Header[name]; len(v) > 0 {
		return v[len(v)-1]
	}
	return ""
}

// read tells a message of the stream from a word of the server: a status
// header alone does not, publishers may set one.
func read(m *nats.Msg) (Message, bool) {
	seq, err := strconv.ParseUint(said(m, sequenceHeader), 10, 64)
	if err != nil {
		return Message{}, false
	}
	at, _ := time.Parse(time.RFC3339Nano, said(m, timeHeader))
	return Message{Msg: m, Stored: said(m, subjectHeader), Seq: seq, At: at}, true
}

// At reads the message at a sequence; false: there is none.
func At(ctx context.Context, nc *nats.Conn, stream string, seq uint64) (Message, bool, error) {
	req, err := json.Marshal(map[string]uint64{"seq": seq})
	if err != nil {
		return Message{}, false, err
	}
	m, err := nc.RequestWithContext(ctx, directGet+stream, req)
	if err != nil {
		return Message{}, false, err
	}
	out, ok := read(m)
	return out, ok, nil
}

// Walk is a read of all that a stream holds on a subject.
type Walk struct {
	Conn            *nats.Conn
	Stream, Subject string // wildcards are fine
	From            uint64 // stream sequence; 0: the first
	// Batch and Bytes bound one answer of the server; a single message may be
	// larger.
	Batch, Bytes int
}

// Run gives every message to each, in order, until an answer ends and enough
// agrees. more is whether the stream held more by then.
func (w *Walk) Run(ctx context.Context, each func(Message), enough func() bool) (more bool, err error) {
	inbox := w.Conn.NewInbox()
	// Room for one answer: a synchronous subscription has room for half a
	// million messages, which takes four megabytes.
	msgs := make(chan *nats.Msg, w.Batch+16)
	sub, err := w.Conn.ChanSubscribe(inbox, msgs)
	if err != nil {
		return false, err
	}
	defer func() { _ = sub.Unsubscribe() }()
	for next := max(w.From, 1); ; {
		req, err := json.Marshal(map[string]any{"seq": next, "next_by_subj": w.Subject, "batch": w.Batch, "max_bytes": w.Bytes})
		if err != nil {
			return false, err
		}
		if err := w.Conn.PublishRequest(directGet+w.Stream, inbox, req); err != nil {
			return false, err
		}
		last, more, err := w.answer(ctx, msgs, each)
		if err != nil || !more || enough() {
			return more, err
		}
		next = last + 1
	}
}

// answer reads one answer of the server to its end marker.
func (w *Walk) answer(ctx context.Context, msgs <-chan *nats.Msg, each func(Message)) (last uint64, more bool, err error) {
	for {
		msg, err := receive(ctx, msgs)
		if err != nil {
			return 0, false, fmt.Errorf("read %s: %w", w.Stream, err)
		}
		m, ok := read(msg)
		if ok {
			last = m.Seq
			each(m)
			continue
		}
		switch status := msg.Header.Get(statusHeader); status {
		case "204": // end of this batch
			n, _ := strconv.Atoi(msg.Header.Get(pendingHeader))
			return last, n > 0 && last > 0, nil
		case "404":
			return last, false, nil
		default:
			return 0, false, fmt.Errorf("read %s: server says %s %s", w.Stream, status, msg.Header.Get("Description"))
		}
	}
}

// silence is how long the next message of an answer is waited for: what a
// broken connection has lost does not come again.
const silence = 30 * time.Second

func receive(ctx context.Context, msgs <-chan *nats.Msg) (*nats.Msg, error) {
	select {
	case m := <-msgs: // the usual case: no timer
		return m, nil
	default:
	}
	t := time.NewTimer(silence)
	defer t.Stop()
	select {
	case m := <-msgs:
		return m, nil
	case <-t.C:
		return nil, nats.ErrTimeout
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}
