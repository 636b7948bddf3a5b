package alert

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/sdk/wire"
)

// kept is how long the bucket remembers what was cleared.
const kept = 7 * 24 * time.Hour

// entry is an alert in the bucket.
type entry struct {
	wire.Alert
	Told bool `json:"told"` // of its last change

	streak   int    // looks in a row that speak against its state
	revision uint64 // in the bucket; 0: it is not there
}

// step takes a finding in, nil for none, and reports whether the state changes
// (I1).
func (e *entry) step(f *finding, r *Rules, now time.Time) bool {
	against := f != nil && f.bad
	most := r.RaiseAfter
	switch {
	case e.Raised:
		against, most = f == nil || f.good, r.ClearAfter
	case against && f.facts:
		most = 1
	}
	if f != nil {
		raised, since := e.Raised, e.Since
		e.Alert = f.Alert
		e.Raised, e.Since = raised, since
	}
	if e.streak++; !against {
		e.streak = 0
	}
	if e.streak < most || !against {
		return false
	}
	e.Raised, e.Since, e.Told, e.streak = !e.Raised, now.UTC(), false, 0
	if !e.Raised {
		e.At = now.UTC()
	}
	return true
}

// book is what is known of all alerts.
type book struct {
	js       jetstream.JetStream
	subjects wire.Subjects
	replicas int
	kv       jetstream.KeyValue
	entries  map[string]*entry
}

// read takes up what the bucket has.
func (b *book) read(ctx context.Context) error {
	var err error
	b.kv, err = b.js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: b.subjects.Stream(wire.BucketAlerts),
		Description: "alerts that are raised, or were a while ago", Replicas: max(b.replicas, 1)})
	if err != nil {
		return fmt.Errorf("bucket of alerts: %w", err)
	}
	b.entries, err = entriesOf(ctx, b.kv)
	return err
}

// take looks at all findings, and gives the entries whose state has changed or
// which nobody was told of, in the order of their names.
func (b *book) take(found []finding, r *Rules, now time.Time) []string {
	by := map[string]*finding{}
	for i := range found {
		id := found[i].ID()
		by[id] = &found[i]
		if b.entries[id] == nil {
			b.entries[id] = &entry{Told: true}
		}
	}
	var changed []string
	for _, id := range slices.Sorted(maps.Keys(b.entries)) {
		e := b.entries[id]
		if e.step(by[id], r, now) || !e.Told {
			changed = append(changed, id)
		}
		if !e.Raised && e.revision == 0 && e.streak == 0 && e.Told {
			delete(b.entries, id) // nothing to remember
		}
	}
	return changed
}

// write puts an entry into the bucket, on the condition that nobody else has.
func (b *book) write(ctx context.Context, id string) error {
	e := b.entries[id]
	raw, err := json.Marshal(e)
	if err != nil {
		return err
	}
	e.revision, err = b.kv.Update(ctx, keyName(id), raw, e.revision)
	return err
}

// forget removes what was cleared long ago.
func (b *book) forget(ctx context.Context, now time.Time) error {
	for id, e := range b.entries {
		if e.Raised || e.revision == 0 || now.Sub(e.Since) < kept {
			continue
		}
		stream, err := b.js.Stream(ctx, "KV_"+b.kv.Bucket())
		if err == nil {
			err = stream.Purge(ctx, jetstream.WithPurgeSubject("$KV."+b.kv.Bucket()+"."+keyName(id)))
		}
		if err != nil {
			return err
		}
		delete(b.entries, id)
	}
	return nil
}

// keyName is the entry's key, which has a bounded length.
func keyName(id string) string {
	sum := sha256.Sum256([]byte(id))
	kind, _, _ := strings.Cut(id, " ")
	return kind + "." + hex.EncodeToString(sum[:12])
}

// entriesOf reads a bucket.
func entriesOf(ctx context.Context, kv jetstream.KeyValue) (map[string]*entry, error) {
	w, err := kv.WatchAll(ctx, jetstream.IgnoreDeletes())
	if err != nil {
		return nil, fmt.Errorf("bucket of alerts: %w", err)
	}
	defer func() { _ = w.Stop() }()
	out := map[string]*entry{}
	for {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case x, ok := <-w.Updates():
			if !ok {
				return nil, errors.New("bucket of alerts: the connection was closed")
			}
			if x == nil { // that was all
				return out, nil
			}
			e := &entry{revision: x.Revision()}
			if json.Unmarshal(x.Value(), e) == nil {
				out[e.ID()] = e
			}
		}
	}
}

// List gives the alerts that the bucket knows, raised ones first and then the
// latest; none if nothing was ever raised.
func List(ctx context.Context, js jetstream.JetStream, s wire.Subjects) ([]wire.Alert, error) {
	list := []wire.Alert{}
	kv, err := js.KeyValue(ctx, s.Stream(wire.BucketAlerts))
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		return list, nil
	}
	if err != nil {
		return nil, fmt.Errorf("bucket of alerts: %w", err)
	}
	entries, err := entriesOf(ctx, kv)
	for _, e := range entries {
		list = append(list, e.Alert)
	}
	slices.SortFunc(list, func(a, b wire.Alert) int {
		if a.Raised != b.Raised {
			return map[bool]int{true: -1, false: 1}[a.Raised]
		}
		if c := b.Since.Compare(a.Since); c != 0 {
			return c
		}
		return strings.Compare(a.ID(), b.ID())
	})
	return list, err
}
