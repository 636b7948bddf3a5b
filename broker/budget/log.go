package budget

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/sluicehq/sluice/broker/budget/account"
	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
)

// message is what a router takes at once.
type message struct {
	By    string         `json:"by"`
	Holds []account.Hold `json:"holds"`
}

// headerExpectedLast makes a publish conditional on the whole stream's end.
const headerExpectedLast = "Nats-Expected-Last-Sequence"

// appendWait bounds the wait for an acknowledgement.
const appendWait = 5 * time.Second

// append writes to the stream of holds if it ends at expect (I1).
func (b *Book) append(ctx context.Context, subject string, v any, expect uint64) (uint64, error) {
	raw, ok := v.([]byte)
	if !ok {
		var err error
		if raw, err = json.Marshal(v); err != nil {
			return 0, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, appendWait)
	defer cancel()
	m := &nats.Msg{Subject: subject, Data: raw, Header: nats.Header{headerExpectedLast: {strconv.FormatUint(expect, 10)}}}
	ack, err := b.cfg.JS.PublishMsg(ctx, m, jetstream.WithRetryAttempts(0))
	if err != nil {
		return 0, err
	}
	return ack.Sequence, nil
}

// collided reports whether an append was refused because the stream had moved.
func collided(err error) bool {
	var refused *jetstream.APIError
	return errors.As(err, &refused) && (refused.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence ||
		refused.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}

// errGap: messages were removed before this router has seen them; a stored
// state is behind them.
var errGap = errors.New("the log of holds has moved on")

// followHolds reads the stored state and folds what follows, until ctx ends.
func (b *Book) followHolds(ctx context.Context) {
	for ctx.Err() == nil {
		err := b.loadState(ctx)
		if err == nil {
			err = b.followHoldsFrom(ctx)
		}
		if ctx.Err() != nil {
			return
		}
		if !errors.Is(err, errGap) {
			b.cfg.Logger.Warn("holds cannot be followed, trying again: jobs with a budget wait", "err", err)
		}
		if ledger.Pause(ctx, time.Second) != nil {
			return
		}
	}
}

// loadState begins at the last stored state, unless this router knows more.
func (b *Book) loadState(ctx context.Context) error {
	stream, err := b.cfg.JS.Stream(ctx, b.cfg.Subjects.Stream(wire.StreamHolds))
	if err != nil {
		return err
	}
	m, err := stream.GetLastMsgForSubject(ctx, b.cfg.Subjects.HoldsState())
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.state == nil {
			b.lost = true
			b.adopt(account.New())
		}
		// What was removed without a state behind it is gone.
		b.state.Skip(max(stream.CachedInfo().State.FirstSeq, 1) - 1)
		return nil
	}
	if err != nil {
		return err
	}
	return b.stateSeen(m.Sequence, m.Data, m.Time)
}

// stateSeen takes a stored state in: as a sign that the log has been cut
// there, and as the state where this router has missed something.
func (b *Book) stateSeen(seq uint64, raw []byte, at time.Time) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.state == nil || b.state.Log()+1 < seq {
		s, err := account.Decode(raw)
		if err != nil {
			return err
		}
		b.adopt(s)
	}
	b.state.Skip(seq)
	b.lost = false // whoever stored it has read the ledger to its end
	b.saved.seen(seq, at, b.state)
	b.logMoved()
	return nil
}

// adopt makes a state this router's; the lock is held.
func (b *Book) adopt(s *account.State) {
	b.state = s
	b.define()
}

func (b *Book) followHoldsFrom(ctx context.Context) error {
	b.mu.Lock()
	from := b.state.Log() + 1
	b.mu.Unlock()
	return b.consume(ctx, wire.StreamHolds, jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: from},
		nil, func(m jetstream.Msg, md *jetstream.MsgMetadata) error {
			if m.Subject() == b.cfg.Subjects.HoldsState() {
				return b.stateSeen(md.Sequence.Stream, m.Data(), md.Timestamp)
			}
			return b.logSeen(md.Sequence.Stream, m.Data())
		})
}

// logSeen folds one message of holds, of ours or another's.
func (b *Book) logSeen(seq uint64, raw []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch log := b.state.Log(); {
	case seq <= log:
		return nil
	case seq > log+1 && log > 0:
		return errGap
	}
	var msg message
	if err := json.Unmarshal(raw, &msg); err != nil {
		b.cfg.Logger.Error("unreadable message in the stream of holds skipped: only routers may write there", "seq", seq, "err", err)
	}
	b.state.Take(seq, msg.Holds)
	b.logMoved()
	return nil
}

// consume gives each message of a stream to f until ctx ends or f fails. start
// gets the number of messages that wait at first.
func (b *Book) consume(ctx context.Context, stream string, cfg jetstream.OrderedConsumerConfig, start func(pending uint64), f func(jetstream.Msg, *jetstream.MsgMetadata) error) error {
	c, err := b.cfg.JS.OrderedConsumer(ctx, b.cfg.Subjects.Stream(stream), cfg)
	if err != nil {
		return err
	}
	if start != nil {
		start(c.CachedInfo().NumPending)
	}
	failed := make(chan error, 1)
	cc, err := c.Consume(func(m jetstream.Msg) {
		md, err := m.Metadata()
		if err == nil {
			err = f(m, md)
		}
		if err != nil {
			select {
			case failed <- err:
			default:
			}
		}
	}, jetstream.PullMaxMessages(2000), jetstream.ConsumeErrHandler(func(_ jetstream.ConsumeContext, err error) {
		b.cfg.Logger.Debug("following a stream", "stream", stream, "err", err)
	}))
	if err != nil {
		return err
	}
	defer func() { cc.Stop(); <-cc.Closed() }()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case err := <-failed:
		return err
	case <-cc.Closed():
		return errors.New("the consumer ended")
	}
}
