package fleet

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/sluicehq/sluice/workers/engine"
	"github.com/sluicehq/sluice/workers/simulated"
)

const rollingConfig = `pools:
  - {name: sim, adapter: openai, provider: sim, base_url: "http://{{sim}}/v1", concurrency: 32, models: {m: {price: {input: 1, output: 2}}}}
routes:
  - {model: chat, candidates: [{pool: sim, model: m}]}
`

// heard is what a client was told: the words of the answer and how many tokens
// it is said to have, of which job.
type heard struct {
	job   string
	words int
	usage wire.Usage
}

// ask asks for an answer over HTTP as a client does, whole or as a stream.
func ask(ctx context.Context, addr string, stream bool) (h heard, err error) {
	body := fmt.Sprintf(`{"model":"chat","stream":%t,"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"hi"}]}`, stream)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+addr+"/v1/chat/completions", strings.NewReader(body))
	if err != nil {
		return h, err
	}
	req.Header.Set("Sluice-Tenant", tenant)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return h, err
	}
	defer func() { _ = resp.Body.Close() }() // read to its end, or an error already
	h.job = resp.Header.Get("Sluice-Job")
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(resp.Body)
		return h, fmt.Errorf("status %d: %s", resp.StatusCode, text)
	}
	var text strings.Builder
	over := false
	read := func(data []byte) error {
		var part struct {
			Error   *wire.Error
			Choices []struct{ Message, Delta struct{ Content string } }
			Usage   *struct {
				Output int64 `json:"completion_tokens"`
			}
		}
		if err := json.Unmarshal(data, &part); err != nil || part.Error != nil {
			return fmt.Errorf("told %s: %w", data, err)
		}
		for _, c := range part.Choices {
			text.WriteString(c.Message.Content + c.Delta.Content)
		}
		if part.Usage != nil {
			h.usage.Output, over = part.Usage.Output, true
		}
		return nil
	}
	if !stream {
		var data []byte
		if data, err = io.ReadAll(resp.Body); err == nil {
			err = read(data)
		}
	} else {
		lines, done := bufio.NewScanner(resp.Body), false
		for err == nil && lines.Scan() {
			data, ok := strings.CutPrefix(lines.Text(), "data: ")
			if done = done || data == "[DONE]"; ok && !done {
				err = read([]byte(data))
			}
		}
		if err = errors.Join(err, lines.Err()); err == nil && !done {
			err = errors.New("the stream ends without [DONE]")
		}
	}
	if err == nil && !over {
		err = errors.New("the answer ends without its usage")
	}
	h.words = len(strings.Fields(text.String()))
	return h, err
}

// alive waits until so many processes have said that they are there.
func (f *Fleet) alive(t *testing.T, js jetstream.JetStream, want int) {
	t.Helper()
	var s wire.Subjects
	if err := until(t.Context(), 2*time.Minute, "all processes", func() error {
		kv, err := js.KeyValue(t.Context(), s.Stream(wire.BucketNodes))
		if err != nil {
			return err
		}
		keys, err := kv.Keys(t.Context())
		if err == nil && len(keys) != want {
			err = fmt.Errorf("there are %d of %d", len(keys), want)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

// TestRollingRestartOverHTTP: every router and every worker is stopped by SIGTERM
// and started again, one after the other, while clients call over HTTP: none sees
// an error, no stream is cut, every answer is told whole and is one call to the
// provider.
func TestRollingRestartOverHTTP(t *testing.T) {
	list := []Provider{{Name: "sim", Books: "books", Seed: 3, Manners: Manners{TTFT: 100 * time.Millisecond, Rate: 100}}}
	f, err := newFleet(t.Context(), build(t), Shape{NATS: 1, Routers: 2, Workers: 2}, list, rollingConfig)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if t.Failed() {
			f.logs(t.Output(), 2000)
		}
		if err := f.close(false); err != nil {
			t.Error(err)
		}
	}()
	js, err := f.connect()
	if err != nil {
		t.Fatal(err)
	}
	defer js.Conn().Close()
	if err := f.startRole(t.Context(), kindGateway, 1, rollingConfig); err != nil {
		t.Fatal(err)
	}
	if err := until(t.Context(), 2*time.Minute, "the gateway", func() error { return f.get(t.Context(), "readyz", &struct{}{}) }); err != nil {
		t.Fatal(err)
	}
	f.alive(t, js, 4)

	var clients sync.WaitGroup
	var mu sync.Mutex
	var all []heard
	done := make(chan struct{})
	stop := sync.OnceFunc(func() { close(done); clients.Wait() })
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer func() { cancel(); stop() }() // where the test gives up
	for n := range 6 {
		clients.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				h, err := ask(ctx, f.http, n%2 == 0)
				if err != nil {
					t.Errorf("client %d, job %s: %v", n, h.job, err)
				}
				mu.Lock()
				all = append(all, h)
				mu.Unlock()
			}
		})
	}
	answered := func() int { mu.Lock(); defer mu.Unlock(); return len(all) }
	for _, p := range append(f.of(kindRouter), f.of(kindWorker)...) {
		for before := answered(); ctx.Err() == nil && answered() < before+6; time.Sleep(10 * time.Millisecond) { // there is a load
		}
		p.stop()
		if p.finish(2 * time.Minute) {
			t.Errorf("%s does not stop", p.Name)
		}
		if err := p.start(); err != nil {
			t.Fatal(err)
		}
		f.alive(t, js, 4)
	}
	stop()

	lines, torn, err := simulated.ReadBooks(list[0].Books)
	if err != nil || torn > 0 || len(lines) != len(all) {
		t.Errorf("%d calls are booked (%d torn, %v) for %d answers", len(lines), torn, err, len(all))
	}
	books := map[string]simulated.Line{}
	for _, l := range lines {
		books[l.Key] = l
	}
	for _, h := range all {
		l := books[engine.IdempotencyKey(tenant, h.job, 1)]
		if l.Outcome != "ok" || l.Output != h.usage.Output || int64(h.words) != l.Output || l.Output == 0 {
			t.Errorf("job %s: %d words and %d tokens were told, the provider has %+v", h.job, h.words, h.usage.Output, l)
		}
	}
	t.Logf("%d answers", len(all))
}
