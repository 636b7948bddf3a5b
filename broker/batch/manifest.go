package batch

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/sdk/wire"
)

// Status is a batch's state, in OpenAI's words.
type Status string

// The states of a batch. The way is
//
//	validating ─▶ in_progress ─▶ finalizing ─▶ completed | expired
//	    │              ├─▶ cancelling ─▶ cancelled
//	    │              └─▶ failed (its input is gone)
//	    ├─▶ failed
//	    └─▶ cancelling ─▶ cancelled
const (
	Validating Status = "validating"
	InProgress Status = "in_progress"
	Finalizing Status = "finalizing"
	Cancelling Status = "cancelling"
	Completed  Status = "completed"
	Failed     Status = "failed"
	Expired    Status = "expired"
	Cancelled  Status = "cancelled"
)

// Terminal reports whether nothing follows.
func (s Status) Terminal() bool {
	return s == Completed || s == Failed || s == Expired || s == Cancelled
}

// follows says which states may come after which (I3).
var follows = map[Status][]Status{
	Validating: {InProgress, Failed, Cancelling},
	InProgress: {Finalizing, Cancelling, Failed},
	Finalizing: {Completed, Expired},
	Cancelling: {Cancelled},
}

// API is whose shapes a batch's lines and results have.
type API string

// The two APIs.
const (
	OpenAI    API = "openai"
	Anthropic API = "anthropic"
)

// Manifest is what is known of a batch. Its client sets what Spec holds; from
// then on its owner writes it, but for the request to cancel.
type Manifest struct {
	Spec
	ID     string `json:"id"`
	Status Status `json:"status"`
	// When each state was reached, in Unix seconds.
	At map[Status]int64 `json:"at"`
	// ExpiresAt is when lines without a result expire, in Unix seconds.
	ExpiresAt int64 `json:"expires_at"`

	Lines int64  `json:"lines"`           // how many there are; 0 until validated
	Model string `json:"model,omitempty"` // of all lines; "" if they differ
	Start uint64 `json:"start,omitempty"` // ledger sequence before the first job's record
	Tally Tally  `json:"tally"`           // of committed results, a moment ago

	Faults []Fault `json:"faults,omitempty"` // of a batch that failed
}

// Spec is a batch as its client wants it.
type Spec struct {
	Tenant    string            `json:"tenant"`
	Key       string            `json:"key,omitempty"` // name of the tenant's key that made it; empty: its own
	API       API               `json:"api"`
	Endpoint  wire.Endpoint     `json:"endpoint"`
	Input     string            `json:"input"` // file ID
	Window    string            `json:"window"`
	Placement wire.Placement    `json:"placement,omitempty"` // empty: wire.Realtime
	Metadata  map[string]string `json:"metadata,omitempty"`
	// Headers are the contract's headers of every line's job.
	Headers map[string]string `json:"headers,omitempty"`
	// Requests is how many there are, where that is known before validation.
	Requests int64 `json:"requests,omitempty"`
	// ResultsAge is after how many seconds the result files expire.
	ResultsAge int64 `json:"results_age,omitempty"`
}

// Fault is why a batch cannot run.
type Fault struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Param   string `json:"param,omitempty"`
	Line    int64  `json:"line,omitempty"` // from 1; 0: of the whole file
}

// Tally sums up results.
type Tally struct {
	Succeeded int64 `json:"succeeded"`
	Failed    int64 `json:"failed"`
	Cancelled int64 `json:"cancelled"`
	Expired   int64 `json:"expired"`

	Output int64 `json:"output"` // bytes of each side of the results
	Errors int64 `json:"errors"`

	Usage   wire.Usage          `json:"usage"`
	Spent   wire.NanoUSD        `json:"spent"`
	Unknown int64               `json:"unknown,omitempty"` // lines with an attempt whose cost is not known
	Codes   map[wire.Code]int64 `json:"codes,omitempty"`   // failed lines by why
}

// Done is how many lines have a result.
func (t *Tally) Done() int64 { return t.Succeeded + t.Failed + t.Cancelled + t.Expired }

// bytes is the size of a side.
func (t *Tally) bytes(s Side) int64 {
	if s == Output {
		return t.Output
	}
	return t.Errors
}

// maxAge is how long a batch, and by default a file for or of it, is kept.
const maxAge = 30 * 24 * time.Hour

// ResultFile is the ID of a side of the results; "" if that side is empty or
// not ready.
func (m *Manifest) ResultFile(side Side) string {
	if !m.Status.Terminal() || m.Tally.bytes(side) == 0 || m.API != OpenAI {
		return ""
	}
	return resultID(m.ID, side)
}

// resultID is the file ID of a side of a batch's results. It sorts with the
// batch.
func resultID(batch string, side Side) string {
	_, id, _ := cutPrefix(batch)
	return "file-" + id + "-" + string(side)
}

// move goes to a state, if it may follow.
func (m *Manifest) move(to Status, now time.Time) bool {
	for _, s := range follows[m.Status] {
		if s == to {
			m.Status = to
			m.At[to] = now.Unix()
			return true
		}
	}
	return false
}

// completionWindow reads a completion window: OpenAI's "24h", or any duration.
func completionWindow(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil || d < time.Minute || d > 14*24*time.Hour {
		return 0, wire.Errorf(wire.CodeInvalidRequest, "completion_window", "completion_window must be a duration from 1m to 336h, such as 24h")
	}
	return d, nil
}

// prefixes of batch IDs, by API.
var prefixes = map[API]string{OpenAI: "batch_", Anthropic: "msgbatch_"}

func cutPrefix(batch string) (API, string, bool) {
	for api, p := range prefixes {
		if len(batch) > len(p) && batch[:len(p)] == p {
			return api, batch[len(p):], true
		}
	}
	return "", batch, false
}

// Submit makes a batch. Its input must be a file of the tenant. deadline, if
// not zero, ends it earlier than its window does. With the same key (if it is
// not "") it is the same batch: wire.CodeIDConflict says that it was another.
func (s *Store) Submit(ctx context.Context, spec Spec, unique string, deadline time.Time) (*Manifest, error) {
	d, err := completionWindow(spec.Window)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	ends := now.Add(d)
	if !deadline.IsZero() && deadline.Before(ends) {
		ends = deadline
	}
	m := &Manifest{Spec: spec, ID: newID(prefixes[spec.API]), Status: Validating,
		At: map[Status]int64{Validating: now.Unix()}, ExpiresAt: ends.Unix()}
	if unique != "" {
		sum := sha256.Sum256([]byte(spec.Tenant + "\x00" + unique))
		m.ID = prefixes[spec.API] + hex.EncodeToString(sum[:16])
	}
	_, err = s.create(ctx, kindBatch, m.Tenant, m.ID, m)
	if unique == "" || !errors.Is(err, jetstream.ErrKeyExists) {
		return m, err
	}
	if m, _, err = s.manifest(ctx, m.Tenant, m.ID); err != nil {
		return nil, err
	}
	first := m.Spec
	first.Key = spec.Key       // whichever key comes again, it is the same batch
	if spec.API == Anthropic { // its input was uploaded with it, and so again
		first.Input = spec.Input
	}
	if a, b := mustJSON(first), mustJSON(spec); !bytes.Equal(a, b) {
		return nil, wire.Errorf(wire.CodeIDConflict, "Idempotency-Key", "the key belongs to another batch: choose another")
	}
	return m, nil
}

// mustJSON marshals what is made of strings, numbers and their maps.
func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil { // cannot happen
		panic(err)
	}
	return b
}

// Batch is a tenant's batch of an API, "" for any.
func (s *Store) Batch(ctx context.Context, api API, tenant, id string) (*Manifest, error) {
	m, _, err := s.manifest(ctx, tenant, id)
	if err == nil && api != "" && m.API != api {
		return nil, ErrNotFound
	}
	return m, err
}

func (s *Store) manifest(ctx context.Context, tenant, id string) (*Manifest, uint64, error) {
	var m Manifest
	rev, err := s.get(ctx, kindBatch, tenant, id, &m)
	if err != nil {
		return nil, 0, err
	}
	return &m, rev, nil
}

// EveryTenant stands for all tenants where batches are listed.
const EveryTenant = "*"

// Batches lists a tenant's batches of an API, "" for any. more says that the
// list goes on.
func (s *Store) Batches(ctx context.Context, api API, tenant string, p Page) (page []Manifest, more bool, err error) {
	var all []Manifest
	err = s.list(ctx, kindBatch, tenant, func(v []byte) {
		var m Manifest
		if json.Unmarshal(v, &m) == nil && (api == "" || m.API == api) {
			all = append(all, m)
		}
	})
	if err != nil {
		return nil, false, err
	}
	return cut(all, func(m *Manifest) string { return m.ID }, (*Manifest).order, p)
}

// Cancel asks a batch to stop, and returns it as it is then. One that has
// ended is refused with wire.CodeFinished; asking again is no error.
func (s *Store) Cancel(ctx context.Context, api API, tenant, id string) (*Manifest, error) {
	if _, err := s.Batch(ctx, api, tenant, id); err != nil {
		return nil, err
	}
	return s.update(ctx, tenant, id, func(m *Manifest) error {
		if m.Status == Cancelling {
			return errUnchanged
		}
		if !m.move(Cancelling, time.Now()) {
			return wire.Errorf(wire.CodeFinished, "", "the batch %s is %s: it cannot be cancelled any more", id, m.Status)
		}
		return nil
	})
}

// DeleteBatch removes a batch that has ended, with what only it has: the
// results of an Anthropic batch, and its input.
func (s *Store) DeleteBatch(ctx context.Context, api API, tenant, id string) error {
	m, err := s.Batch(ctx, api, tenant, id)
	if err != nil {
		return err
	}
	if !m.Status.Terminal() {
		return wire.Errorf(wire.CodeInvalidRequest, "", "the batch %s is under way: cancel it, and delete it when it has ended", id)
	}
	return s.deleteBatch(ctx, m)
}

func (s *Store) deleteBatch(ctx context.Context, m *Manifest) error {
	if m.API == Anthropic { // its files are in no list
		if err := s.deleteFile(ctx, &File{ID: m.Input, Tenant: m.Tenant}); err != nil {
			return err
		}
		if err := s.purge(ctx, m.Tenant, m.ID); err != nil {
			return err
		}
	}
	return s.remove(ctx, kindBatch, m.Tenant, m.ID)
}

// errUnchanged ends an update without a write.
var errUnchanged = errors.New("unchanged")

// CopyResults writes all results of an Anthropic batch.
func (s *Store) CopyResults(ctx context.Context, w io.Writer, m *Manifest) error {
	return s.copyResults(ctx, w, m.Tenant, m.ID, Output, m.Tally.Output)
}

// update changes a manifest on the condition that nobody else has meanwhile,
// and tries again if so.
func (s *Store) update(ctx context.Context, tenant, id string, change func(*Manifest) error) (*Manifest, error) {
	kv, err := s.bucket(ctx)
	if err != nil {
		return nil, err
	}
	for {
		m, rev, err := s.manifest(ctx, tenant, id)
		if err != nil {
			return nil, err
		}
		if err := change(m); errors.Is(err, errUnchanged) {
			return m, nil
		} else if err != nil {
			return nil, err
		}
		b, err := json.Marshal(m)
		if err != nil {
			return nil, err
		}
		_, err = kv.Update(ctx, key(kindBatch, tenant, id), b, rev)
		var api *jetstream.APIError
		switch {
		case err == nil:
			return m, nil
		case errors.As(err, &api) && (api.ErrorCode == 10071 || api.ErrorCode == 10164):
			continue
		}
		return nil, fmt.Errorf("store batch %s: %w", id, err)
	}
}
