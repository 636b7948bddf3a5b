package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluicehq/sluice/sdk/ledger"
)

// loader asks one front for answers and checks each.
type loader struct {
	url    string
	header http.Header
	client *http.Client
	seen   func(job string, begin, end time.Time) // hears of every whole answer; nil: nobody does
}

func newLoader(url string, header http.Header) *loader {
	return &loader{url: url + "/v1/chat/completions", header: header,
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1024, DisableCompression: true}}}
}

func (l *loader) close() { l.client.CloseIdleConnections() }

// ask sends one request and reads the answer to its end.
func (l *loader) ask(ctx context.Context, body []byte, stream bool) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, l.url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	for name, v := range l.header {
		req.Header[name] = v
	}
	req.Header.Set("Content-Type", "application/json")
	begin := time.Now()
	res, err := l.client.Do(req)
	if err != nil {
		return err
	}
	answer, err := io.ReadAll(res.Body)
	if err = errors.Join(err, res.Body.Close()); err != nil {
		return fmt.Errorf("the answer broke off: %w", err)
	}
	if words := bytes.Count(answer, []byte(upstreamWord)); res.StatusCode != http.StatusOK || words != upstreamWords {
		return fmt.Errorf("status %d with %d of %d words: %.200q", res.StatusCode, words, upstreamWords, answer)
	}
	if stream && !bytes.HasSuffix(bytes.TrimSpace(answer), []byte("data: [DONE]")) {
		return fmt.Errorf("the stream has no end: %.200q", answer[max(0, len(answer)-200):])
	}
	if l.seen != nil {
		l.seen(res.Header.Get("Sluice-Job"), begin, time.Now())
	}
	return nil
}

// load is what some time of asking came to.
type load struct {
	took   []time.Duration // of each answer
	failed int
	fault  error // of the first that failed
	begin  time.Time
	end    time.Time // of the last answer
}

// rate is answers per second.
func (l *load) rate() float64 { return float64(len(l.took)) / l.end.Sub(l.begin).Seconds() }

// counter collects answers of several goroutines.
type counter struct {
	mu sync.Mutex
	load
}

func (c *counter) count(took time.Duration, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.end = time.Now(); err == nil {
		c.took = append(c.took, took)
	} else if c.failed++; c.fault == nil {
		c.fault = err
	}
}

// unanswered is how long after the last request of steady an answer may come.
const unanswered = 10 * time.Second

// steady sends rate requests a second, whether or not earlier ones have been
// answered.
func (l *loader) steady(ctx context.Context, body []byte, rate int, d time.Duration) load {
	c := &counter{load: load{begin: time.Now()}}
	ctx, cancel := context.WithTimeout(ctx, d+unanswered)
	defer cancel()
	var wg sync.WaitGroup
	for i := range int(d.Seconds() * float64(rate)) {
		if ledger.Pause(ctx, time.Until(c.begin.Add(time.Duration(i)*time.Second/time.Duration(rate)))) != nil {
			break
		}
		wg.Go(func() {
			begin := time.Now()
			err := l.ask(ctx, body, false)
			c.count(time.Since(begin), err)
		})
	}
	wg.Wait()
	return c.load
}

// pressed keeps n connections busy, for d or, if most is above 0, with that many
// requests: each asks again when it has its answer.
func (l *loader) pressed(ctx context.Context, body []byte, stream bool, n int, d time.Duration, most int) load {
	c := &counter{load: load{begin: time.Now()}}
	var asked atomic.Int64
	more := func(at time.Time) bool {
		if most > 0 {
			return asked.Add(1) <= int64(most)
		}
		return at.Sub(c.begin) < d
	}
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			for begin := time.Now(); more(begin) && ctx.Err() == nil; begin = time.Now() {
				err := l.ask(ctx, body, stream)
				c.count(time.Since(begin), err)
				if err != nil && ledger.Pause(ctx, 10*time.Millisecond) != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	return c.load
}
