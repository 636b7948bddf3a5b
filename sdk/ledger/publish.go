package ledger

import (
	"bytes"
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
//
// Acknowledgements come to subjects that are used again: the server looks up
// who listens to a subject, and keeps what it found, so a new one for each
// message costs it as much as half of a delivery.
type Publisher struct {
	nc *nats.Conn

	mu    sync.Mutex
	sub   *nats.Subscription // of all acknowledgements; made at first use
	inbox string             // what their subjects begin with, with the last dot
	next  uint64
	slots map[uint64]*slot
	free  []*slot // the last one freed is used first
}

// slot is a subject that acknowledgements come to, of one message at a time.
type slot struct {
	token  uint64
	reply  string
	future *Future // whose answer comes next; nil: free, or never used again
	last   []acked // the newest message of each stream that was acknowledged here
}

// acked is what an acknowledgement says: the stream is as JSON writes it.
type acked struct {
	stream []byte
	seq    uint64
}

// Future is what becomes of a publish.
type Future struct {
	p    *Publisher
	slot *slot
	done chan struct{}
	seq  uint64
	err  error
}

// NewPublisher makes a Publisher for a connection; it does no I/O.
func NewPublisher(nc *nats.Conn) *Publisher {
	return &Publisher{nc: nc, slots: map[uint64]*slot{}}
}

// Publish sends the message. An error means that it was not sent. The message
// gets a reply subject and must not be used again.
func (p *Publisher) Publish(m *nats.Msg) (*Future, error) {
	f, err := p.expect()
	if err != nil {
		return nil, err
	}
	m.Reply = f.slot.reply
	if err := p.nc.PublishMsg(m); err != nil {
		f.Forget()
		return nil, err
	}
	return f, nil
}

// expect registers a future in a slot of its own.
func (p *Publisher) expect() (*Future, error) {
	f := &Future{p: p, done: make(chan struct{})}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sub == nil {
		inbox := p.nc.NewInbox()
		sub, err := p.nc.Subscribe(inbox+".*", p.acknowledged)
		if err != nil {
			return nil, err
		}
		if err := sub.SetPendingLimits(-1, -1); err != nil { // callers bound what is under way
			return nil, err
		}
		p.sub, p.inbox = sub, inbox+"."
	}
	if n := len(p.free); n > 0 {
		f.slot = p.free[n-1]
		p.free = p.free[:n-1]
	} else {
		p.next++
		f.slot = &slot{token: p.next, reply: p.inbox + strconv.FormatUint(p.next, 36)}
		p.slots[p.next] = f.slot
	}
	f.slot.future = f
	return f, nil
}

// acknowledged takes the stream's answer to one publish.
func (p *Publisher) acknowledged(m *nats.Msg) {
	token, err := strconv.ParseUint(m.Subject[strings.LastIndexByte(m.Subject, '.')+1:], 36, 64)
	if err != nil {
		return
	}
	a, plain, err := readAck(m)
	p.mu.Lock()
	s := p.slots[token]
	if s == nil || s.future == nil || plain && !s.newer(a) {
		p.mu.Unlock()
		return // forgotten, or answered before
	}
	f := s.future
	s.future = nil
	if plain {
		p.free = append(p.free, s)
	} else {
		delete(p.slots, token)
	}
	p.mu.Unlock()
	f.seq, f.err = a.seq, err
	close(f.done)
}

// newer notes an acknowledgement; false: the one of an earlier message came
// once more. Sequences of a stream grow, so that it cannot pass for the answer
// that is waited for. What cannot be told apart so (a refusal, a message that
// the stream has had before) is the last that a slot is used for.
func (s *slot) newer(a acked) bool {
	for i := range s.last {
		if l := &s.last[i]; bytes.Equal(l.stream, a.stream) {
			if a.seq <= l.seq {
				return false
			}
			l.seq = a.seq
			return true
		}
	}
	s.last = append(s.last, acked{bytes.Clone(a.stream), a.seq})
	return true
}

var errNoStream = errors.New("no stream takes the message")

// readAck reads {"stream":…,"seq":…} or {"error":{…}}. It is plain if it says
// that a new message was stored.
func readAck(m *nats.Msg) (a acked, plain bool, err error) {
	if len(m.Data) == 0 && m.Header.Get("Status") == "503" {
		return a, false, errNoStream
	}
	plain = true
	object := jsonscan.NewObject(m.Data)
	for member, ok := object.Next(); ok; member, ok = object.Next() {
		switch string(member.Key) {
		case "error":
			return acked{}, false, fmt.Errorf("the stream refused the message: %s (%s)",
				jsonscan.String(jsonscan.Get(member.Value, "description")), jsonscan.Get(member.Value, "err_code"))
		case "stream":
			a.stream = member.Value
		case "duplicate":
			plain = false
		case "seq":
			n, err := strconv.ParseUint(string(member.Value), 10, 64)
			if err != nil {
				return acked{}, false, fmt.Errorf("acknowledgement with a strange sequence %.20q", member.Value)
			}
			a.seq = n
		}
	}
	if a.seq == 0 {
		return acked{}, false, errors.New("acknowledgement without a sequence")
	}
	return a, plain, nil
}

// Done is closed when the stream has answered.
func (f *Future) Done() <-chan struct{} { return f.done }

// Result is the message's sequence, or why it was not stored. Only after Done.
func (f *Future) Result() (uint64, error) { return f.seq, f.err }

// Forget gives the future up: Done may then never be closed.
func (f *Future) Forget() {
	f.p.mu.Lock()
	defer f.p.mu.Unlock()
	if f.slot.future == f {
		f.slot.future = nil
		delete(f.p.slots, f.slot.token) // its answer may still come
	}
}
