package ingest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/sdk/wire"
)

// leaseKey is the lease's key in the bucket.
const leaseKey = "ingester"

// errLeaseLost ends a session that may no longer write.
var errLeaseLost = errors.New("the lease has lapsed or is another's")

// lease is the right to ingest. It is a key that the server removes when it
// has not been written for LeaseTTL. nats.go's kv.Update would drop the key's
// time to live, so it is written as a plain message with both conditions.
type lease struct {
	js      jetstream.JetStream
	subject string
	value   []byte
	ttl     time.Duration
	seq     uint64       // of the key's last message; used by one goroutine at a time
	until   atomic.Int64 // Unix nanoseconds: no one else can have it before
}

// holder is the key's value.
type holder struct {
	Instance string    `json:"instance"`
	Since    time.Time `json:"since"`
}

// check fails when the lease could lapse soon: a renewal is overdue.
func (l *lease) check() error {
	if time.Now().Add(l.ttl/4).UnixNano() >= l.until.Load() {
		return errLeaseLost
	}
	return nil
}

// acquire waits until the lease is free and takes it.
func (in *Ingester) acquire(ctx context.Context) (*lease, error) {
	stream, err := in.leaseStream(ctx)
	if err != nil {
		return nil, err
	}
	value, err := json.Marshal(holder{Instance: in.cfg.Instance, Since: time.Now().UTC()})
	if err != nil {
		return nil, err
	}
	l := &lease{js: in.cfg.JS, subject: "$KV." + in.bucket() + "." + leaseKey, value: value, ttl: in.cfg.LeaseTTL}
	for {
		seq, owner, err := look(ctx, stream, l.subject)
		if err != nil {
			return nil, err
		}
		if owner == "" || owner == in.cfg.Instance {
			l.seq = seq
			switch err := l.write(ctx); {
			case err == nil:
				return l, nil
			case !errors.Is(err, errLeaseLost):
				return nil, err
			}
		}
		if err := sleep(ctx, l.ttl/4); err != nil {
			return nil, err
		}
	}
}

func (in *Ingester) bucket() string { return in.cfg.Subjects.Stream(wire.BucketLeases) }

// leaseStream is the bucket's stream, which is made when it is absent.
func (in *Ingester) leaseStream(ctx context.Context) (jetstream.Stream, error) {
	stream, err := in.cfg.JS.Stream(ctx, "KV_"+in.bucket())
	if !errors.Is(err, jetstream.ErrStreamNotFound) {
		return stream, err
	}
	_, err = in.cfg.JS.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{
		Bucket: in.bucket(), Description: "who does what only one may do",
		LimitMarkerTTL: time.Minute, Replicas: in.cfg.Replicas,
	})
	if err != nil {
		return nil, fmt.Errorf("bucket of leases: %w", err)
	}
	return in.cfg.JS.Stream(ctx, "KV_"+in.bucket())
}

// look reads who has the lease, "" for nobody, and the sequence to expect.
func look(ctx context.Context, stream jetstream.Stream, subject string) (seq uint64, owner string, err error) {
	msg, err := stream.GetLastMsgForSubject(ctx, subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return 0, "", nil
	}
	if err != nil {
		return 0, "", fmt.Errorf("look at the lease: %w", err)
	}
	var h holder
	if json.Unmarshal(msg.Data, &h) != nil {
		h.Instance = "" // a marker that the key was removed, or nothing of ours
	}
	return msg.Sequence, h.Instance, nil
}

// write takes or renews the lease on the condition that nobody else has. The
// time counts from before the request, so it ends here before it ends there.
func (l *lease) write(ctx context.Context) error {
	start := time.Now()
	msg := nats.NewMsg(l.subject)
	msg.Data = l.value
	msg.Header[wire.HeaderExpectedLast] = []string{strconv.FormatUint(l.seq, 10)}
	msg.Header["Nats-TTL"] = []string{l.ttl.String()}
	ctx, cancel := context.WithTimeout(ctx, l.ttl/4)
	defer cancel()
	ack, err := l.js.PublishMsg(ctx, msg)
	var api *jetstream.APIError
	if errors.As(err, &api) && (api.ErrorCode == 10071 || api.ErrorCode == 10164) {
		return errLeaseLost
	}
	if err != nil {
		return fmt.Errorf("write the lease: %w", err)
	}
	l.seq = ack.Sequence
	l.until.Store(start.Add(l.ttl).UnixNano())
	return nil
}

// renew keeps the lease until ctx ends. When it cannot, it calls lost.
func (in *Ingester) renew(ctx context.Context, l *lease, lost context.CancelCauseFunc) {
	for sleep(ctx, l.ttl/4) == nil {
		err := l.write(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, errLeaseLost):
			if !in.settle(ctx, l) {
				lost(errLeaseLost)
				return
			}
		case err != nil && time.Now().UnixNano() >= l.until.Load():
			lost(err)
			return
		}
	}
}

// settle looks at a refused renewal: an earlier one whose answer was lost may
// have been the writer.
func (in *Ingester) settle(ctx context.Context, l *lease) bool {
	stream, err := in.leaseStream(ctx)
	if err != nil {
		return false
	}
	seq, owner, err := look(ctx, stream, l.subject)
	if err != nil || owner != in.cfg.Instance {
		return false
	}
	l.seq = seq
	return l.write(ctx) == nil
}

// release gives the lease back, so that a stand-by need not wait.
func (in *Ingester) release(l *lease) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	msg := nats.NewMsg(l.subject)
	msg.Header[wire.HeaderExpectedLast] = []string{strconv.FormatUint(l.seq, 10)}
	msg.Header["KV-Operation"] = []string{"DEL"}
	if _, err := l.js.PublishMsg(ctx, msg); err != nil {
		in.log.Debug("the lease was not given back and lapses by itself", "error", err)
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}
