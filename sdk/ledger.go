package sdk

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/sdk/wire"
)

// stored is a record as the ledger holds it.
type stored struct {
	wire.Record
	seq uint64
	at  time.Time
}

// last reads the last record of a job; ok is false when it has none. It names
// the subject in the request's own subject, so that a permission can be
// written for it.
func (c *Client) last(ctx context.Context, job string) (r stored, ok bool, err error) {
	select {
	case c.watch.looks <- struct{}{}:
		defer func() { <-c.watch.looks }()
	case <-ctx.Done():
		return r, false, context.Cause(ctx)
	case <-c.closed:
		return r, false, errClosed
	}
	subject := "$JS.API.DIRECT.GET." + c.subjects.Stream(wire.StreamLedger) + "." + c.subjects.Records(c.tenant, job)
	m, err := c.request(ctx, subject, nil)
	if err != nil {
		return r, false, err
	}
	switch status := m.Header.Get("Status"); status {
	case "":
	case "404":
		return r, false, nil
	default:
		return r, false, fail(wire.CodeUnavailable, nil, "the ledger refused a read: %s %s", status, m.Header.Get("Description"))
	}
	if r.Record, err = wire.DecodeRecord(m.Header, m.Data); err != nil {
		return r, false, fail(wire.CodeInternal, err, "%v", err)
	}
	r.seq, _ = strconv.ParseUint(m.Header.Get("Nats-Sequence"), 10, 64)
	r.at, _ = time.Parse(time.RFC3339Nano, m.Header.Get("Nats-Time-Stamp"))
	return r, true, nil
}

// look reads the last record of the listener's job; ok is false when it has
// none. hinted says that a record was heard just before. Answers that fail to
// come are no errors here, they only mean not knowing yet; refusals are.
func (l *listener) look(ctx context.Context, hinted bool) (r stored, ok bool, err error) {
	r, ok, err = l.w.c.last(ctx, l.job)
	if err != nil { // soon again, as if something had been heard a while ago
		l.confirm = max(l.confirm, retryFirst)
		err, ok, hinted = permanent(ctx, err), false, false
	}
	if !ok || l.all || !r.Status.Terminal() {
		l.looked(hinted)
	}
	return r, ok, err
}

// permanent is err if trying again is no use, nil otherwise.
func permanent(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	switch e := classify(err); {
	case errors.Is(err, nats.ErrConnectionClosed), errors.Is(err, nats.ErrConnectionDraining):
		return e
	case e.Code == wire.CodePermission, e.Code == wire.CodeInternal:
		return e
	}
	return nil
}

// next waits for a signal, or until it is time to look again without one.
// hinted says that a record was heard.
func (l *listener) next(ctx context.Context) (hinted bool, err error) {
	timer := time.NewTimer(l.due())
	defer timer.Stop()
	select {
	case <-l.ready:
		return !l.tookMiss(), nil
	case <-timer.C:
		return false, nil
	case <-l.w.c.closed:
		return false, errClosed
	case <-ctx.Done():
		return false, context.Cause(ctx)
	}
}

const (
	pageSize     = 256             // messages asked for at a time
	pageWait     = 5 * time.Second // for one page
	consumerIdle = 5 * time.Second // after which the server drops a reader that died
)

// page reads the messages that a stream holds of one subject, from stream
// sequence start on, and returns when it has given the last of them to each.
// It stops early when each returns false. It uses a consumer of its own that
// lives as long as the call.
func (c *Client) page(ctx context.Context, stream, subject string, start uint64, each func(m jetstream.Msg, seq uint64) bool) error {
	name := rand.Text()
	try, done := c.guard(ctx, "$JS.API.CONSUMER.CREATE."+stream+"."+name+"."+subject)
	defer done()
	cfg := jetstream.ConsumerConfig{
		Name: name, FilterSubject: subject, AckPolicy: jetstream.AckNonePolicy, DeliverPolicy: jetstream.DeliverAllPolicy,
		MemoryStorage: true, Replicas: 1, InactiveThreshold: consumerIdle,
	}
	if start > 1 {
		cfg.DeliverPolicy, cfg.OptStartSeq = jetstream.DeliverByStartSequencePolicy, start
	}
	cons, err := c.js.CreateConsumer(try, stream, cfg)
	if err != nil {
		return fmt.Errorf("read %s: %w", subject, cause(try, err))
	}
	if c.tidy { // nobody waits for the answer: the server drops the consumer by itself too
		defer func() { _ = c.nc.Publish("$JS.API.CONSUMER.DELETE."+stream+"."+name, nil) }()
	}
	for pending := cons.CachedInfo().NumPending; pending > 0; {
		want := min(pending, pageSize)
		got, more, err := fetch(ctx, cons, int(want), each)
		if err != nil {
			return fmt.Errorf("read %s: %w", subject, err)
		}
		if !more || got == 0 { // got none: what was pending has gone by age
			return nil
		}
		pending -= got
	}
	return nil
}

// fetch gives up to want messages to each; more is false once each was.
func fetch(ctx context.Context, cons jetstream.Consumer, want int, each func(m jetstream.Msg, seq uint64) bool) (got uint64, more bool, err error) {
	try, cancel := context.WithTimeout(ctx, pageWait)
	defer cancel()
	batch, err := cons.Fetch(want, jetstream.FetchContext(try))
	if err != nil {
		return 0, false, err
	}
	for m := range batch.Messages() {
		got++
		meta, err := m.Metadata()
		if err != nil {
			return got, false, err
		}
		if !each(m, meta.Sequence.Stream) {
			return got, false, nil
		}
	}
	if ctx.Err() != nil {
		return got, false, context.Cause(ctx)
	}
	return got, true, batch.Error()
}

// readOn repeats page while it fails for want of an answer, from where next
// says. A stream that is missing may be about to be made: it gets missingWait.
func (c *Client) readOn(ctx context.Context, stream, subject string, next func() uint64, each func(m jetstream.Msg, seq uint64) bool) error {
	const pause, missingWait = 250 * time.Millisecond, 5 * time.Second
	var missing time.Duration
	for {
		err := c.page(ctx, stream, subject, next(), each)
		if err == nil {
			return nil
		}
		if e := permanent(ctx, err); e != nil {
			return e
		}
		var api *jetstream.APIError
		if errors.As(err, &api) {
			if missing += pause; missing > missingWait {
				return classify(err)
			}
		}
		if err := sleep(ctx, pause); err != nil {
			return err
		}
	}
}
