package sdk

import (
	"context"
	"encoding/json"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sluicehq/sluice/sdk/wire"
)

// errTorn is an answer of which some was lost, by a reconnect.
var errTorn = fail(wire.CodeUnavailable, nil, "a part of an answer was lost")

// replay reads what the broker has stored of a job, from where next says, and
// gives it to each until that returns false. After each answer read is told
// up to where the stream was read. It repeats what fails for want of an
// answer; a stream that is missing may be about to be made: it gets
// missingWait.
func (c *Client) replay(ctx context.Context, job string, next func() wire.ReplayRequest, each func(m *nats.Msg) bool, read func(seq uint64)) error {
	const pause, missingWait = 250 * time.Millisecond, 5 * time.Second
	var missing time.Duration
	for {
		run, end, err := c.replayOnce(ctx, c.subjects.Replay(c.tenant, job), next())
		if err != nil {
			if e := permanent(ctx, err); e != nil {
				return e
			}
			if c.isClosed() {
				return errClosed
			}
			if end.Error != nil {
				if missing += pause; missing > missingWait || end.Error.Code != wire.CodeUnavailable {
					return err
				}
			}
			if err := sleep(ctx, pause); err != nil {
				return err
			}
			continue
		}
		missing = 0
		for _, m := range run {
			if !each(m) {
				return nil
			}
		}
		if read(end.Seq); !end.More {
			return nil
		}
	}
}

// replayOnce asks once and returns the whole answer.
func (c *Client) replayOnce(ctx context.Context, subject string, req wire.ReplayRequest) (run []*nats.Msg, end wire.ReplayEnd, err error) {
	body, err := json.Marshal(req)
	if err != nil {
		return nil, end, err
	}
	try, done := c.guard(ctx, subject)
	defer done()
	inbox := c.nc.NewInbox()
	sub, err := c.nc.SubscribeSync(inbox)
	if err != nil {
		return nil, end, err
	}
	defer func() { _ = sub.Unsubscribe() }() // fails only on a closed connection
	if err := c.nc.PublishRequest(subject, inbox, body); err != nil {
		return nil, end, err
	}
	for {
		m, err := sub.NextMsgWithContext(try)
		if err != nil {
			return nil, end, cause(try, err)
		}
		switch {
		case m.Header.Get(wire.HeaderMore) != "":
			if err := json.Unmarshal(m.Data, &end); err != nil {
				return nil, end, fail(wire.CodeInternal, err, "the broker's answer on %s is not understood: %v", subject, err)
			}
			switch {
			case end.Error != nil:
				return nil, end, fail(end.Error.Code, nil, "%s", end.Error.Message)
			case end.Messages != len(run):
				return nil, end, errTorn
			}
			return run, end, nil
		case m.Header.Get(wire.HeaderAttempt) == "" && m.Header.Get(wire.HeaderStatus) == "": // the server's own word
			return nil, end, nats.ErrNoResponders
		default:
			run = append(run, m)
		}
	}
}
