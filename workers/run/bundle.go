package run

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
)

// Bundling says how a pool's jobs are bundled for its provider's own batch API.
// Zero values take their defaults.
type Bundling struct {
	MaxLines int           // of a bundle; defaults to 10,000
	MaxBytes int64         // of a bundle's bodies; defaults to 64 MiB
	Linger   time.Duration // a bundle leaves when no job has joined it for so long, or after six times that; defaults to 10 s
	Poll     time.Duration // between two questions how a bundle does; defaults to 30 s
}

func (b Bundling) withDefaults() Bundling {
	return Bundling{cmp.Or(b.MaxLines, 10_000), cmp.Or(b.MaxBytes, 64<<20), cmp.Or(b.Linger, 10*time.Second), cmp.Or(b.Poll, 30*time.Second)}
}

// bundle is what is known of a bundle, as it stands in its bucket. Only its
// owner writes it, on the condition that it is as the owner last saw it (I6).
type bundle struct {
	ID    string `json:"id"`
	Pool  string `json:"pool"`
	Owner string `json:"owner,omitempty"` // the worker's instance; empty: given up
	group
	At    int64 `json:"at"`    // when it was made; Unix nanoseconds, as all times here
	Until int64 `json:"until"` // when it is to be over: the earliest of its jobs'

	// Lines up to Last belong to it, and no others. While it is not Closed,
	// more may join.
	Lines  int    `json:"lines"`
	Bytes  int64  `json:"bytes"`
	Last   uint64 `json:"last"`
	Closed bool   `json:"closed,omitempty"`

	File     string   `json:"file,omitempty"`     // uploaded
	Sent     int      `json:"sent,omitempty"`     // lines in the upload
	Begun    int64    `json:"begun,omitempty"`    // when the provider was first asked to run it: from then on it may
	Provider string   `json:"provider,omitempty"` // the provider's ID
	Guess    bool     `json:"guess,omitempty"`    // that ID was found by time and size: its results tell
	Not      []string `json:"not,omitempty"`      // provider's IDs that turned out to be others'
	Stopped  bool     `json:"stopped,omitempty"`  // the provider was asked to stop

	rev uint64
}

// group is what the jobs of a bundle have in common: providers want one
// endpoint and model, and jobs of one batch are cancelled and end together.
type group struct {
	Tenant    string         `json:"tenant"`
	Batch     string         `json:"batch,omitempty"`
	Endpoint  wire.Endpoint  `json:"endpoint"`
	Model     string         `json:"model"`
	Deadline  int64          `json:"deadline,omitempty"`
	Placement wire.Placement `json:"placement"`
}

func groupOf(a *wire.Assignment) group {
	m := &a.Meta
	return group{m.Tenant, m.Batch, m.Endpoint, a.Attempt.Model, m.Deadline, m.Placement}
}

// ownerPrefix begins the owner in claims of bundles. Instances of workers are
// called otherwise.
const ownerPrefix = "bundle."

// owner is who claims the bundle's jobs: the bundle itself, whichever worker has
// it.
func (b *bundle) owner() string { return ownerPrefix + b.Pool + "." + b.ID }

// key is the bundle's in the bucket.
func (b *bundle) key() string { return b.Pool + "." + b.ID }

// headerWork is the sequence of the work message that a line was, errLost says
// that another worker has the bundle.
const headerWork = "Sluice-Work"

var errLost = errors.New("another worker has the bundle")

// newBundle stores a bundle without lines.
func (r *Runner) newBundle(ctx context.Context, pool string, g group) (*bundle, error) {
	kv, err := r.bundles(ctx)
	if err != nil {
		return nil, err
	}
	b := &bundle{ID: strings.ReplaceAll(uuid.Must(uuid.NewV7()).String(), "-", ""), Pool: pool, Owner: r.cfg.Instance, group: g,
		At: time.Now().UnixNano(), Until: wire.Forever}
	raw, err := json.Marshal(b)
	if err == nil {
		b.rev, err = kv.Create(ctx, b.key(), raw)
	}
	return b, err
}

// stored is where bundles are, opened at first use.
type stored struct {
	mu    sync.Mutex
	kv    jetstream.KeyValue
	lines jetstream.Stream
}

func (r *Runner) bundles(ctx context.Context) (jetstream.KeyValue, error) {
	r.stored.mu.Lock()
	defer r.stored.mu.Unlock()
	if r.stored.kv == nil {
		kv, err := r.cfg.JS.KeyValue(ctx, r.cfg.Subjects.Stream(wire.BucketBundles))
		if err != nil {
			return nil, fmt.Errorf("bundles: %w", err)
		}
		r.stored.kv = kv
	}
	return r.stored.kv, nil
}

// save stores a changed bundle, and is errLost if somebody else has changed it.
// A lost acknowledgement is settled by reading.
func (r *Runner) save(ctx context.Context, b *bundle) error {
	raw, err := json.Marshal(b)
	if err != nil {
		return err
	}
	kv, err := r.bundles(ctx)
	if err != nil {
		return err
	}
	for try := range saveTries {
		var rev uint64
		if rev, err = kv.Update(ctx, b.key(), raw, b.rev); err == nil {
			b.rev = rev
			return nil
		}
		e, gerr := kv.Get(ctx, b.key())
		switch {
		case gerr == nil && string(e.Value()) == string(raw):
			b.rev = e.Revision()
			return nil
		case gerr == nil && e.Revision() != b.rev, errors.Is(gerr, jetstream.ErrKeyNotFound):
			return errLost
		}
		if perr := ledger.Pause(ctx, time.Duration(try+1)*200*time.Millisecond); perr != nil {
			return perr
		}
	}
	return fmt.Errorf("bundle %s not stored: %w", b.ID, err)
}

const saveTries = 10

// load reads a bundle, nil if there is none.
func (r *Runner) load(ctx context.Context, key string) (*bundle, error) {
	kv, err := r.bundles(ctx)
	if err != nil {
		return nil, err
	}
	e, err := kv.Get(ctx, key)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return readBundle(e)
}

// holds says what becomes of a work message whose job is claimed by a bundle:
// its line is in the bundle, which carries it on; or the bundle is still being
// filled; or its claim came too late, after the bundle had got another owner,
// and it is void (I7).
func (r *Runner) holds(ctx context.Context, owner string, m *wire.Meta, workSeq uint64) (verdict, error) {
	key := strings.TrimPrefix(owner, ownerPrefix)
	b, err := r.load(ctx, key)
	if err != nil || b == nil {
		return abandon, err
	}
	line, err := r.line(ctx, b.ID, m.Tenant, m.ID)
	switch {
	case err != nil:
		return later, err
	case line != nil && line.work == workSeq && line.seq <= b.Last:
		return done, nil
	case !b.Closed:
		return later, nil
	}
	return abandon, nil
}

// line is a job in a bundle.
type line struct {
	asg  wire.Assignment
	body []byte
	seq  uint64 // in the stream of lines
	work uint64 // sequence of its work message
}

func (r *Runner) lines(ctx context.Context) (jetstream.Stream, error) {
	r.stored.mu.Lock()
	defer r.stored.mu.Unlock()
	if r.stored.lines == nil {
		s, err := r.cfg.JS.Stream(ctx, r.cfg.Subjects.Stream(wire.StreamBundles))
		if err != nil {
			return nil, fmt.Errorf("lines of bundles: %w", err)
		}
		r.stored.lines = s
	}
	return r.stored.lines, nil
}

// line is a job's line of a bundle, nil if it has none.
func (r *Runner) line(ctx context.Context, bundle, tenant, job string) (*line, error) {
	s, err := r.lines(ctx)
	if err != nil {
		return nil, err
	}
	m, err := s.GetLastMsgForSubject(ctx, r.cfg.Subjects.Bundles(bundle, tenant, job))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return readBundleLine(m.Header, m.Data, m.Sequence)
}

func readBundleLine(h map[string][]string, body []byte, seq uint64) (*line, error) {
	l := &line{body: body, seq: seq}
	var err error
	if l.asg, err = wire.DecodeAssignment(h); err != nil {
		return nil, err
	}
	if l.asg.Attempt == nil || len(h[headerWork]) != 1 {
		return nil, errors.New("a line of a bundle without its attempt")
	}
	_, err = fmt.Sscan(h[headerWork][0], &l.work)
	return l, err
}

// eachLine calls each with the lines of a bundle, in order.
func (r *Runner) eachLine(ctx context.Context, b *bundle, each func(*line) error) error {
	if b.Last == 0 {
		return nil
	}
	cons, err := r.cfg.JS.OrderedConsumer(ctx, r.cfg.Subjects.Stream(wire.StreamBundles), jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{r.cfg.Subjects.Bundles(b.ID, "*", "*")}, DeliverPolicy: jetstream.DeliverAllPolicy})
	if err != nil {
		return err
	}
	if cons.CachedInfo().NumPending == 0 {
		return nil // deleted already: the bundle is over
	}
	it, err := cons.Messages(jetstream.PullMaxMessagesWithBytesLimit(512, 9<<20))
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, it.Stop)
	defer func() { stop(); it.Stop() }()
	for {
		m, err := it.Next()
		if err != nil {
			return errors.Join(err, context.Cause(ctx))
		}
		md, err := m.Metadata()
		if err != nil {
			return err
		}
		if md.Sequence.Stream > b.Last {
			return nil
		}
		l, err := readBundleLine(m.Headers(), m.Data(), md.Sequence.Stream)
		if err == nil {
			err = each(l)
		}
		if err != nil || md.Sequence.Stream == b.Last || md.NumPending == 0 {
			return err
		}
	}
}

// forget deletes a bundle that is over: its lines first, so that none stay.
func (r *Runner) forget(ctx context.Context, b *bundle) error {
	s, err := r.lines(ctx)
	if err == nil {
		err = s.Purge(ctx, jetstream.WithPurgeSubject(r.cfg.Subjects.Bundles(b.ID, "*", "*")))
	}
	if err != nil {
		return err
	}
	kv, err := r.bundles(ctx)
	if err != nil {
		return err
	}
	return kv.Purge(ctx, b.key(), jetstream.PurgeTTL(time.Minute))
}
