package lease

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

	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
)

var (
	// ErrLost says that a lease has lapsed or is another's.
	ErrLost = errors.New("the lease has lapsed or is another's")
	// ErrHeld says that another holds it.
	ErrHeld = errors.New("the lease is another's")
)

// Config says which lease, and for whom. All but Replicas must be set.
type Config struct {
	JS       jetstream.JetStream
	Subjects wire.Subjects
	Key      string        // what may be done once; letters, digits, '-', '_' and '.'
	Instance string        // this process, unlike any other or earlier one
	TTL      time.Duration // after the last sign of life of the holder; at least 1 s
	Replicas int           // of the bucket, where it has to be made
}

// Lease is a right that is held. nats.go's kv.Update would drop the key's time
// to live, so the key is written as a plain message with both conditions.
type Lease struct {
	cfg   Config
	value []byte
	seq   uint64       // of the key's last message
	until atomic.Int64 // Unix nanoseconds: no one else can have it before
}

// holder is the key's value.
type holder struct {
	Instance string    `json:"instance"`
	Since    time.Time `json:"since"`
}

// Take waits until the lease is free and takes it. An error is the context's,
// or that the bucket cannot be read or written.
func Take(ctx context.Context, cfg Config) (*Lease, error) {
	for {
		l, err := Try(ctx, cfg)
		if !errors.Is(err, ErrHeld) {
			return l, err
		}
		if err := ledger.Pause(ctx, cfg.TTL/4); err != nil {
			return nil, err
		}
	}
}

// Try takes the lease if it is free, or the same instance's. ErrHeld: it is
// another's.
func Try(ctx context.Context, cfg Config) (*Lease, error) {
	stream, err := bucket(ctx, &cfg)
	if err != nil {
		return nil, err
	}
	value, err := json.Marshal(holder{Instance: cfg.Instance, Since: time.Now().UTC()})
	if err != nil {
		return nil, err
	}
	l := &Lease{cfg: cfg, value: value}
	seq, owner, err := look(ctx, stream, l.subject())
	if err != nil {
		return nil, err
	}
	if owner != "" && owner != cfg.Instance {
		return nil, ErrHeld
	}
	l.seq = seq
	err = l.write(ctx)
	if errors.Is(err, ErrLost) {
		err = ErrHeld
	}
	if err != nil {
		return nil, err
	}
	return l, nil
}

// Check fails with ErrLost when the lease could lapse soon: a renewal is
// overdue.
func (l *Lease) Check() error {
	if time.Now().Add(l.cfg.TTL/4).UnixNano() >= l.until.Load() {
		return ErrLost
	}
	return nil
}

// Keep renews the lease until ctx ends. When it cannot, it calls lost, with
// ErrLost or the reason, and returns.
func (l *Lease) Keep(ctx context.Context, lost context.CancelCauseFunc) {
	for ledger.Pause(ctx, l.cfg.TTL/4) == nil {
		err := l.write(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, ErrLost):
			if !l.settle(ctx) {
				lost(ErrLost)
				return
			}
		case err != nil && time.Now().UnixNano() >= l.until.Load():
			lost(err)
			return
		}
	}
}

// Release gives the lease back, so that a stand-by need not wait. Call it when
// Keep has returned. An error means that it will lapse by itself.
func (l *Lease) Release() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	return remove(ctx, l.cfg.JS, l.subject(), l.seq)
}

// Forget removes the leases of instances that are known to be dead, so that
// nobody waits for them to lapse.
func Forget(ctx context.Context, js jetstream.JetStream, s wire.Subjects, dead func(instance string) bool) error {
	kv, err := js.KeyValue(ctx, s.Stream(wire.BucketLeases))
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("bucket of leases: %w", err)
	}
	keys, err := kv.ListKeys(ctx)
	if err != nil {
		return fmt.Errorf("bucket of leases: %w", err)
	}
	defer func() { _ = keys.Stop() }()
	for key := range keys.Keys() {
		e, err := kv.Get(ctx, key)
		if err != nil {
			continue // it has lapsed
		}
		var h holder
		if json.Unmarshal(e.Value(), &h) == nil && dead(h.Instance) {
			if err := remove(ctx, js, subject(s, key), e.Revision()); err != nil {
				return fmt.Errorf("lease %s: %w", key, err)
			}
		}
	}
	return nil
}

func subject(s wire.Subjects, key string) string {
	return "$KV." + s.Stream(wire.BucketLeases) + "." + key
}

func (l *Lease) subject() string { return subject(l.cfg.Subjects, l.cfg.Key) }

// markerTTL is how long the mark of a removed key is kept.
const markerTTL = time.Minute

func remove(ctx context.Context, js jetstream.JetStream, subject string, seq uint64) error {
	msg := nats.NewMsg(subject)
	msg.Header[wire.HeaderExpectedLast] = []string{strconv.FormatUint(seq, 10)}
	msg.Header["KV-Operation"] = []string{"DEL"}
	msg.Header["Nats-TTL"] = []string{markerTTL.String()}
	_, err := js.PublishMsg(ctx, msg)
	return err
}

// bucket is the bucket's stream, which is made when it is absent.
func bucket(ctx context.Context, cfg *Config) (jetstream.Stream, error) {
	name := cfg.Subjects.Stream(wire.BucketLeases)
	stream, err := cfg.JS.Stream(ctx, "KV_"+name)
	if !errors.Is(err, jetstream.ErrStreamNotFound) {
		return stream, err
	}
	_, err = cfg.JS.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{
		Bucket: name, Description: "who does what only one may do",
		LimitMarkerTTL: markerTTL, Replicas: cfg.Replicas,
	})
	if err != nil {
		return nil, fmt.Errorf("bucket of leases: %w", err)
	}
	return cfg.JS.Stream(ctx, "KV_"+name)
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

// write takes or renews the lease on the condition that nobody else has (I1,
// I2).
func (l *Lease) write(ctx context.Context) error {
	start := time.Now()
	msg := nats.NewMsg(l.subject())
	msg.Data = l.value
	msg.Header[wire.HeaderExpectedLast] = []string{strconv.FormatUint(l.seq, 10)}
	msg.Header["Nats-TTL"] = []string{l.cfg.TTL.String()}
	ctx, cancel := context.WithTimeout(ctx, l.cfg.TTL/4)
	defer cancel()
	ack, err := l.cfg.JS.PublishMsg(ctx, msg)
	var api *jetstream.APIError
	if errors.As(err, &api) && (api.ErrorCode == 10071 || api.ErrorCode == 10164) {
		return ErrLost
	}
	if err != nil {
		return fmt.Errorf("write the lease: %w", err)
	}
	l.seq = ack.Sequence
	l.until.Store(start.Add(l.cfg.TTL).UnixNano())
	return nil
}

// settle looks at a refused renewal: an earlier one whose answer was lost may
// have been the writer.
func (l *Lease) settle(ctx context.Context) bool {
	stream, err := bucket(ctx, &l.cfg)
	if err != nil {
		return false
	}
	seq, owner, err := look(ctx, stream, l.subject())
	if err != nil || owner != l.cfg.Instance {
		return false
	}
	l.seq = seq
	return l.write(ctx) == nil
}
