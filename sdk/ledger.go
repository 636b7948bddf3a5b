package sdk

import (
	"context"
	"errors"
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
	r, err = storedOf(m)
	return r, err == nil, err
}

// storedOf reads a message of the ledger.
func storedOf(m *nats.Msg) (r stored, err error) {
	if r.Record, err = wire.DecodeRecord(m.Header, m.Data); err != nil {
		return r, fail(wire.CodeInternal, err, "%v", err)
	}
	r.seq, _ = strconv.ParseUint(m.Header.Get(jetstream.SequenceHeader), 10, 64)
	r.at, _ = time.Parse(time.RFC3339Nano, m.Header.Get(jetstream.TimeStampHeaer))
	return r, nil
}

// marked reports whether a record was heard as the ledger re-publishes what it
// has stored, and not as somebody published it (S1).
func (c *Client) marked(m *nats.Msg) bool {
	return m.Header.Get(jetstream.StreamHeader) == c.subjects.Stream(wire.StreamLedger) && m.Header.Get(jetstream.SequenceHeader) != ""
}

// look reads the last record of the listener's job, unless it was heard; ok is
// false when it has none. hinted says that a record was heard just before. Answers that fail to
// come are no errors here, they only mean not knowing yet; refusals are.
func (l *listener) look(ctx context.Context, hinted bool) (r stored, ok bool, err error) {
	if l.early {
		l.early = false
		return r, false, nil
	}
	if r, ok = l.taken(); ok {
		return r, true, nil
	}
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
