package bench

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/cmd/sluice/internal/web"
	"github.com/sluicehq/sluice/sdk"
	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/sluicehq/sluice/workers/simulated"
)

// BatchOptions say how large a batch is to be measured, and what is done to
// the server meanwhile.
type BatchOptions struct {
	Lines       int
	Size        int           // bytes of a line's body; default 1,024
	Concurrency int           // of the simulated pool; default 256
	Latency     time.Duration // of the simulated pool; 0: it answers at once
	Kills       int           // how often the server is killed with SIGKILL on the way
	Seed        uint64        // of the moments of the kills
	Command     []string      // that runs `sluice`, without arguments
	Log         io.Writer
}

// BatchReport is what a batch came to.
type BatchReport struct {
	Lines, Kills           int
	Upload, Valid          time.Duration // of the file; from the batch's submission to the end of validation
	First, Took            time.Duration // from the batch's submission to the first result, and to the end
	Idle, Peak             int64         // bytes of the broker's process: before, and most; of the last one if it was killed
	CPU                    time.Duration // of the broker's process, from the upload to the end; without kills only
	Results                int           // lines in the output file, each custom ID once
	Terminal, Lost, Double int           // jobs with exactly one terminal record, none, or something after one
	Calls, Repeated, Again int           // of the provider; of attempts that a kill cut off; of lines that had finished
}

// Err is nil if every line ran to an end once.
func (r *BatchReport) Err() error {
	if r.Results != r.Lines || r.Terminal != r.Lines || r.Lost+r.Double+r.Again != 0 {
		return fmt.Errorf("of %d lines, %d have a result and %d one terminal record; %d lost, %d doubled, %d run again after they had finished",
			r.Lines, r.Results, r.Terminal, r.Lost, r.Double, r.Again)
	}
	return nil
}

// memoryAim is how much memory a batch may take above idle.
const memoryAim = 150 << 20

// Print writes the report for people.
func (r *BatchReport) Print(w io.Writer) {
	fmt.Fprintf(w, "batch      %d lines in %.1f s: %.0f lines/s, from submission to the end; %d kill -9 on the way\n",
		r.Lines, r.Took.Seconds(), float64(r.Lines)/r.Took.Seconds(), r.Kills)
	fmt.Fprintf(w, "upload     %.2f s; then validated after %.2f s, first result after %.2f s\n", r.Upload.Seconds(), r.Valid.Seconds(), r.First.Seconds())
	bound := "met"
	if r.Peak-r.Idle > memoryAim {
		bound = "missed (GOMEMLIMIT holds it lower, docs/batches.md)"
	}
	fmt.Fprintf(w, "memory     at most %d MiB above idle (%d MiB, then %d MiB; the broker's process); aim %d MiB %s\n",
		(r.Peak-r.Idle)>>20, r.Idle>>20, r.Peak>>20, memoryAim>>20, bound)
	if r.CPU > 0 {
		fmt.Fprintf(w, "CPU        %.3f s per 1,000 lines (the broker's process: everything but ClickHouse)\n", r.CPU.Seconds()*1000/float64(r.Lines))
	}
	fmt.Fprintf(w, "results    %d in the output file, each once; %d jobs with exactly one terminal record, %d lost, %d doubled\n",
		r.Results, r.Terminal, r.Lost, r.Double)
	fmt.Fprintf(w, "calls      %d, of which %d repeat an attempt that a kill cut off, and %d a line that had finished\n", r.Calls, r.Repeated, r.Again)
}

// batchPools is one pool that keeps books.
const batchPools = `
pools:
  - {name: fast, adapter: simulated, concurrency: %d, models: {m: {price: {input: 1, output: 2}}}, simulated: {seed: 1, ttft: %s, books: %s/fast.books}}
routes:
  - {model: chat, strategy: least_connections, candidates: [{pool: fast, model: m}]}
`

// batchInput is an endless reader of a batch's lines, up to a number of them.
func batchInput(lines, size int) io.Reader {
	r, next := new(bytes.Buffer), 0
	body := Prompt(size)
	return readerFunc(func(p []byte) (int, error) {
		for r.Len() < len(p) && next < lines {
			next++
			fmt.Fprintf(r, `{"custom_id":"line-%d","method":"POST","url":"/v1/chat/completions","body":%s}`+"\n", next, body)
		}
		return r.Read(p)
	})
}

type readerFunc func([]byte) (int, error)

// Read implements io.Reader.
func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// batchRun is a measurement under way.
type batchRun struct {
	o     BatchOptions
	p     *process
	http  *web.Client
	r     *BatchReport
	kills []int64 // at how many results; in order
	rand  *rand.Rand
}

// Batch measures a batch in a `sluice up` of its own.
func Batch(ctx context.Context, o BatchOptions) (*BatchReport, error) {
	if o.Size == 0 {
		o.Size = 1024
	}
	if o.Concurrency == 0 {
		o.Concurrency = 256
	}
	p, err := newProcess(o.Command, func(dir string) string { return fmt.Sprintf(batchPools, o.Concurrency, o.Latency, dir) }, o.Log)
	if err != nil {
		return nil, err
	}
	defer p.remove()
	if err := p.start(ctx); err != nil {
		return nil, err
	}
	defer p.stop()
	b := &batchRun{o: o, p: p, http: web.New("http://"+p.http, traceTenant, ""), r: &BatchReport{Lines: o.Lines},
		rand: rand.New(rand.NewPCG(o.Seed, 3))}
	defer b.http.Close()
	for range o.Kills {
		b.kills = append(b.kills, b.rand.Int64N(int64(o.Lines)*8/10)) // what is heard of the end comes late
	}
	slices.Sort(b.kills)
	return b.r, b.run(ctx)
}

// settleTime is how long a process that has just started is left alone before
// its memory counts as idle.
const settleTime = 3 * time.Second

func (b *batchRun) run(ctx context.Context) error {
	if err := b.awaitHTTP(ctx); err != nil {
		return err
	}
	if err := ledger.Pause(ctx, settleTime); err != nil {
		return err
	}
	b.r.Idle = memoryOf(b.p.cmd.Process.Pid, "VmRSS")
	resetPeak(b.p.cmd.Process.Pid)
	begin, cpu := time.Now(), cpuOf(b.p.cmd.Process.Pid)
	f, err := b.http.Upload(ctx, "batch.jsonl", batchInput(b.o.Lines, b.o.Size))
	if err != nil {
		return err
	}
	b.r.Upload = time.Since(begin)
	begin = time.Now()
	m, err := b.http.Create(ctx, web.Request{Input: f.ID, Endpoint: string(wire.ChatCompletions), Window: "24h"})
	if err != nil {
		return err
	}
	if m, err = b.follow(ctx, m.ID, begin); err != nil {
		return err
	}
	b.r.Took = time.Since(begin)
	if b.r.Kills == 0 {
		b.r.CPU = cpuOf(b.p.cmd.Process.Pid) - cpu
	}
	b.r.Peak = max(b.r.Peak, memoryOf(b.p.cmd.Process.Pid, "VmHWM"))
	if m.Status != "completed" {
		return fmt.Errorf("the batch is %s: %+v", m.Status, m.Errors)
	}
	if err := b.results(ctx, m); err != nil {
		return err
	}
	b.r.Peak = max(b.r.Peak, memoryOf(b.p.cmd.Process.Pid, "VmHWM"))
	return b.verify(ctx, m.ID)
}

// awaitHTTP waits until the gateway answers.
func (b *batchRun) awaitHTTP(ctx context.Context) error {
	for end := time.Now().Add(time.Minute); ; {
		_, err := b.http.Batches(ctx, 1)
		if err == nil || time.Now().After(end) {
			return err
		}
		if err := ledger.Pause(ctx, 10*time.Millisecond); err != nil {
			return err
		}
	}
}

// patience is how long a batch may make no progress. A million lines are
// validated for half a minute, and for many on a machine that others use.
const patience = 15 * time.Minute

// follow polls the batch to its end, and kills the server on the way.
func (b *batchRun) follow(ctx context.Context, id string, begin time.Time) (*web.Batch, error) {
	var last int64
	moved := time.Now()
	for {
		m, err := b.http.Batch(ctx, id)
		var known *sdk.Error
		if err != nil && (!errors.As(err, &known) || known.Code != wire.CodeUnavailable) {
			return nil, err
		}
		if err == nil {
			done := m.Counts.Completed + m.Counts.Failed
			if b.r.Valid == 0 && m.InProgress != 0 {
				b.r.Valid = time.Since(begin)
			}
			if b.r.First == 0 && done > 0 {
				b.r.First = time.Since(begin)
			}
			if done != last {
				last, moved = done, time.Now()
			}
			if m.Ended() {
				return m, nil
			}
			if len(b.kills) > 0 && done >= b.kills[0] {
				b.kills = b.kills[1:]
				if err := b.kill(ctx); err != nil {
					return nil, err
				}
			}
		}
		if time.Since(moved) > patience {
			return nil, fmt.Errorf("the batch has made no progress for %s at %d lines", patience, last)
		}
		if err := ledger.Pause(ctx, 5*time.Millisecond); err != nil {
			return nil, err
		}
	}
}

// kill kills the server a moment later, whatever it does then, and starts it
// again.
func (b *batchRun) kill(ctx context.Context) error {
	if err := ledger.Pause(ctx, time.Duration(b.rand.Int64N(int64(500*time.Millisecond)))); err != nil {
		return err
	}
	b.r.Peak = max(b.r.Peak, memoryOf(b.p.cmd.Process.Pid, "VmHWM"))
	if err := b.p.kill(); err != nil {
		return err
	}
	b.r.Kills++
	return b.p.start(ctx)
}

// results reads the output file and counts its lines.
func (b *batchRun) results(ctx context.Context, m *web.Batch) error {
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() { done <- w.CloseWithError(b.http.Content(ctx, m.Output, w)) }() // ends with the reading below
	seen := make([]bool, b.o.Lines+1)
	in := bufio.NewScanner(r)
	in.Buffer(nil, wire.MaxPayload)
	var bad error
	for in.Scan() {
		var line struct {
			ID string `json:"custom_id"`
		}
		n, err := 0, json.Unmarshal(in.Bytes(), &line)
		if err == nil {
			n, err = strconv.Atoi(strings.TrimPrefix(line.ID, "line-"))
		}
		if err != nil || n < 1 || n > b.o.Lines || seen[n] {
			bad = fmt.Errorf("the output file has %.100q: %w", line.ID, err)
			break
		}
		seen[n] = true
		b.r.Results++
	}
	_ = r.CloseWithError(io.ErrClosedPipe)
	<-done
	return errors.Join(bad, in.Err())
}

// verify compares the ledger with the provider's books.
func (b *batchRun) verify(ctx context.Context, id string) error {
	client, err := b.p.dial(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	attempts, err := b.ended(ctx, client, id)
	if err != nil {
		return err
	}
	lines, _, err := simulated.ReadBooks(b.p.books("fast"))
	if err != nil {
		return err
	}
	b.r.Calls = len(lines)
	keys := make(map[string]bool, len(lines))
	for _, l := range lines {
		job, attempt, ok := cutLast(strings.TrimPrefix(l.Key, traceTenant+"-"))
		n, err := strconv.Atoi(attempt)
		switch at := attempts[job]; {
		case !ok || err != nil:
			return fmt.Errorf("the books have the strange key %.80q", l.Key)
		case n > at || keys[l.Key]:
			b.r.Again++
		case n < at:
			b.r.Repeated++
		}
		keys[l.Key] = true
	}
	return nil
}

func cutLast(s string) (before, after string, ok bool) {
	i := strings.LastIndexByte(s, '-')
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}

// ended reads the ledger: which attempt each of the batch's jobs ended with.
func (b *batchRun) ended(ctx context.Context, client *sdk.Client, id string) (map[string]int, error) {
	js, err := jetstream.New(client.Conn())
	if err != nil {
		return nil, err
	}
	var s wire.Subjects
	cons, err := js.OrderedConsumer(ctx, s.Stream(wire.StreamLedger), jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{s.Records(traceTenant, "*")}, HeadersOnly: true})
	if err != nil {
		return nil, fmt.Errorf("read the ledger: %w", err)
	}
	attempts := make(map[string]int, b.o.Lines)
	over := make(map[string]bool)
	left := cons.CachedInfo().NumPending
	it, err := cons.Messages()
	if err != nil {
		return nil, fmt.Errorf("read the ledger: %w", err)
	}
	defer it.Stop()
	for ; left > 0; left-- {
		m, err := it.Next(jetstream.NextContext(ctx))
		if err != nil {
			return nil, fmt.Errorf("read the ledger: %w", err)
		}
		_, job, _ := s.SplitTenantJob(m.Subject())
		if !strings.HasPrefix(job, id+"-") {
			continue
		}
		if _, twice := attempts[job]; twice {
			over[job] = true
		}
		if wire.Status(m.Headers().Get(wire.HeaderStatus)).Terminal() {
			attempts[job], _ = strconv.Atoi(m.Headers().Get(wire.HeaderAttempt))
		}
	}
	b.r.Double, b.r.Terminal = len(over), len(attempts)-len(over)
	b.r.Lost = b.o.Lines - len(attempts)
	return attempts, nil
}

// memoryOf is a line of a process's memory, in bytes; 0 where there is no
// /proc.
func memoryOf(pid int, name string) int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, name+":"); ok {
			n, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(v), "kB")), 10, 64)
			return n << 10
		}
	}
	return 0
}

// cpuOf is the CPU time of a process so far; 0 where there is no /proc.
func cpuOf(pid int) time.Duration {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	f := strings.Fields(rest)
	if len(f) < 13 {
		return 0
	}
	user, _ := strconv.ParseInt(f[11], 10, 64)
	system, _ := strconv.ParseInt(f[12], 10, 64)
	return time.Duration(user+system) * 10 * time.Millisecond // a clock tick, on every Linux that Go runs on
}

// resetPeak makes VmHWM begin anew.
func resetPeak(pid int) {
	_ = os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0) // without it the start counts too
}
