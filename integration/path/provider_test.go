package path

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

// reply is what the scripted provider answers. The zero value is a short
// whole answer, at once.
type reply struct {
	status int
	body   string
	delay  time.Duration // before the header
	header http.Header
	events []string      // a stream: each event's data
	every  time.Duration // before each event
	burst  int           // that many events at a time: only the first of them waits; 0: all wait
	joined bool          // a burst comes in one read
	cut    bool          // the stream ends before its last events
	err    error         // instead of an answer
}

// call is one call that the provider has seen.
type call struct {
	Key     string // Idempotency-Key
	Body    string
	At      time.Time
	Stopped time.Time // when the caller gave up, zero: it did not
}

// script is a provider that answers as it is told, and counts.
type script struct {
	mu      sync.Mutex
	calls   []*call
	running int
	most    int // calls at once
	reply   func(n int, body string) reply
}

// always makes a provider that answers the same to everyone.
func always(rep reply) *script { return &script{reply: func(int, string) reply { return rep }} }

// answer is a chat completion with the given words: 10 tokens in, 3 out.
func answer(text string) string {
	return fmt.Sprintf(`{"id":"c1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":%q},"finish_reason":"stop"}],"usage":{"prompt_tokens":10,"completion_tokens":3,"total_tokens":13}}`, text)
}

// words is a streamed chat completion of one event per word, a finish event
// and one with the usage.
func words(ws ...string) []string {
	const head = `{"id":"c1","object":"chat.completion.chunk","created":1,"model":"m","choices":[`
	var out []string
	for _, w := range ws {
		out = append(out, fmt.Sprintf(head+`{"index":0,"delta":{"content":%q},"finish_reason":null}]}`, w))
	}
	return append(out, head+`{"index":0,"delta":{},"finish_reason":"stop"}]}`,
		head+`],"usage":{"prompt_tokens":10,"completion_tokens":3,"total_tokens":13}}`)
}

// RoundTrip implements http.RoundTripper.
func (s *script) RoundTrip(r *http.Request) (*http.Response, error) {
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	c := &call{Key: r.Header.Get("Idempotency-Key"), Body: string(raw), At: time.Now()}
	s.mu.Lock()
	s.calls = append(s.calls, c)
	n := len(s.calls)
	s.running++
	s.most = max(s.most, s.running)
	s.mu.Unlock()
	rep := reply{}
	if s.reply != nil {
		rep = s.reply(n, c.Body)
	}
	if err := s.wait(r, c, rep.delay); err != nil {
		s.done()
		return nil, err
	}
	if rep.err != nil {
		s.done()
		return nil, rep.err
	}
	if rep.status == 0 {
		rep.status = http.StatusOK
	}
	header := http.Header{"Content-Type": {"application/json"}}
	if rep.events != nil {
		header.Set("Content-Type", "text/event-stream")
		resp := &http.Response{StatusCode: rep.status, Header: header, Request: r, ContentLength: -1}
		resp.Body = &stream{s: s, r: r, c: c, rep: rep}
		return resp, nil
	}
	for k, v := range rep.header {
		header[k] = v
	}
	if rep.body == "" && rep.status == http.StatusOK {
		rep.body = answer("hello")
	}
	s.done()
	return &http.Response{StatusCode: rep.status, Header: header, Body: io.NopCloser(strings.NewReader(rep.body)),
		ContentLength: int64(len(rep.body)), Request: r}, nil
}

// wait lets time pass, until the caller gives up.
func (s *script) wait(r *http.Request, c *call, d time.Duration) error {
	if d == 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-r.Context().Done():
		s.mu.Lock()
		defer s.mu.Unlock()
		c.Stopped = time.Now()
		return r.Context().Err()
	}
}

func (s *script) done() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running--
}

// stream is a body of server-sent events.
type stream struct {
	s    *script
	r    *http.Request
	c    *call
	rep  reply
	next int
	buf  string
	once sync.Once
}

func (b *stream) Read(p []byte) (int, error) {
	for b.buf == "" || b.rep.joined && b.next%b.rep.burst != 0 && b.next <= len(b.rep.events) {
		switch {
		case b.next < len(b.rep.events):
			if b.rep.burst == 0 || b.next%b.rep.burst == 0 {
				if err := b.s.wait(b.r, b.c, b.rep.every); err != nil {
					return 0, err
				}
			}
			b.buf += "data: " + b.rep.events[b.next] + "\n\n"
		case b.rep.cut:
			return 0, io.ErrUnexpectedEOF
		case b.next == len(b.rep.events):
			b.buf += "data: [DONE]\n\n"
		default:
			return 0, io.EOF
		}
		b.next++
	}
	n := copy(p, b.buf)
	b.buf = b.buf[n:]
	return n, nil
}

func (b *stream) Close() error { b.once.Do(b.s.done); return nil }

func (s *script) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.calls)
}

// seen is a copy of the calls so far.
func (s *script) seen() []call {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []call
	for _, c := range s.calls {
		out = append(out, *c)
	}
	return out
}

// atOnce is the most calls that ran at the same time.
func (s *script) atOnce() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.most
}
