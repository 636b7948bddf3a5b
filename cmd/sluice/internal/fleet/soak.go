package fleet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/sluicehq/sluice/sdk"
	"github.com/sluicehq/sluice/sdk/wire"
)

// SoakOptions say what is piled up in front of one broker process.
type SoakOptions struct {
	Binaries
	Jobs    int // queued, of 1 KiB each
	Readers int // of one answer, which read its beginning and stop
	Answer  int // MiB of an answer, whole and streamed
	Calls   int // to a provider that sends a byte a second
	Disk    int // MiB of the disk that fills up
	Parts   []string
	Out     io.Writer
	Log     io.Writer
}

// SoakParts are what a soak consists of.
func SoakParts() []string { return []string{"backlog", "readers", "answer", "drip", "disk"} }

// What the broker may take at most, in MiB of resident memory: half a GiB of
// heap (its own soft limit) and what a process is beside it; and what a reader
// that does not read has in it: a page of the answer, and its connection.
const (
	soakBound  = 896
	readerKiB  = 192
	backlogMax = 0.0003 // MiB for each queued job: the store's index of them
)

// Soak piles up what a broker may be asked to hold, each in a new process, and
// prints the most memory that this took beside its bound. The error lists every
// bound that was not kept, and everything that went wrong beside.
func Soak(ctx context.Context, o SoakOptions) error {
	var faults []error
	for _, part := range o.Parts {
		run := map[string]func(context.Context, *SoakOptions) (*soakResult, error){
			"backlog": soakBacklog, "readers": soakReaders, "answer": soakAnswer, "drip": soakDrip, "disk": soakDisk}[part]
		if run == nil {
			return fmt.Errorf("no part is called %q: use %s", part, strings.Join(SoakParts(), ", "))
		}
		r, err := run(ctx, &o)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", part, err))
			continue
		}
		fmt.Fprintf(o.Out, "%-8s %s; peak %s of %d MiB\n", part, r.what, mib(r.peak), r.bound)
		if r.peak > r.bound<<20 {
			faults = append(faults, fmt.Errorf("%s: the broker took %s, its bound is %d MiB", part, mib(r.peak), r.bound))
		}
	}
	return errors.Join(faults...)
}

// soakResult is what a part came to: bytes, 0 where the system does not tell,
// and MiB.
type soakResult struct {
	what        string
	peak, bound int64
}

func mib(n int64) string {
	if n == 0 {
		return "unknown"
	}
	return strconv.FormatInt(n>>20, 10) + " MiB"
}

// soaked is a broker process, and the provider that it calls.
type soaked struct {
	group
	broker     *Process
	provider   *soakProvider
	nats, http string
	data       string
}

// newSoaked starts `sluice up` without ClickHouse. Its pools are one for each
// manner of the provider; they take so many calls at once.
func newSoaked(ctx context.Context, o *SoakOptions, calls int, more string) (s *soaked, err error) {
	s, err = prepareSoaked(calls, more)
	if err != nil {
		return nil, err
	}
	s.broker = s.add("broker", "broker", append(o.Sluice[:len(o.Sluice):len(o.Sluice)], "up", "--config", s.config()))
	if err := errors.Join(s.broker.start(), s.ready(ctx)); err != nil {
		fmt.Fprintln(o.Log, s.broker.tail(2000))
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *soaked) config() string { return filepath.Join(s.dir, "sluice.yaml") }

// prepareSoaked writes the configuration and starts the provider.
func prepareSoaked(calls int, more string) (*soaked, error) {
	dir, err := os.MkdirTemp("", "sluice-soak-")
	if err != nil {
		return nil, err
	}
	s := &soaked{group: group{dir: dir}, nats: freeAddr(), http: freeAddr(), data: filepath.Join(dir, "data")}
	if s.provider, err = newSoakProvider(); err != nil {
		return nil, err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "nats: {embedded: {listen: %q%s}}\nhttp: {listen: %q, timeout: 1h}\nclickhouse: {embedded: {enabled: false}}\ndata_dir: %s\nworkers: {max_attempts: 1}\npools:\n",
		s.nats, more, s.http, s.data)
	routes := ""
	for _, m := range soakManners() {
		fmt.Fprintf(&b, "  - {name: %s, adapter: openai, provider: sim, base_url: \"http://%s/v1\", concurrency: %d, timeout: %s, idle_timeout: 1h, models: {%s: {price: {input: 1, output: 1}}}}\n",
			m, s.provider.addr, calls, map[bool]string{true: "5s", false: "1h"}[m == "drip"], m)
		routes += fmt.Sprintf("  - {model: %s, candidates: [{pool: %s, model: %s}]}\n", m, m, m)
	}
	return s, os.WriteFile(s.config(), []byte(b.String()+"routes:\n"+routes), 0o600)
}

// ready waits until the broker answers a job.
func (s *soaked) ready(ctx context.Context) error {
	return until(ctx, time.Minute, "the broker", func() error { return s.quick(ctx, 10*time.Second) })
}

// quick has a job answered, before all others.
func (s *soaked) quick(ctx context.Context, patience time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	c, err := s.dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	res, err := s.ask(ctx, c, "quick", false)
	if err == nil && res.Record.Status != wire.Succeeded {
		err = res.Err
	}
	return err
}

func (s *soaked) dial(ctx context.Context) (*sdk.Client, error) {
	return sdk.Dial(ctx, "nats://"+s.nats)
}

// ask submits a job of a manner and waits for its end.
func (s *soaked) ask(ctx context.Context, c *sdk.Client, manner string, stream bool) (*sdk.Result, error) {
	h, err := c.Submit(ctx, sdk.Job{Class: wire.Interactive, Stream: stream, Body: []byte(soakBody(manner, 0))})
	if err != nil {
		return nil, err
	}
	return h.Wait(ctx)
}

// soakBody is a request of a manner, of at least size bytes.
func soakBody(manner string, size int) string {
	body := `{"model":"` + manner + `","max_tokens":16,"messages":[{"role":"user","content":"`
	const end = `"}]}`
	return body + strings.Repeat("x", max(1, size-len(body)-len(end))) + end
}

// close ends everything and removes what it left.
func (s *soaked) close() error {
	s.group.close()
	s.provider.close()
	return os.RemoveAll(s.dir)
}

// peak is the most memory that a process ever had resident, 0 where the system
// does not tell.
func peak(pid int) int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if v, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			n, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(v), "kB")), 10, 64)
			return n << 10
		}
	}
	return 0
}
