package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/sluicehq/sluice/internal/tracing"
	"github.com/sluicehq/sluice/sdk/ledger"
)

// place is where a request is on its way.
type place int

const (
	asked    place = iota // the client begins to send its request
	begun                 // the gateway has the request's header
	stored                // the job is in the jobs stream
	routed                // a router begins to decide
	given                 // the work message has been published
	claimed               // a worker's claim is stored, and acknowledged to it
	called                // the provider has answered
	replied               // the gateway has written the answer
	answered              // the client has read it
	places
)

// hopNames say what happens between a place and the one before it; that of
// asked is the whole way.
var hopNames = [places]string{
	asked:    "the whole way, as the client sees it",
	begun:    "the client sends, the gateway has the request's header",
	stored:   "the gateway reads and checks the request, the job is stored",
	routed:   "a router gets the job",
	given:    "it decides, and publishes what it saw and the work message",
	claimed:  "the work message is stored, a worker gets it, its claim is stored and acknowledged",
	called:   "the provider is called and has answered",
	replied:  "the end is stored, the gateway gets it and writes the answer",
	answered: "the client has read the answer",
}

// tap is a collector of Sluice's traces, which say when a request was where.
type tap struct {
	srv    *http.Server
	url    string
	served chan error

	mu     sync.Mutex
	seen   map[string]*[places]time.Time // by job
	faults error
}

func newTap(ctx context.Context) (*tap, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	t := &tap{url: "http://" + l.Addr().String(), served: make(chan error, 1), seen: map[string]*[places]time.Time{}}
	t.srv = &http.Server{Handler: t, ReadHeaderTimeout: 10 * time.Second}
	go func() { t.served <- t.srv.Serve(l) }() // close waits for it
	return t, nil
}

// environ has a process send its traces here, soon.
func (t *tap) environ() []string {
	return []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + t.url, "OTEL_EXPORTER_OTLP_COMPRESSION=none", "OTEL_BSP_SCHEDULE_DELAY=200",
		"OTEL_BSP_MAX_QUEUE_SIZE=65536", "OTEL_TRACES_SAMPLER=always_on"}
}

// ServeHTTP takes spans.
func (t *tap) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	var spans []tracing.Seen
	body, err := io.ReadAll(r.Body)
	if err == nil {
		spans, err = tracing.ReadSpans(body)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil {
		t.faults = errors.Join(t.faults, err)
		return
	}
	for _, s := range spans {
		at := t.of(s.Job)
		switch {
		case strings.HasPrefix(s.Name, "POST "):
			at[begun], at[replied] = s.Start, s.End
		case s.Name == "queue":
			at[stored], at[claimed] = s.Start, s.End
		case s.Name == "decision":
			at[routed], at[given] = s.Start, s.End
		default:
			at[called] = s.End
		}
	}
}

// of is where a job was. The caller holds the lock.
func (t *tap) of(job string) *[places]time.Time {
	if t.seen[job] == nil {
		t.seen[job] = new([places]time.Time)
	}
	return t.seen[job]
}

func (t *tap) answered(job string, begin, end time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	at := t.of(job)
	at[asked], at[answered] = begin, end
}

// close ends the collector.
func (t *tap) close() error {
	err := t.srv.Close()
	if served := <-t.served; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return errors.Join(err, t.faults)
}

// take gives the times of each hop of the requests that were seen everywhere,
// in any order of theirs, and forgets all.
func (t *tap) take() (hops [places][]time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
next:
	for _, at := range t.seen {
		for _, when := range at {
			if when.IsZero() {
				continue next
			}
		}
		hops[asked] = append(hops[asked], at[answered].Sub(at[asked]))
		for p := begun; p < places; p++ {
			hops[p] = append(hops[p], at[p].Sub(at[p-1]))
		}
	}
	clear(t.seen)
	return hops
}

// hops has a steady load told by the tap.
func (f *front) hops(ctx context.Context, steady func() load) load {
	f.tap.take() // of what came before
	f.load.seen = f.tap.answered
	l := steady()
	f.load.seen = nil
	_ = ledger.Pause(ctx, tail) // for the last spans; HTTP looks at ctx
	for p, took := range f.tap.take() {
		f.took[p] = append(f.took[p], took...)
	}
	return l
}

// HTTPHop is a part of a request's way: how long it takes with nothing in its
// way, which is about the tenth percentile, and at the median.
type HTTPHop struct {
	Name     string
	P10, P50 time.Duration
}

// hopsOf are the hops of all rounds in their order, after the whole way.
func (f *front) hopsOf() (list []HTTPHop) {
	for p, took := range f.took {
		if len(took) > 0 {
			q := quantiles(took) // sorts
			list = append(list, HTTPHop{hopNames[p], took[len(took)/10], q.P50})
		}
	}
	return list
}

func printHops(w io.Writer, hops []HTTPHop) error {
	if len(hops) == 0 {
		return nil
	}
	fmt.Fprintln(w, "\nWhere the time of Sluice's requests goes, in ms; the quantiles of each line are its own:")
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "p10\tp50\t")
	for _, h := range hops {
		fmt.Fprintf(t, "%.3f\t%.3f\t%s\n", ms(h.P10), ms(h.P50), h.Name)
	}
	return t.Flush()
}
