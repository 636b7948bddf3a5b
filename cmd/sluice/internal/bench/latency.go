package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/sluicehq/sluice/sdk"
	"github.com/sluicehq/sluice/sdk/wire"
)

// Latencies are what the broker adds: times from just before the publish.
type Latencies struct {
	Jobs   int
	Result Quantiles // until the client has the result of a whole answer
	Chunk  Quantiles // until the client has the first chunk of a streamed one
}

// Quantiles of some durations.
type Quantiles struct{ P50, P99 time.Duration }

func quantiles(d []time.Duration) Quantiles {
	if len(d) == 0 {
		return Quantiles{}
	}
	slices.Sort(d)
	return Quantiles{P50: d[len(d)/2], P99: d[min(len(d)*99/100, len(d)-1)]}
}

// Latency submits jobs at a steady rate per second, every second one streamed,
// to a simulated pool that answers at once.
func Latency(ctx context.Context, rate int, d time.Duration) (*Latencies, error) {
	s, err := Start(ctx, fmt.Sprintf(fastPools, 64), true)
	if err != nil {
		return nil, err
	}
	l, err := s.latency(ctx, rate, d)
	return l, errors.Join(err, s.Stop())
}

// warmUp is not counted.
const warmUp = 500 * time.Millisecond

func (s *System) latency(ctx context.Context, rate int, d time.Duration) (*Latencies, error) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	var results, chunks []time.Duration
	var failed error
	body := Prompt(1024)
	tick := time.NewTicker(time.Second / time.Duration(rate))
	defer tick.Stop()
	begin := time.Now()
	n := 0
	for ; time.Since(begin) < d+warmUp && ctx.Err() == nil; n++ {
		<-tick.C
		warm := time.Since(begin) < warmUp
		stream := n%2 == 1
		wg.Go(func() {
			took, err := s.one(ctx, body, stream)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err != nil:
				failed = err
			case warm:
			case stream:
				chunks = append(chunks, took)
			default:
				results = append(results, took)
			}
		})
	}
	wg.Wait()
	return &Latencies{Jobs: n, Result: quantiles(results), Chunk: quantiles(chunks)}, errors.Join(failed, ctx.Err())
}

// one runs a job and returns the time to its result, or to its first chunk.
func (s *System) one(ctx context.Context, body []byte, stream bool) (time.Duration, error) {
	begin := time.Now()
	h, err := s.Client.Submit(ctx, sdk.Job{Class: wire.Interactive, Body: body, Stream: stream})
	if err != nil {
		return 0, err
	}
	if stream {
		for _, err := range h.Chunks(ctx) {
			return time.Since(begin), err
		}
		return 0, errors.New("a streamed answer had no chunk")
	}
	res, err := h.Wait(ctx)
	if err == nil && res.Err != nil {
		err = res.Err
	}
	return time.Since(begin), err
}
