package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/sluicehq/sluice/sdk/wire"
)

// Bounds of one pull: what may wait in this process's memory (I3).
const (
	pullMessages  = 2048
	pullBytes     = 16 << 20
	pullExpires   = 20 * time.Second
	pullHeartbeat = 5 * time.Second
)

// Seen is a ledger record as read: its headers, without the body. It is shared
// by all who read it and not to be changed. It is safe for concurrent use.
type Seen struct {
	Seq     uint64
	Prev    uint64    // a Tail's: sequence of the record before, 0: something may be missing
	At      time.Time // when the ledger stored it; of what an Echo told, when this process knew
	Pending uint64    // messages behind it
	Size    int       // bytes
	Header  map[string][]string

	given  *wire.Record // as it was written, by this process; nil: to be decoded
	once   sync.Once    // of what follows
	record wire.Record
	fault  error
}

// Record is the decoded record, without its body; who asks first decodes it.
func (m *Seen) Record() (*wire.Record, error) {
	m.once.Do(func() {
		if m.given != nil {
			m.record, m.fault = *m.given, m.given.Entry.Attempt.Unfold()
		} else {
			m.record, m.fault = wire.DecodeRecord(m.Header, nil)
		}
	})
	return &m.record, m.fault
}

// Reader follows the ledger in order. It speaks the pull protocol itself: it
// wants a whole stretch in one request, at most one open request, to read the
// next message with a deadline without a timer or a context per message, and
// to notice a gap. It is for one goroutine.
type Reader struct {
	nc       *nats.Conn
	js       jetstream.JetStream
	stream   string
	consumer string
	next     string // subject of pull requests
	sub      *nats.Subscription
	msgs     chan *nats.Msg
	timer    *time.Timer
	request  []byte
	inbox    string
	pulls    int       // requests made so far
	reply    string    // of the open pull, "" when none is open
	messages int       // still to come of the open pull
	last     uint64    // the consumer's number of the last delivery
	heard    time.Time // last sign of life
}

// ErrQuiet is the end of a wait without a message.
var ErrQuiet = errors.New("no message yet")

// OpenReader starts at a sequence of the ledger, or where that is 0 with what
// was stored since a time.
func OpenReader(ctx context.Context, js jetstream.JetStream, subjects wire.Subjects, seq uint64, since time.Time) (*Reader, error) {
	stream := subjects.Stream(wire.StreamLedger)
	cfg := jetstream.ConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: seq,
		AckPolicy: jetstream.AckNonePolicy, HeadersOnly: true, MemoryStorage: true, Replicas: 1,
		InactiveThreshold: time.Minute, MaxWaiting: 4,
	}
	if seq == 0 {
		cfg.DeliverPolicy, cfg.OptStartTime = jetstream.DeliverByStartTimePolicy, &since
	}
	c, err := js.CreateConsumer(ctx, stream, cfg)
	if err != nil {
		return nil, fmt.Errorf("read the ledger: %w", err)
	}
	req, err := json.Marshal(map[string]any{
		"batch": pullMessages, "max_bytes": pullBytes, "expires": pullExpires, "idle_heartbeat": pullHeartbeat,
	})
	if err != nil {
		return nil, err
	}
	r := &Reader{nc: js.Conn(), js: js, stream: stream, consumer: c.CachedInfo().Name, request: req}
	r.next = apiPrefix(js) + "CONSUMER.MSG.NEXT." + stream + "." + r.consumer
	// Room for a whole pull and what the server says beside it: nothing is
	// ever dropped for want of room.
	r.msgs = make(chan *nats.Msg, pullMessages+64)
	r.inbox = r.nc.NewInbox()
	if r.sub, err = r.nc.ChanSubscribe(r.inbox+".*", r.msgs); err != nil {
		return nil, fmt.Errorf("read the ledger: %w", err)
	}
	r.timer = time.NewTimer(time.Hour)
	return r, nil
}

func apiPrefix(js jetstream.JetStream) string {
	o := js.Options()
	switch {
	case o.APIPrefix != "":
		return strings.TrimSuffix(o.APIPrefix, ".") + "."
	case o.Domain != "":
		return "$JS." + o.Domain + ".API."
	}
	return "$JS.API."
}

// Read returns the next message, or ErrQuiet when there is none until the
// deadline or the end of ctx. Any other error is final for this reader.
func (r *Reader) Read(ctx context.Context, deadline time.Time) (*Seen, error) {
	for {
		if r.reply == "" {
			if err := r.pull(); err != nil {
				return nil, err
			}
		}
		silent := r.heard.Add(2 * pullHeartbeat)
		until := deadline
		if silent.Before(until) {
			until = silent
		}
		msg := r.receive(ctx, until)
		switch {
		case msg == nil && !time.Now().Before(silent):
			return nil, errors.New("read the ledger: the server is silent")
		case msg == nil:
			return nil, ErrQuiet
		}
		if !strings.HasPrefix(msg.Reply, "$JS.ACK.") {
			if err := r.status(msg); err != nil {
				return nil, err
			}
			continue
		}
		return r.take(msg)
	}
}

// receive returns nil when nothing comes in time.
func (r *Reader) receive(ctx context.Context, until time.Time) *nats.Msg {
	select {
	case msg := <-r.msgs: // the usual case under load: no timer
		return msg
	default:
	}
	r.timer.Reset(time.Until(until))
	select {
	case msg := <-r.msgs:
		return msg
	case <-r.timer.C:
	case <-ctx.Done():
	}
	return nil
}

func (r *Reader) pull() error {
	r.pulls++
	r.reply, r.messages, r.heard = r.inbox+"."+strconv.Itoa(r.pulls), pullMessages, time.Now()
	if err := r.nc.PublishRequest(r.next, r.reply, r.request); err != nil {
		return fmt.Errorf("read the ledger: %w", err)
	}
	return nil
}

// status handles what the server says beside messages. It comes on the reply
// subject of its pull, which may be one that is complete by now: the server
// may say that it is after its last message.
func (r *Reader) status(msg *nats.Msg) error {
	r.heard = time.Now()
	code, text := msg.Header.Get("Status"), msg.Header.Get("Description")
	switch {
	case code == "100": // a heartbeat
	case code == "404" || code == "408" || // the pull has expired
		code == "409" && (strings.Contains(text, "Batch Completed") || strings.Contains(text, "MaxBytes")):
		if msg.Subject == r.reply {
			r.reply = ""
		}
	default:
		return fmt.Errorf("read the ledger: the server ended it with %s %s", code, text)
	}
	return nil
}

// take reads a delivery. The consumer counts its deliveries: a number left out means
// that a message was lost on the way.
func (r *Reader) take(msg *nats.Msg) (*Seen, error) {
	md, err := ParseReply(msg.Reply)
	if err != nil {
		return nil, err
	}
	if md.Delivered != r.last+1 {
		return nil, fmt.Errorf("read the ledger: delivery %d follows %d, a message was lost", md.Delivered, r.last)
	}
	r.last = md.Delivered
	if r.messages--; r.messages == 0 {
		r.reply = ""
	}
	// Heartbeats pause while messages flow; asking the clock for each one
	// would cost more than reading it.
	if r.messages%64 == 0 || md.Pending == 0 {
		r.heard = time.Now()
	}
	return &Seen{Seq: md.Seq, At: md.At, Pending: md.Pending, Size: msg.Size(), Header: msg.Header}, nil
}

// Close drops what has not been read and removes the consumer.
func (r *Reader) Close() {
	r.timer.Stop()
	_ = r.sub.Unsubscribe() // fails only when the connection is closed
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = r.js.DeleteConsumer(ctx, r.stream, r.consumer) // or InactiveThreshold removes it
}

// Delivery is what a delivery's reply subject says.
type Delivery struct {
	Stream    string
	Seq       uint64 // in the stream
	Delivered uint64 // the consumer's count
	Pending   uint64 // messages behind it
	At        time.Time
}

// ParseReply reads $JS.ACK.<stream>.<consumer>.<tries>.<stream seq>.<consumer
// seq>.<time>.<pending>, which later servers write with domain and account
// after ACK and possibly a token at the end.
func ParseReply(reply string) (md Delivery, err error) {
	var tokens [12]string
	n := 0
	for t := range strings.SplitSeq(reply, ".") {
		if n == len(tokens) {
			break
		}
		tokens[n] = t
		n++
	}
	at := 5
	if n >= 11 {
		at = 7
	} else if n != 9 {
		return md, fmt.Errorf("a message with the strange reply subject %.60q", reply)
	}
	md.Stream = tokens[at-3]
	var nanos uint64
	for i, v := range []*uint64{&md.Seq, &md.Delivered, &nanos, &md.Pending} {
		if *v, err = strconv.ParseUint(tokens[at+i], 10, 64); err != nil {
			return md, fmt.Errorf("a message with the strange reply subject %.60q", reply)
		}
	}
	md.At = time.Unix(0, int64(nanos)).UTC()
	return md, nil
}
