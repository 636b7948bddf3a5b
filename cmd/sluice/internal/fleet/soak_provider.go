package fleet

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/sluicehq/sluice/sdk/ledger"
)

// soakManners are how the provider of a soak can behave: it answers at once,
// when it is let, with many chunks, with far too much, or a byte a second.
func soakManners() []string { return []string{"quick", "gate", "chunks", "huge", "drip"} }

// soakChunks is how many chunks of a KiB the answer has that readers read; the
// last of them come when the gate is open.
const soakChunks, soakLive = 64, 16

// soakProvider answers as the model's name says.
type soakProvider struct {
	srv   *http.Server
	addr  string
	huge  int           // bytes of a huge answer
	gate  chan struct{} // closed: answers are let through
	serve sync.WaitGroup
}

func newSoakProvider() (*soakProvider, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &soakProvider{addr: ln.Addr().String(), gate: make(chan struct{})}
	p.srv = &http.Server{Handler: p, ReadHeaderTimeout: time.Minute}
	p.serve.Go(func() { _ = p.srv.Serve(ln) }) // ends with close
	return p, nil
}

func (p *soakProvider) close() {
	_ = p.srv.Close() // calls under way see it
	p.serve.Wait()
}

const (
	soakWhole = `{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"%s"},"finish_reason":"stop"}],"usage":{"prompt_tokens":10,"completion_tokens":3,"total_tokens":13}}`
	soakChunk = `data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"%s"},"finish_reason":null}]}` + "\n\n"
	soakLast  = `data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":10,"completion_tokens":3,"total_tokens":13}}` + "\n\ndata: [DONE]\n\n"
)

// ServeHTTP implements http.Handler.
func (p *soakProvider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	stream := bytes.Contains(body, []byte(`"stream":true`))
	kib := strings.Repeat("y", 1<<10)
	if stream {
		w.Header().Set("Content-Type", "text/event-stream")
	} else {
		w.Header().Set("Content-Type", "application/json")
	}
	many := func(n int, last string) { // as long as the worker takes them
		for range n {
			if _, err := fmt.Fprintf(w, soakChunk, kib); err != nil {
				return
			}
		}
		_, _ = io.WriteString(w, last)            // as above
		_ = http.NewResponseController(w).Flush() // as above
	}
	switch {
	case bytes.Contains(body, []byte(`"model":"chunks"`)):
		many(soakChunks-soakLive, "")
		select {
		case <-p.gate:
			many(soakLive, soakLast)
		case <-r.Context().Done():
		}
	case bytes.Contains(body, []byte(`"model":"huge"`)) && stream:
		many(p.huge>>10, soakLast)
	case bytes.Contains(body, []byte(`"model":"huge"`)):
		_, _ = fmt.Fprintf(w, soakWhole, strings.Repeat("z", p.huge)) // as above
	case bytes.Contains(body, []byte(`"model":"drip"`)):
		p.drip(w, r)
	case bytes.Contains(body, []byte(`"model":"gate"`)):
		select {
		case <-p.gate:
		case <-r.Context().Done():
			return
		}
		fallthrough
	default:
		_, _ = fmt.Fprintf(w, soakWhole, "hello") // or the worker is gone
	}
}

// drip sends a byte a second of an answer that never ends.
func (p *soakProvider) drip(w http.ResponseWriter, r *http.Request) {
	text := strings.Repeat(fmt.Sprintf(soakChunk, "slow"), 10)
	flush := http.NewResponseController(w)
	for i := range text {
		if _, err := io.WriteString(w, text[i:i+1]); err != nil || flush.Flush() != nil || ledger.Pause(r.Context(), time.Second) != nil {
			return
		}
	}
}
