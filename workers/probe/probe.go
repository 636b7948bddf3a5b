package probe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/sluicehq/sluice/workers/engine"
)

// Config says what a prober works with.
type Config struct {
	JS       jetstream.JetStream
	Subjects wire.Subjects
	Logger   *slog.Logger
	Instance string // this process, unique over restarts; required
	Pools    []Pool
}

// Pool is a pool to probe.
type Pool struct {
	Name     string
	Endpoint *engine.Endpoint
	Interval time.Duration // between two probes, over all workers; above 0
	Timeout  time.Duration // of one; above 0
	Model    string        // the upstream model that is asked
	Price    *wire.Price   // of it; nil: unknown
}

// Prober probes pools. Make one with New, start it with Run.
type Prober struct{ cfg Config }

// New makes a prober; it does no I/O.
func New(cfg Config) *Prober { return &Prober{cfg} }

// Run probes until ctx ends and returns nil then. An error means that the
// bucket is missing.
func (p *Prober) Run(ctx context.Context) error {
	if len(p.cfg.Pools) == 0 {
		return nil
	}
	kv, err := p.cfg.JS.KeyValue(ctx, p.cfg.Subjects.Stream(wire.BucketProbes))
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return fmt.Errorf("probes: %w", err)
	}
	var pools sync.WaitGroup
	for i := range p.cfg.Pools {
		pools.Go(func() { p.follow(ctx, kv, &p.cfg.Pools[i]) })
	}
	pools.Wait()
	return nil
}

// failed is the pause after the bucket could not be read or written.
const failed = time.Second

// follow makes the pool's probes that are due and that no other worker makes.
func (p *Prober) follow(ctx context.Context, kv jetstream.KeyValue, pool *Pool) {
	for wait := time.Duration(0); ledger.Pause(ctx, max(wait, 0)) == nil; {
		last, revision, err := read(ctx, kv, pool.Name)
		if err != nil {
			wait = failed
			continue
		}
		now := time.Now()
		if due := time.Unix(0, last.Claimed).Add(pool.Interval); last.Claimed != 0 && now.Before(due) {
			wait = due.Sub(now)
			continue
		}
		next := last
		next.By, next.Claimed = p.cfg.Instance, now.UnixNano()
		if revision, err = write(ctx, kv, pool.Name, &next, revision); err != nil {
			wait = failed // another was first, most likely
			continue
		}
		if !p.make(ctx, pool, &next) {
			return
		}
		if _, err := write(ctx, kv, pool.Name, &next, revision); err != nil {
			p.cfg.Logger.Debug("the outcome of a probe is not written", "pool", pool.Name, "err", err)
		}
		wait = time.Until(now.Add(pool.Interval))
	}
}

// make makes a probe and notes how it ended; false: our own stop cut it off, so
// it says nothing.
func (p *Prober) make(ctx context.Context, pool *Pool, e *ledger.Probe) bool {
	began := time.Now()
	meta := &wire.Meta{ID: "probe-" + strconv.FormatInt(e.Claimed, 36), Tenant: "sluice", Endpoint: wire.ChatCompletions, Route: pool.Model,
		SubmittedAt: began.UnixNano(), Deadline: began.Add(pool.Timeout).UnixNano(), MaxTokens: answerTokens}
	body, err := json.Marshal(map[string]any{"model": pool.Model, "max_tokens": answerTokens,
		"messages": []map[string]string{{"role": "user", "content": "ping"}}})
	if err != nil { // cannot happen
		return false
	}
	out := pool.Endpoint.Do(ctx, &engine.Call{Meta: meta, Body: body, Model: pool.Model, Attempt: 1})
	if ctx.Err() != nil {
		return false
	}
	e.Probes++
	e.At, e.Model, e.Status, e.Error, e.HTTP = time.Now().UnixNano(), pool.Model, out.Status, "", out.HTTP
	e.LatencyMS = out.Latency.Milliseconds()
	e.Until = e.At + int64(longest)*int64(pool.Interval) + int64(pool.Timeout)
	if pool.Price != nil {
		e.Cost += pool.Price.Cost(out.Usage)
	}
	if out.Err != nil {
		e.Error = out.Err.Code
	}
	if out.Status == wire.Expired { // I2
		e.Status, e.Error = wire.Failed, wire.CodeTimeout
	}
	if e.Status == wire.Succeeded || wellAnyway(e.Error) {
		e.Failing = 0
		return true
	}
	e.Failures++
	if e.Failing++; e.Failing <= ledger.ProbeFailures {
		p.cfg.Logger.Warn("a probe failed", "pool", pool.Name, "model", pool.Model, "error_code", e.Error, "http_status", e.HTTP, "in_a_row", e.Failing)
	}
	return true
}

const (
	answerTokens = 16 // that a probe asks for; providers exist that refuse fewer
	longest      = 3  // intervals that an outcome is valid for
)

// wellAnyway reports whether a failure says that the provider works (I3).
func wellAnyway(c wire.Code) bool {
	switch c {
	case wire.CodeProviderRefused, wire.CodeContextLength, wire.CodeContentFilter, wire.CodeRateLimited:
		return true
	}
	return false
}

// read is the pool's entry, and its revision; 0 if there is none.
func read(ctx context.Context, kv jetstream.KeyValue, pool string) (e ledger.Probe, revision uint64, err error) {
	entry, err := kv.Get(ctx, pool)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return e, 0, nil
	}
	if err != nil {
		return e, 0, err
	}
	if json.Unmarshal(entry.Value(), &e) != nil {
		e = ledger.Probe{} // nothing of ours
	}
	return e, entry.Revision(), nil
}

// write puts the entry in the place of the one of the revision (I1).
func write(ctx context.Context, kv jetstream.KeyValue, pool string, e *ledger.Probe, revision uint64) (uint64, error) {
	b, err := json.Marshal(e)
	if err != nil {
		return 0, err
	}
	if revision == 0 {
		return kv.Create(ctx, pool, b)
	}
	return kv.Update(ctx, pool, b, revision)
}
