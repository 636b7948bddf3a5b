package bench

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluicehq/sluice/sdk"
	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
)

// Arrival is one invocation of a trace.
type Arrival struct {
	At     time.Duration // since the first one
	Input  int           // tokens
	Output int           // tokens
}

// ReadTrace reads an Azure LLM inference trace: TIMESTAMP, ContextTokens,
// GeneratedTokens (Azure/AzurePublicDataset, CC-BY 4.0; Patel et al.,
// "Splitwise", ISCA 2024). limit 0 means all of it.
func ReadTrace(path string, limit int) ([]Arrival, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("trace %s: no such file; get it from the Azure public dataset (AzureLLMInferenceTrace_conv.csv), or use --trace synthetic", path)
	}
	if err != nil {
		return nil, fmt.Errorf("trace: %w", err)
	}
	defer func() { _ = f.Close() }()
	out, err := readTrace(f, limit)
	if err != nil {
		return nil, fmt.Errorf("trace %s: %w", path, err)
	}
	return out, nil
}

// maxTokens is the most tokens of a row: more is a mistake, or a prompt that
// does not fit into a message.
const maxTokens = 4 << 20

func readTrace(in io.Reader, limit int) ([]Arrival, error) {
	r := csv.NewReader(in)
	if _, err := r.Read(); err != nil {
		return nil, err
	}
	var out []Arrival
	var first time.Time
	for limit == 0 || len(out) < limit {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil && len(row) < 3 {
			err = csv.ErrFieldCount
		}
		if err != nil {
			return nil, fmt.Errorf("row %d: want TIMESTAMP,ContextTokens,GeneratedTokens: %w", len(out)+2, err)
		}
		at, err1 := time.Parse("2006-01-02 15:04:05.9999999", row[0])
		in, err2 := strconv.ParseUint(row[1], 10, 32)
		gen, err3 := strconv.ParseUint(row[2], 10, 32)
		if first.IsZero() {
			first = at
		}
		a := Arrival{At: at.Sub(first), Input: int(in), Output: int(max(gen, 1))}
		err = errors.Join(err1, err2, err3)
		if err == nil && (max(in, gen) > maxTokens || a.At < 0) {
			err = fmt.Errorf("want at most %d tokens, and a time no earlier than the first row's", maxTokens)
		}
		if err != nil {
			return nil, fmt.Errorf("row %d: %w", len(out)+2, err)
		}
		out = append(out, a)
	}
	return out, nil
}

// SyntheticTrace has the Azure conversation trace's rate and mean lengths:
// exponential gaps, log-normal tokens.
func SyntheticTrace(n int, seed uint64) []Arrival {
	r := rand.New(rand.NewPCG(seed, 1))
	out := make([]Arrival, n)
	var at float64
	for i := range out {
		at += r.ExpFloat64() / 5.5
		out[i] = Arrival{At: time.Duration(at * float64(time.Second)),
			Input: int(min(math.Exp(6.6+0.9*r.NormFloat64()), 8000)) + 4, Output: int(min(math.Exp(4.9+0.9*r.NormFloat64()), 1000)) + 1}
	}
	return out
}

// prompt is a chat request whose prompt the simulated providers count as
// exactly the arrival's input tokens (a token a word, three a message).
func (a Arrival) prompt() []byte {
	words := strings.TrimSuffix(strings.Repeat("a ", max(a.Input-3, 1)), " ")
	return fmt.Appendf(nil, `{"model":"chat","max_tokens":%d,"messages":[{"role":"user","content":"%s"}]}`, a.Output, words)
}

// TraceOptions says what to replay and what to do to it.
type TraceOptions struct {
	Arrivals []Arrival
	Speed    float64  // times faster than recorded
	Kills    int      // how often the server is killed with SIGKILL on the way
	Seed     uint64   // of the moments of the kills
	Command  []string // that runs `sluice`, without arguments
	Log      io.Writer
}

// tracePools are three providers of different speed, price and failure share.
// %[1]s: folder of their books, %[2]v: times faster than life.
const tracePools = `
workers: {ack_wait: 5s, max_attempts: 10, retry_backoff: 50ms}
analytics: {flush_interval: 200ms}
pools:
  - {name: quick, adapter: simulated, concurrency: 48, models: {m: {price: {input: 2.5, cache_read: 1.25, output: 10}}},
     simulated: {seed: 1, ttft: %[2]s, tokens_per_second: %[3]g, fill: true, books: %[1]s/quick.books}}
  - {name: cheap, adapter: simulated, concurrency: 48, models: {m: {price: {input: 0.15, cache_read: 0.0375, output: 0.6}}},
     simulated: {seed: 2, ttft: %[4]s, tokens_per_second: %[5]g, fill: true, books: %[1]s/cheap.books}}
  - {name: flaky, adapter: simulated, concurrency: 48, models: {m: {price: {input: 0.59, output: 0.79}}},
     simulated: {seed: 3, ttft: %[2]s, tokens_per_second: %[3]g, error_share: 0.05, errors: [rate_limit, server_error], fill: true, books: %[1]s/flaky.books}}
routes:
  - {model: chat, strategy: least_connections, candidates: [{pool: quick, model: m}, {pool: cheap, model: m}, {pool: flaky, model: m}]}
`

// traceBooks are the pools' journals.
var traceBooks = []string{"quick", "cheap", "flaky"}

// Replay sends the trace through a `sluice up` process, kills and restarts it
// as asked, waits until every job is a row, and checks the result.
func Replay(ctx context.Context, o TraceOptions) (*Report, error) {
	scale := func(d time.Duration) time.Duration { return time.Duration(float64(d) / o.Speed) }
	p, err := newProcess(o.Command, func(dir string) string {
		return fmt.Sprintf(tracePools, dir, scale(300*time.Millisecond), 80*o.Speed, scale(600*time.Millisecond), 40*o.Speed)
	}, o.Log)
	if err != nil {
		return nil, err
	}
	defer p.remove()
	if err := p.start(ctx); err != nil {
		return nil, err
	}
	defer p.stop()
	client, err := p.dial(ctx)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	begin := time.Now()
	var sent atomic.Int64
	wg.Go(func() {
		if err := submitTrace(ctx, client, o, &sent); err != nil {
			cancel(err)
		}
	})
	wg.Go(func() {
		if err := p.killer(ctx, o, len(o.Arrivals)); err != nil {
			cancel(err)
		}
	})
	wg.Wait()
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	st, err := awaitStore(ctx, p.dsn)
	if err != nil {
		return nil, err
	}
	defer func() { _ = st.Close() }()
	sys := &System{Store: st}
	if err := sys.awaitJobs(ctx, len(o.Arrivals)); err != nil {
		return nil, err
	}
	rep, err := p.verify(ctx, sys, client, len(o.Arrivals))
	if rep != nil {
		rep.Took = time.Since(begin)
		rep.Kills = o.Kills
	}
	return rep, err
}

// submitters is how many submissions may wait for their acknowledgement.
const submitters = 256

// submitTrace submits each job at its time, again and again under the same ID
// until it is acknowledged.
func submitTrace(ctx context.Context, c *sdk.Client, o TraceOptions, sent *atomic.Int64) error {
	begin := time.Now()
	slots := make(chan struct{}, submitters)
	var wg sync.WaitGroup
	defer wg.Wait()
	for i, a := range o.Arrivals {
		if d := time.Duration(float64(a.At)/o.Speed) - time.Since(begin); d > 0 {
			if err := ledger.Pause(ctx, d); err != nil {
				return err
			}
		}
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		job := sdk.Job{ID: traceID(i), Class: wire.Classes()[i%3], Body: a.prompt(), Stream: i%4 == 0}
		wg.Go(func() {
			defer func() { <-slots }()
			for ctx.Err() == nil {
				if _, err := c.Submit(ctx, job); err == nil {
					sent.Add(1)
					return
				}
				_ = ledger.Pause(ctx, 50*time.Millisecond)
			}
		})
	}
	return nil
}

// traceID is the job ID of the i-th arrival.
func traceID(i int) string { return fmt.Sprintf("t%06dx", i) }
