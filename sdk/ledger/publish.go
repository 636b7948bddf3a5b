package ledger

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/sluicehq/sluice/sdk/wire/jsonscan"
)

// Publisher publishes to streams without waiting and tells later what became
// of each message. It does what the client library's PublishMsgAsync does, for
// half of the CPU: three publishes a job are a good part of what a job costs.
// It is safe for concurrent use. It bounds nothing: its callers do.
type Publisher struct {
	nc *nats.Conn

	mu      sync.Mutex
	sub     *nats.Subscription // of all acknowledgements; made at first use
	prefix  string             // of their subjects, with the last dot
	next    uint64
	waiting map[uint64]*Future
}

// Future is what becomes of a publish.
type Future struct {
	p     *Publisher
	token uint64
	done  chan struct{}
	seq   uint64
	err   error
}

// NewPublisher makes a Publisher for a connection; it does no I/O.
func NewPublisher(nc *nats.Conn) *Publisher {
	return &Publisher{nc: nc, waiting: map[uint64]*Future{}}
}

// Publish sends the message. An error means that it was not sent. The message
// gets a reply subject and must not be used again.
func (p *Publisher) Publish(m *nats.Msg) (*Future, error) {
	f, reply, err := p.expect()
	if err != nil {
		return nil, err
	}
	m.Reply = reply
	if err := p.nc.PublishMsg(m); err != nil {
		f.Forget()
		return nil, err
	}
	return f, nil
}

// expect registers a future and gives the subject of its acknowledgement.
func (p *Publisher) expect() (*Future, string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sub == nil {
		inbox := p.nc.NewInbox()
		sub, err := p.nc.Subscribe(inbox+".*", p.acknowledged)
		if err != nil {
			return nil, "", err
		}
		if err := sub.SetPendingLimits(-1, -1); err != nil { // callers bound what is under way
			return nil, "", err
		}
		p.sub, p.prefix = sub, inbox+"."
	}
	p.next++
	f := &Future{p: p, token: p.next, done: make(chan struct{})}
	p.waiting[f.token] = f
	return f, p.prefix + strconv.FormatUint(f.token, 36), nil
}

// acknowledged takes the stream's answer to one publish.
func (p *Publisher) acknowledged(m *nats.Msg) {
	token, err := strconv.ParseUint(m.Subject[strings.LastIndexByte(m.Subject, '.')+1:], 36, 64)
	if err != nil {
		return
	}
	p.mu.Lock()
	f := p.waiting[token]
	delete(p.waiting, token)
	p.mu.Unlock()
	if f == nil {
		return // forgotten
	}
	f.seq, f.err = readAck(m)
	close(f.done)
}

var errNoStream = errors.New("no stream takes the message")

// readAck reads {"stream":…,"seq":…} or {"error":{…}}.
func readAck(m *nats.Msg) (uint64, error) {
	if len(m.Data) == 0 && m.Header.Get("Status") == "503" {
		return 0, errNoStream
	}
	var seq uint64
	object := jsonscan.NewObject(m.Data)
	for member, ok := object.Next(); ok; member, ok = object.Next() {
		switch string(member.Key) {
		case "error":
			return 0, fmt.Errorf("the stream refused the message: %s (%s)",
				jsonscan.String(jsonscan.Get(member.Value, "description")), jsonscan.Get(member.Value, "err_code"))
		case "seq":
			n, err := strconv.ParseUint(string(member.Value), 10, 64)
			if err != nil {
				return 0, fmt.Errorf("acknowledgement with a strange sequence %.20q", member.Value)
			}
			seq = n
		}
	}
	if seq == 0 {
		return 0, errors.New("acknowledgement without a sequence")
	}
	return seq, nil
}

// Done is closed when the stream has answered.
func (f *Future) Done() <-chan struct{} { return f.done }

// Result is the message's sequence, or why it was not stored. Only after Done.
func (f *Future) Result() (uint64, error) { return f.seq, f.err }

// Forget gives the future up: Done may then never be closed.
func (f *Future) Forget() {
	f.p.mu.Lock()
	defer f.p.mu.Unlock()
	delete(f.p.waiting, f.token)
}
