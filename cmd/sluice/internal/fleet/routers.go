package fleet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/sluicehq/sluice/cmd/sluice/internal/bench"
	"github.com/sluicehq/sluice/sdk"
	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
)

// RouterOptions say what to measure of many routers.
type RouterOptions struct {
	Binaries
	Routers  int // and as many workers
	Arrivals []bench.Arrival
	Speed    float64 // times faster than recorded
	Seed     uint64  // of what is killed
	Parts    []string
	Out, Log io.Writer
}

// RouterParts are the parts of a measurement.
func RouterParts() []string { return []string{"strategies", "kills", "limit", "trouble"} }

// MeasureRouters measures how many routers share pools, their limits and their
// troubles, and prints the tables of docs/router.md. The error lists every
// bound that was not kept.
func MeasureRouters(ctx context.Context, o RouterOptions) error {
	if o.Log == nil {
		o.Log = io.Discard
	}
	var faults []error
	for _, part := range o.Parts {
		var err error
		switch part {
		case "strategies":
			err = measureStrategies(ctx, o)
		case "kills":
			err = measureKills(ctx, o)
		case "limit":
			err = measureLimit(ctx, o)
		case "trouble":
			err = measureTrouble(ctx, o)
		default:
			err = fmt.Errorf("no part is called %q: use %s", part, strings.Join(RouterParts(), ", "))
		}
		if ctx.Err() != nil {
			return err
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", part, err))
		}
	}
	return errors.Join(faults...)
}

// rig is a fleet of routers and workers under measurement.
type rig struct {
	*Fleet
	js     jetstream.JetStream
	client *sdk.Client
	begin  time.Time
}

// newRig starts routers and workers, and as many pools as there are providers.
func newRig(ctx context.Context, o RouterOptions, list []Provider, config string) (*rig, error) {
	f, err := newFleet(ctx, o.Binaries, Shape{NATS: 1, Routers: o.Routers, Workers: o.Routers}, list, config)
	if err != nil {
		return nil, err
	}
	r := &rig{Fleet: f}
	if r.js, err = f.connect(); err == nil {
		err = f.ready(ctx, r.js, len(list))
	}
	if err == nil {
		r.client, err = f.client(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, r.stop())
	}
	r.begin = time.Now()
	return r, nil
}

func (r *rig) stop() error {
	if r.client != nil {
		r.client.Close()
	}
	if r.js != nil {
		r.js.Conn().Close()
	}
	return r.Fleet.close(false)
}

// submit publishes jobs at their times, without waiting for one another, and
// returns when all are acknowledged. made gives the i-th job and when it comes;
// a negative time ends it.
func (r *rig) submit(ctx context.Context, made func(i int) (sdk.Job, time.Duration)) (n int, err error) {
	begin := time.Now()
	slots := make(chan struct{}, maxSubmitting)
	var wg sync.WaitGroup
	var mu sync.Mutex
	defer wg.Wait()
	for i := 0; ; i++ {
		job, at := made(i)
		if at < 0 {
			wg.Wait()
			mu.Lock()
			defer mu.Unlock()
			return i, err
		}
		if err := ledger.Pause(ctx, time.Until(begin.Add(at))); err != nil {
			return i, err
		}
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			if _, serr := r.client.Submit(ctx, job); serr != nil {
				mu.Lock()
				defer mu.Unlock()
				err = serr
			}
		})
	}
}

// life is what the ledger says of a job.
type life struct {
	submitted, started, ended time.Time
	status                    wire.Status
	attempts                  []end
}

// end is how an attempt of it ended.
type end struct {
	pool   string
	at     time.Time
	status wire.Status
	http   int
}

func (l *life) wait() time.Duration  { return l.started.Sub(l.submitted) }
func (l *life) total() time.Duration { return l.ended.Sub(l.submitted) }

// lives reads the ledger until n jobs have ended.
func (r *rig) lives(ctx context.Context, n int) (map[string]*life, error) {
	out, ended := map[string]*life{}, 0
	if n == 0 {
		return out, nil
	}
	err := readRecords(ctx, r.js, time.Minute, func(rec *stored) bool {
		l := out[rec.job]
		if l == nil {
			l = &life{submitted: time.Unix(0, rec.Entry.Meta.SubmittedAt)}
			out[rec.job] = l
		}
		if rec.Status == wire.Running && l.started.IsZero() {
			l.started = rec.at
		}
		if a := rec.Entry.Attempt; rec.EndsAttempt() {
			l.attempts = append(l.attempts, end{pool: a.Pool, at: rec.at, status: a.Status, http: a.HTTP})
		}
		if rec.Status.Terminal() {
			l.status, l.ended = rec.Status, rec.at
			ended++
		}
		return ended == n
	})
	if err != nil {
		return out, fmt.Errorf("%d of %d jobs have ended: %w", ended, n, err)
	}
	return out, nil
}

// quantile is the q-th of values.
func quantile(values []time.Duration, q float64) time.Duration {
	if len(values) == 0 {
		return 0
	}
	v := slices.Sorted(slices.Values(values))
	return v[min(len(v)-1, int(math.Ceil(q*float64(len(v))))-1)]
}

// request is a chat request of so many tokens.
func request(input, output int) []byte {
	words := strings.TrimSuffix(strings.Repeat("a ", max(input-3, 1)), " ")
	return fmt.Appendf(nil, `{"model":"chat","max_tokens":%d,"messages":[{"role":"user","content":"%s"}]}`, output, words)
}

func millis(d time.Duration) string { return fmt.Sprintf("%d ms", d.Milliseconds()) }
