package batch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/broker/peek"
	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
)

// ErrNotFound says that the tenant has no such file or batch.
var ErrNotFound = errors.New("not found")

// Store holds files and batches. It is safe for concurrent use.
type Store struct {
	js       jetstream.JetStream
	subjects wire.Subjects
	pub      *ledger.Publisher

	mu sync.Mutex
	kv jetstream.KeyValue // of the bucket; opened at first use
}

// NewStore makes a Store; it does no I/O.
func NewStore(js jetstream.JetStream, subjects wire.Subjects) *Store {
	return &Store{js: js, subjects: subjects, pub: ledger.NewPublisher(js.Conn())}
}

// Kinds of keys in the bucket. A key is <kind>.<tenant>.<id>.
const (
	kindFile  = "file"
	kindBatch = "batch"
)

func key(kind, tenant, id string) string { return kind + "." + tenant + "." + id }

// newID is unlike any other, and IDs of a kind sort by time.
func newID(prefix string) string {
	return prefix + strings.ReplaceAll(uuid.Must(uuid.NewV7()).String(), "-", "")
}

func (s *Store) bucket(ctx context.Context) (jetstream.KeyValue, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kv == nil {
		kv, err := s.js.KeyValue(ctx, s.subjects.Stream(wire.BucketBatches))
		if err != nil {
			return nil, fmt.Errorf("bucket of files and batches: %w", err)
		}
		s.kv = kv
	}
	return s.kv, nil
}

// get reads a key into v and returns its revision.
func (s *Store) get(ctx context.Context, kind, tenant, id string, v any) (uint64, error) {
	if !wire.ValidName(tenant) || !wire.ValidName(id) { // I4
		return 0, ErrNotFound
	}
	kv, err := s.bucket(ctx)
	if err != nil {
		return 0, err
	}
	e, err := kv.Get(ctx, key(kind, tenant, id))
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return 0, ErrNotFound
	}
	if err != nil {
		return 0, fmt.Errorf("read %s %s: %w", kind, id, err)
	}
	if err := json.Unmarshal(e.Value(), v); err != nil {
		return 0, fmt.Errorf("read %s %s: %w", kind, id, err)
	}
	return e.Revision(), nil
}

// create stores a key that must not be there. That it is there with the same
// value is no error: a repeat after a lost acknowledgement.
func (s *Store) create(ctx context.Context, kind, tenant, id string, v any) (uint64, error) {
	kv, err := s.bucket(ctx)
	if err != nil {
		return 0, err
	}
	b, err := json.Marshal(v)
	if err != nil {
		return 0, err
	}
	rev, err := kv.Create(ctx, key(kind, tenant, id), b)
	if errors.Is(err, jetstream.ErrKeyExists) {
		if e, gerr := kv.Get(ctx, key(kind, tenant, id)); gerr == nil && string(e.Value()) == string(b) {
			return e.Revision(), nil
		}
	}
	if err != nil {
		return 0, fmt.Errorf("store %s %s: %w", kind, id, err)
	}
	return rev, nil
}

// remove deletes a key; that it is not there is no error.
func (s *Store) remove(ctx context.Context, kind, tenant, id string) error {
	kv, err := s.bucket(ctx)
	if err != nil {
		return err
	}
	if err := kv.Purge(ctx, key(kind, tenant, id), jetstream.PurgeTTL(time.Minute)); err != nil {
		return fmt.Errorf("delete %s %s: %w", kind, id, err)
	}
	return nil
}

// purge removes what is stored under a file's or log's subject.
func (s *Store) purge(ctx context.Context, tenant, id string) error {
	stream, err := s.js.Stream(ctx, s.subjects.Stream(wire.StreamFiles))
	if err == nil {
		err = stream.Purge(ctx, jetstream.WithPurgeSubject(s.subjects.Files(tenant, id)))
	}
	if err != nil {
		return fmt.Errorf("delete the content of %s: %w", id, err)
	}
	return nil
}

// Bounds of one answer while keys are listed.
const (
	listBatch = 1000
	listBytes = 4 << 20
)

// list gives the value of every key of a tenant, or of all with "*".
func (s *Store) list(ctx context.Context, kind, tenant string, each func(value []byte)) error {
	bucket := s.subjects.Stream(wire.BucketBatches)
	w := peek.Walk{Conn: s.js.Conn(), Stream: "KV_" + bucket, Subject: "$KV." + bucket + "." + key(kind, tenant, "*"),
		Batch: listBatch, Bytes: listBytes}
	_, err := w.Run(ctx, func(m peek.Message) {
		if m.Header.Get("KV-Operation") == "" && m.Header.Get("Nats-Marker-Reason") == "" {
			each(m.Data)
		}
	}, func() bool { return false })
	if err != nil {
		return fmt.Errorf("list: %w", err)
	}
	return nil
}

// Page says which part of a list is wanted. Lists are ordered by creation.
type Page struct {
	After  string // the ID before the first wanted; "": from the beginning
	Before string // the ID behind the last wanted; "": not so
	Limit  int    // at least 1
	Oldest bool   // the oldest first; otherwise the newest
}

// errCursor says that a page begins at something that is not there.
func errCursor(field, id string) error {
	return wire.Errorf(wire.CodeInvalidRequest, field, "no %.80q is there to list from", id)
}

// cut applies a page to all there is, given in any order.
func cut[T any](all []T, id, order func(*T) string, p Page) (page []T, more bool, err error) {
	slices.SortFunc(all, func(a, b T) int {
		c := strings.Compare(order(&a), order(&b))
		if !p.Oldest {
			c = -c
		}
		return c
	})
	at := func(want string) int { return slices.IndexFunc(all, func(x T) bool { return id(&x) == want }) }
	if p.Before != "" {
		n := at(p.Before)
		if n < 0 {
			return nil, false, errCursor("before_id", p.Before)
		}
		first := max(0, n-p.Limit)
		return all[first:n], first > 0, nil
	}
	if p.After != "" {
		n := at(p.After)
		if n < 0 {
			return nil, false, errCursor("after", p.After)
		}
		all = all[n+1:]
	}
	n := min(p.Limit, len(all))
	return all[:n], n < len(all), nil
}
