package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/pprof"
	"slices"
	"time"
)

// Options size the throughput and latency measurements.
type Options struct {
	Rounds      int      // of hop and path in turn; default 3
	Messages    int      // of a hop; default 200,000
	Jobs        int      // of a path; default 80,000
	Concurrency int      // of the simulated pool; default 256
	Rate        int      // jobs per second of the latency run; default 200
	Seconds     int      // of the latency run; default 10
	Profile     string   // file for a CPU profile of the last path; none: not taken
	Command     []string // that runs `sluice`, to measure its start; none: not measured
}

func (o Options) withDefaults() Options {
	def := func(n *int, v int) {
		if *n == 0 {
			*n = v
		}
	}
	def(&o.Rounds, 3)
	def(&o.Messages, 200_000)
	def(&o.Jobs, 80_000)
	def(&o.Concurrency, 256)
	def(&o.Rate, 200)
	def(&o.Seconds, 10)
	return o
}

// PathRun is one measurement of the whole path.
type PathRun struct {
	Rate   float64       // jobs per second, publish to row
	CPU    time.Duration // of this process per 1,000 jobs, client included
	Engine time.Duration // of the ClickHouse process per 1,000 jobs
}

// Run prints jobs per second of the whole path beside one raw JetStream hop,
// measured in turn, then what a start takes and what the broker adds at a
// steady rate. Its last line is `ratio N.NN`, path by hop with awaited
// acknowledgements.
func Run(ctx context.Context, w io.Writer, o Options) error {
	o = o.withDefaults()
	fmt.Fprintf(w, "%d rounds: %d messages of 1 KiB over one JetStream hop (64 publishers that wait for each acknowledgement),\n"+
		"the same pipelined (nobody waits), and %d jobs of 1 KiB over the whole path\n", o.Rounds, o.Messages, o.Jobs)
	var hops, pipes, paths []float64
	var cpu, engine []time.Duration
	for i := range o.Rounds {
		hop, err := Hop(ctx, o.Messages, false)
		if err != nil {
			return err
		}
		pipe, err := Hop(ctx, o.Messages, true)
		if err != nil {
			return err
		}
		var p *PathRun
		if err := Profiled(o.Profile, func() (err error) { p, err = Path(ctx, o.Jobs, o.Concurrency); return err }); err != nil {
			return err
		}
		fmt.Fprintf(w, "round %d  hop %6.0f messages/s   pipelined %6.0f messages/s   path %6.0f jobs/s   CPU %.3f s + ClickHouse %.3f s per 1,000 jobs\n",
			i+1, hop, pipe, p.Rate, p.CPU.Seconds(), p.Engine.Seconds())
		hops, pipes, paths = append(hops, hop), append(pipes, pipe), append(paths, p.Rate)
		cpu, engine = append(cpu, p.CPU), append(engine, p.Engine)
	}
	if len(o.Command) > 0 {
		s, err := MeasureStartup(ctx, o.Command)
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "start: jobs taken after %.0f ms without the engine; ClickHouse answers after %.0f ms with it; idle broker process %d MiB\n",
			ms(s.Jobs), ms(s.Engine), s.Idle>>20)
	}
	l, err := Latency(ctx, o.Rate, time.Duration(o.Seconds)*time.Second)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "latency added at %d jobs/s: result p50 %.2f ms, p99 %.2f ms; first chunk p50 %.2f ms, p99 %.2f ms (%d jobs)\n", o.Rate,
		ms(l.Result.P50), ms(l.Result.P99), ms(l.Chunk.P50), ms(l.Chunk.P99), l.Jobs)
	fmt.Fprintf(w, "median   hop %6.0f messages/s   pipelined %6.0f messages/s   path %6.0f jobs/s   CPU %.3f s + ClickHouse %.3f s per 1,000 jobs\n",
		median(hops), median(pipes), median(paths), median(cpu).Seconds(), median(engine).Seconds())
	fmt.Fprintf(w, "peak memory %d MiB (broker, client and bench in one process; ClickHouse beside it)\n", peakMemory()>>20)
	fmt.Fprintf(w, "path by pipelined hop %.2f\n", median(paths)/median(pipes))
	fmt.Fprintf(w, "ratio %.2f\n", median(paths)/median(hops))
	return nil
}

// Profiled runs f, with a CPU profile of it written to path unless that is
// empty.
func Profiled(path string, f func() error) error {
	if path == "" {
		return f()
	}
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := pprof.StartCPUProfile(file); err != nil {
		return errors.Join(err, file.Close())
	}
	err = f()
	pprof.StopCPUProfile()
	return errors.Join(err, file.Close())
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func median[T float64 | time.Duration](v []T) T {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}

// Path sends n jobs of 1 KiB through the whole path, to rows in ClickHouse.
func Path(ctx context.Context, n, concurrency int) (*PathRun, error) {
	s, err := Start(ctx, fmt.Sprintf(fastPools, concurrency), true)
	if err != nil {
		return nil, err
	}
	begin, cpu, engine := time.Now(), cpuTime(), childrenTime()
	err = s.push(ctx, n)
	thousands := float64(n) / 1000
	run := &PathRun{Rate: float64(n) / time.Since(begin).Seconds(),
		CPU:    time.Duration(float64(cpuTime()-cpu) / thousands),
		Engine: time.Duration(float64(childrenTime()-engine) / thousands)}
	return run, errors.Join(err, s.Stop())
}
