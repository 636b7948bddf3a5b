package dispatch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
)

// puller fetches messages from a queue. The library's own Fetch takes a
// message with an empty body and a Status header for a word of the server:
// any tenant can publish one, which would then end every pull that meets it
// and never be dealt with. Here only the reply subject counts, which a
// publisher cannot set.
type puller struct {
	nc       *nats.Conn
	subjects wire.Subjects
	next     string // the API subject
	sub      *nats.Subscription
}

func newPuller(nc *nats.Conn, s wire.Subjects, c jetstream.Consumer) *puller {
	info := c.CachedInfo()
	return &puller{nc: nc, subjects: s, next: "$JS.API.CONSUMER.MSG.NEXT." + info.Stream + "." + info.Name}
}

// pullLost is how much longer than asked for a pull may stay open before its
// end counts as lost.
const pullLost = 2 * time.Second

// fetch gives at most n messages to each as they come, for at most wait, and
// returns how many there were. What pins the queue is not among them.
func (p *puller) fetch(ctx context.Context, n int, wait time.Duration, each func(*delivery)) (got int, err error) {
	if p.sub == nil {
		if p.sub, err = p.nc.SubscribeSync(p.nc.NewInbox()); err != nil {
			return 0, err
		}
	}
	req, err := json.Marshal(map[string]int64{"batch": int64(n), "expires": int64(wait)})
	if err != nil {
		return 0, err
	}
	if err := p.nc.PublishRequest(p.next, p.sub.Subject, req); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, wait+pullLost)
	defer cancel()
	for given := 0; given < n; {
		m, err := p.sub.NextMsgWithContext(ctx)
		if err != nil {
			p.close()
			if errors.Is(err, nats.ErrNoResponders) { // the library reads that status itself
				err = errors.Join(err, jetstream.ErrConsumerNotFound)
			}
			return got, err
		}
		if strings.HasPrefix(m.Reply, "$JS.ACK.") {
			if given++; !p.subjects.IsPin(m.Subject) {
				got++
				each(&delivery{m: m})
			}
			continue
		}
		if end, err := pullStatus(m); end {
			return got, err
		}
	}
	return got, nil
}

// pullStatus reads a word of the server: whether the pull is over, and why.
func pullStatus(m *nats.Msg) (end bool, err error) {
	status, why := m.Header.Get("Status"), m.Header.Get("Description")
	switch {
	case status == "100": // a heartbeat
		return false, nil
	case status == "404", status == "408", strings.Contains(why, "Batch Completed"):
		return true, nil
	case strings.Contains(why, "Consumer Deleted"):
		return true, jetstream.ErrConsumerDeleted
	}
	return true, fmt.Errorf("the server ended a pull: %s %s", status, why)
}

// closing bounds the end of a pull.
const closing = 2 * time.Second

// close ends the pull and gives back what it brings until the server knows: on
// its own that would come again only after the ack wait.
func (p *puller) close() {
	sub := p.sub
	if p.sub = nil; sub == nil {
		return
	}
	if sub.Drain() != nil {
		_ = sub.Unsubscribe() // fails only on a closed connection
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), closing)
	defer cancel()
	for {
		m, err := sub.NextMsgWithContext(ctx)
		if err != nil {
			return // drained
		}
		if strings.HasPrefix(m.Reply, "$JS.ACK.") {
			_ = (&delivery{m: m}).Nak() // or it comes again after the ack wait
		}
	}
}

// delivery is a message of a queue: given out by it, or lifted.
type delivery struct {
	m      *nats.Msg
	lifted *lifted // nil: given out
}

func (d *delivery) Headers() nats.Header { return d.m.Header }
func (d *delivery) Data() []byte         { return d.m.Data }

func (d *delivery) Subject() string {
	if d.lifted != nil {
		return d.lifted.Stored
	}
	return d.m.Subject
}

// Metadata is what the server says of the message.
func (d *delivery) Metadata() (ledger.Delivery, error) {
	if l := d.lifted; l != nil {
		return ledger.Delivery{Stream: l.stream, At: l.At, Seq: l.Seq}, nil
	}
	return ledger.ParseReply(d.m.Reply)
}

var acked = []byte("+ACK")

// Ack takes the message out of its queue.
func (d *delivery) Ack() error {
	if d.lifted != nil {
		return d.lifted.remove()
	}
	return d.m.Respond(acked)
}

// say answers the queue, which knows nothing of a lifted message.
func (d *delivery) say(what []byte) error {
	if d.lifted != nil {
		return nil
	}
	return d.m.Respond(what)
}

func (d *delivery) Nak() error        { return d.say([]byte("-NAK")) }
func (d *delivery) InProgress() error { return d.say([]byte("+WPI")) }

// NakWithDelay has the message delivered again after a while.
func (d *delivery) NakWithDelay(after time.Duration) error {
	return d.say(fmt.Appendf(nil, `-NAK {"delay": %d}`, after.Nanoseconds()))
}
