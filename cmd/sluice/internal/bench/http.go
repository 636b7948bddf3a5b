package bench

import (
	"context"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/sluicehq/sluice/sdk/ledger"
)

// HTTPOptions size the measurement of HTTP gateways.
type HTTPOptions struct {
	Command     []string      // that runs `sluice`, without arguments
	Gateways    string        // folder of other gateways, as .ci/gateways fills it; empty: none is measured
	Rounds      int           // in which all are measured in turn; default 3
	Rate        int           // requests a second of the latency; default 200
	Connections int           // of the throughput; default 64
	Latency     time.Duration // of each measurement of latency; default 3 s
	Pressed     time.Duration // of each measurement of throughput; default 2.5 s
	Streams     int           // of each measurement of streams, instead of as many as Pressed lets; 0: those
	Only        string        // part of a front's name: measure no others, but the upstream
	Parts       []string      // of HTTPParts; default all
	Hops        bool          // say where the time of Sluice's latency goes
	Profile     string        // file for a CPU profile of Sluice's process; none: not taken
	Log         io.Writer     // what the processes print; nil: nothing
}

func (o HTTPOptions) withDefaults() HTTPOptions {
	def := func(n *int, v int) {
		if *n == 0 {
			*n = v
		}
	}
	def(&o.Rounds, 3)
	def(&o.Rate, 200)
	def(&o.Connections, 64)
	if o.Latency == 0 {
		o.Latency = 3 * time.Second
	}
	if o.Pressed == 0 {
		o.Pressed = 2500 * time.Millisecond
	}
	if len(o.Parts) == 0 {
		o.Parts = HTTPParts()
	}
	if o.Log == nil {
		o.Log = io.Discard
	}
	return o
}

// HTTPParts is what can be measured of each front.
func HTTPParts() []string { return []string{partLatency, partRequests, partStreams} }

const (
	partLatency  = "latency"
	partRequests = "requests"
	partStreams  = "streams"
)

// The aims of Sluice's durable path: what is added to a call, and CPU seconds
// of its process tree for 1,000 requests or streams.
const (
	aimAdded   = time.Millisecond
	aimRequest = 350 * time.Millisecond
	aimStream  = 450 * time.Millisecond
)

// httpRun is one measurement of a front.
type httpRun struct {
	latency            Quantiles
	requests, streams  float64 // a second
	perRequest, perOne usage   // CPU for 1,000 requests, and for 1,000 streams
	streamed, cut      int     // streams, and those of them that had no end
	failed             int
	fault              error
}

// HTTPRow is a line of the table: medians of all rounds.
type HTTPRow struct {
	Name              string
	Own, Full         bool
	Added             Quantiles // of the upstream itself: what it takes
	Requests, Streams float64   // a second
	// CPU for 1,000 requests and streams: of the process, and of those below
	// it, which are ClickHouse for Sluice.
	RequestCPU, RequestBelow, StreamCPU, StreamBelow time.Duration
	Peak, PeakBelow                                  int64     // bytes
	Streamed, Cut                                    int       // streams of all rounds, and those of them that had no end
	Failed                                           int       // requests without a whole answer, cut streams among them
	Fault                                            error     // of one of them
	Hops                                             []HTTPHop // where the time of its latency went, if asked for
}

// HTTPReport is the whole measurement.
type HTTPReport struct {
	Options HTTPOptions
	Rows    []HTTPRow // the upstream itself first
}

// HTTP measures HTTP gateways before one upstream, in turn: Sluice in a
// `sluice up` of its own, Go's reverse proxy, and the gateways of others that
// are installed.
func HTTP(ctx context.Context, o HTTPOptions) (*HTTPReport, error) {
	o = o.withDefaults()
	fronts, stop, err := frontsUp(ctx, &o)
	defer stop()
	if err != nil {
		return nil, err
	}
	fronts = slices.DeleteFunc(fronts, func(f *front) bool { return f.pid != 0 && !strings.Contains(f.name, o.Only) })
	for _, f := range fronts {
		f.warm(ctx, &o)
	}
	for range o.Rounds {
		for _, f := range fronts {
			f.runs = append(f.runs, f.measure(ctx, &o))
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	r := &HTTPReport{Options: o}
	for _, f := range fronts {
		r.Rows = append(r.Rows, f.row(fronts[0]))
	}
	return r, nil
}

const warmTime = 500 * time.Millisecond

// warm lets connections and code paths come up before anything counts.
func (f *front) warm(ctx context.Context, o *HTTPOptions) {
	for _, stream := range []bool{false, true} {
		f.load.pressed(ctx, Prompt(1024), stream, o.Connections, warmTime, 0)
	}
	if f.pid != 0 {
		resetPeaks(f.pid)
	}
}

// tail is how long after the last answer a front may still work on it, and
// has that counted.
const tail = time.Second

func (f *front) measure(ctx context.Context, o *HTTPOptions) httpRun {
	body := Prompt(1024)
	streamed := append([]byte(`{"stream":true,`), body[1:]...)
	var r httpRun
	var lat, req, str load
	for _, part := range o.Parts {
		switch part {
		case partLatency:
			steady := func() load { return f.load.steady(ctx, body, o.Rate, o.Latency) }
			if !o.Hops || !f.own {
				lat = steady()
			} else {
				lat = f.hops(ctx, steady)
			}
			r.latency = quantiles(lat.took)
		case partRequests:
			req, r.perRequest = f.press(ctx, o, body, false, 0)
			r.requests = req.rate()
		case partStreams:
			str, r.perOne = f.press(ctx, o, streamed, true, o.Streams)
			r.streams, r.streamed, r.cut = str.rate(), len(str.took)+str.failed, str.failed
		}
	}
	for _, l := range []load{lat, req, str} {
		if r.failed += l.failed; r.fault == nil {
			r.fault = l.fault
		}
	}
	return r
}

// press is pressed, and the CPU for a thousand of its answers.
func (f *front) press(ctx context.Context, o *HTTPOptions, body []byte, stream bool, most int) (load, usage) {
	before := f.usage()
	l := f.load.pressed(ctx, body, stream, o.Connections, o.Pressed, most)
	if f.pid != 0 {
		_ = ledger.Pause(ctx, tail) // HTTP looks at ctx
	}
	u := f.usage().sub(before)
	n := time.Duration(max(len(l.took), 1))
	return l, usage{own: u.own * 1000 / n, below: u.below * 1000 / n}
}

func (f *front) usage() usage {
	if f.pid == 0 {
		return usage{}
	}
	return usageOf(f.pid)
}

// row is the medians of all rounds. Latencies are set against the upstream's
// own of the same round.
func (f *front) row(direct *front) HTTPRow {
	r := HTTPRow{Name: f.name, Own: f.own, Full: f.full, Hops: f.hopsOf()}
	med := func(of func(run, base *httpRun) float64) float64 {
		v := make([]float64, len(f.runs))
		for i := range f.runs {
			v[i] = of(&f.runs[i], &direct.runs[i])
		}
		return median(v)
	}
	dur := func(of func(run, base *httpRun) time.Duration) time.Duration {
		return time.Duration(med(func(run, base *httpRun) float64 { return float64(of(run, base)) }))
	}
	if f == direct {
		direct = &front{runs: make([]httpRun, len(f.runs))}
	}
	r.Added.P50 = dur(func(run, base *httpRun) time.Duration { return run.latency.P50 - base.latency.P50 })
	r.Added.P99 = dur(func(run, base *httpRun) time.Duration { return run.latency.P99 - base.latency.P99 })
	r.Requests = med(func(run, _ *httpRun) float64 { return run.requests })
	r.Streams = med(func(run, _ *httpRun) float64 { return run.streams })
	r.RequestCPU = dur(func(run, _ *httpRun) time.Duration { return run.perRequest.own })
	r.RequestBelow = dur(func(run, _ *httpRun) time.Duration { return run.perRequest.below })
	r.StreamCPU = dur(func(run, _ *httpRun) time.Duration { return run.perOne.own })
	r.StreamBelow = dur(func(run, _ *httpRun) time.Duration { return run.perOne.below })
	for _, run := range f.runs {
		r.Streamed, r.Cut = r.Streamed+run.streamed, r.Cut+run.cut
		if r.Failed += run.failed; r.Fault == nil {
			r.Fault = run.fault
		}
	}
	if f.pid != 0 {
		r.Peak, r.PeakBelow = peakOf(f.pid)
	}
	return r
}
