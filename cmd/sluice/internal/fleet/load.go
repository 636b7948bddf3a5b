package fleet

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/sluicehq/sluice/sdk"
	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
)

// load submits jobs at a steady rate and remembers which were accepted.
type load struct {
	clients []*sdk.Client // which take turns
	rate    float64       // jobs per second

	mu       sync.Mutex
	accepted map[string]bool // job ID: its publish was acknowledged
	asked    int             // submissions begun, repeats not counted
	cancels  int             // jobs that were asked to cancel
}

func (l *load) close() {
	for _, c := range l.clients {
		c.Close()
	}
}

// maxSubmitting is how many submissions may wait for their acknowledgement.
const maxSubmitting = 512

// chaosJob is the i-th job of a run: every shape that a job can have.
func chaosJob(seed uint64, i int) (job sdk.Job, cancel bool) {
	r := rand.New(rand.NewPCG(seed, uint64(i)+1_000_000))
	out := 8 + r.IntN(56)
	if r.IntN(40) == 0 {
		out = 400 + r.IntN(800) // runs for seconds: most kills hit such a call
	}
	words := strings.TrimSuffix(strings.Repeat("a ", 5+r.IntN(200)), " ")
	job = sdk.Job{ID: chaosID(i), Class: wire.Classes()[r.IntN(3)], Stream: r.IntN(3) == 0,
		Body: fmt.Appendf(nil, `{"model":"chat","max_tokens":%d,"messages":[{"role":"user","content":"%s"}]}`, out, words)}
	switch r.IntN(20) {
	case 0:
		job.Delay = time.Duration(1+r.IntN(5000)) * time.Millisecond
	case 1:
		job.Timeout = time.Duration(20+r.IntN(100)) * time.Second
	case 2:
		cancel = true
	}
	return job, cancel
}

// chaosID is the job ID of the i-th job.
func chaosID(i int) string { return fmt.Sprintf("c%07dx", i) }

// run submits n jobs; each is tried again under the same ID until it is
// acknowledged.
func (l *load) run(ctx context.Context, seed uint64, n int) error {
	l.accepted = map[string]bool{}
	begin := time.Now()
	slots := make(chan struct{}, maxSubmitting)
	var wg sync.WaitGroup
	defer wg.Wait()
	for i := range n {
		if err := ledger.Pause(ctx, time.Until(begin.Add(time.Duration(float64(i)/l.rate*float64(time.Second))))); err != nil {
			return err
		}
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		wg.Go(func() {
			defer func() { <-slots }()
			l.one(ctx, seed, i)
		})
	}
	return nil
}

// one submits a job until it is acknowledged, and sometimes cancels it.
func (l *load) one(ctx context.Context, seed uint64, i int) {
	job, cancel := chaosJob(seed, i)
	client := l.clients[i%len(l.clients)]
	l.mu.Lock()
	l.asked++
	l.mu.Unlock()
	for ctx.Err() == nil {
		h, err := client.Submit(ctx, job)
		if err != nil {
			_ = ledger.Pause(ctx, 50*time.Millisecond) // the loop's condition sees its end
			continue
		}
		l.mu.Lock()
		l.accepted[job.ID] = true
		if cancel {
			l.cancels++
		}
		l.mu.Unlock()
		if cancel {
			_ = ledger.Pause(ctx, time.Duration(seed+uint64(i)*7919)%(2*time.Second))
			_, _ = h.Cancel(ctx) // the answer may be lost; that the job ends is checked
		}
		return
	}
}
