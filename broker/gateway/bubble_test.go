package gateway

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
)

// pipes is a listener without a network.
type pipes struct {
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error { p.once.Do(func() { close(p.done) }); return nil }

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes", Net: "pipe"} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case p.conns <- theirs:
		return ours, nil
	case <-p.done:
		return nil, errors.New("connection refused")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// bubble is a gateway that runs under fake time.
type bubble struct {
	t    *testing.T
	b    *broker
	gw   *Gateway
	http *http.Client
	dial func() net.Conn
	stop context.CancelFunc // ends Run
	over chan error         // what Serve returned
}

// inBubble runs a gateway with a scripted broker under fake time.
func inBubble(t *testing.T, play script, test func(*bubble), change ...func(*Config)) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		b := newBroker(t, dir, play)
		p := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
		tr := &http.Transport{DialContext: p.dial}
		ctx, stop := context.WithCancel(t.Context())
		u := &bubble{t: t, b: b, gw: New(b.config(change...)), http: &http.Client{Transport: tr}, stop: stop, over: make(chan error, 1)}
		u.dial = func() net.Conn {
			c, err := p.dial(ctx, "", "")
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
		var all sync.WaitGroup
		all.Go(func() { u.over <- u.gw.Serve(ctx, p) })
		test(u)
		tr.CloseIdleConnections()
		stop()
		all.Wait()
		b.stop()
	})
}

// send starts a request and returns its answer.
func (u *bubble) send(body string, headers ...string) *http.Response {
	u.t.Helper()
	r, err := http.NewRequestWithContext(u.t.Context(), http.MethodPost, "http://gateway/v1/chat/completions", strings.NewReader(body))
	if err != nil {
		u.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	res, err := u.http.Do(r)
	if err != nil {
		u.t.Fatal(err)
	}
	return res
}

func (u *bubble) read(res *http.Response) string {
	u.t.Helper()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		u.t.Fatal(err)
	}
	_ = res.Body.Close()
	return string(data)
}

// after is the script that answers after a while.
func after(d time.Duration, then script) script {
	return func(b *broker, job wire.Job) {
		b.claim(job, 1)
		select {
		case <-time.After(d):
			then(b, job)
		case <-b.done:
		}
	}
}

func TestHeartbeats(t *testing.T) {
	chunks := []string{opening, delta("a"), doneSSE}
	inBubble(t, after(time.Hour, answer(completion("a"), chunks...)), func(u *bubble) {
		start := time.Now()
		res := u.send(streamBody)
		if d := time.Since(start); res.StatusCode != 200 || d > 31*time.Second {
			t.Errorf("%d after %s: no sign of life", res.StatusCode, d)
		}
		got := u.read(res)
		pings := strings.Count(got, ": ping\n\n")
		if pings < 238 || pings > 240 { // one every 15 s for an hour
			t.Errorf("%d heartbeats in an hour", pings)
		}
		if strings.ReplaceAll(got, ": ping\n\n", "") != sse(chunks...) {
			t.Errorf("events: %s", got[max(0, len(got)-400):])
		}
	})
}

func TestNoHeartbeatsWhileChunksCome(t *testing.T) {
	inBubble(t, func(b *broker, job wire.Job) {
		b.claim(job, 1)
		for i := range 60 {
			b.chunks(job, 1, i, false, delta("a"))
			time.Sleep(5 * time.Second)
		}
		b.chunks(job, 1, 60, true, doneSSE)
		b.succeed(job, 1, completion("a"))
	}, func(u *bubble) {
		if got := u.read(u.send(streamBody)); strings.Contains(got, "ping") || !strings.HasSuffix(got, sse(doneSSE)) {
			t.Errorf("%s", got[max(0, len(got)-400):])
		}
	})
}

// TestBurstIsNotHeldBack: events of one moment are one packet or few, and the
// client has the last of them long before the next come.
func TestBurstIsNotHeldBack(t *testing.T) {
	var first []string
	for range 30 {
		first = append(first, delta("a"))
	}
	inBubble(t, func(b *broker, job wire.Job) {
		b.claim(job, 1)
		for i, d := range first {
			b.chunks(job, 1, i, false, d)
			time.Sleep(100 * time.Microsecond)
		}
		time.Sleep(10 * time.Second)
		b.chunks(job, 1, len(first), true, doneSSE)
		b.succeed(job, 1, completion("a"))
	}, func(u *bubble) {
		start, reads := time.Now(), 0
		res := u.send(streamBody)
		defer func() { _ = res.Body.Close() }()
		got := make([]byte, 0, 1<<20)
		for len(got) < len(sse(first...)) {
			n, err := res.Body.Read(got[len(got):cap(got)])
			if reads++; err != nil {
				u.t.Fatalf("%d bytes and %v", len(got), err)
			}
			got = got[:len(got)+n]
		}
		if d := time.Since(start); string(got) != sse(first...) || d > time.Second {
			t.Errorf("after %s: %s", d, got)
		}
		if reads > 10 { // 3 ms of events, and buffers of 2 and 4 KiB
			t.Errorf("%d events came in %d pieces", len(first), reads)
		}
		if rest := u.read(res); rest != sse(doneSSE) {
			t.Errorf("then %q", rest)
		}
	})
}

// TestMomentIsOnePacket: an answer that is there at once is one packet, with its
// header and its end, and the connection takes another request much later.
func TestMomentIsOnePacket(t *testing.T) {
	chunks := []string{opening, delta(strings.Repeat("a", 3000)), doneSSE}
	inBubble(t, answer(completion("a"), chunks...), func(u *bubble) {
		c := u.dial()
		defer func() { _ = c.Close() }()
		for range 2 {
			if _, err := io.WriteString(c, "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: "+strconv.Itoa(len(streamBody))+"\r\n\r\n"+streamBody); err != nil {
				t.Fatal(err)
			}
			buf := make([]byte, 64<<10)
			n, err := c.Read(buf)
			if got := string(buf[:n]); err != nil || !strings.HasPrefix(got, "HTTP/1.1 200 OK\r\n") || !strings.HasSuffix(got, sse(chunks...)+"\r\n0\r\n\r\n") {
				t.Errorf("%v, first packet %q", err, got)
			}
			time.Sleep(70 * time.Second) // longer than a write may take
		}
	})
}

func TestErrorAfterAHeartbeat(t *testing.T) {
	inBubble(t, after(time.Minute, fail(wire.Errorf(wire.CodeContentFilter, "", "no"), 400)), func(u *bubble) {
		res := u.send(streamBody)
		got := strings.ReplaceAll(u.read(res), ": ping\n\n", "")
		if res.StatusCode != 200 || !strings.HasPrefix(got, `data: {"error":`) || !strings.Contains(got, "content_filter") {
			t.Errorf("%d %s", res.StatusCode, got)
		}
	})
}

func TestLongWait(t *testing.T) {
	inBubble(t, after(20*time.Minute, answer(completion("at last"))), func(u *bubble) {
		res := u.send(chatBody)
		if got := u.read(res); res.StatusCode != 200 || got != completion("at last") {
			t.Errorf("%d %s", res.StatusCode, got)
		}
	})
}

func TestStopLetsRequestsFinish(t *testing.T) {
	inBubble(t, after(8*time.Second, answer(completion("just in time"))), func(u *bubble) {
		time.AfterFunc(time.Second, u.stop)
		res := u.send(chatBody)
		if got := u.read(res); res.StatusCode != 200 || got != completion("just in time") {
			t.Errorf("%d %s", res.StatusCode, got)
		}
		if err := <-u.over; err != nil {
			t.Error(err)
		}
		u.over <- nil
	})
}

func TestStopCutsOffWhatTakesTooLong(t *testing.T) {
	inBubble(t, hang, func(u *bubble) {
		start := time.Now()
		time.AfterFunc(time.Second, u.stop)
		var all sync.WaitGroup
		for _, name := range []string{"", "named"} {
			all.Go(func() {
				var headers []string
				if name != "" {
					headers = []string{"Idempotency-Key", name}
				}
				res := u.send(chatBody, headers...)
				got := u.read(res)
				id := res.Header.Get("Sluice-Job")
				if res.StatusCode != 503 || res.Header.Get("Retry-After") == "" || !strings.Contains(got, "stopping") {
					t.Errorf("%d %s", res.StatusCode, got)
				}
				// Who chose the ID can come back for the answer.
				if want := name == ""; u.b.wasCancelled(id) != want {
					t.Errorf("job %q cancelled: %v, want %v", id, !want, want)
				}
			})
		}
		all.Wait()
		<-u.over
		if d := time.Since(start); d < 11*time.Second || d > 15*time.Second {
			t.Errorf("stopped after %s", d)
		}
	})
}

func TestClientThatNeverReadsIsGone(t *testing.T) {
	pad := strings.Repeat("x", 8000)
	inBubble(t, func(b *broker, job wire.Job) {
		b.claim(job, 1)
		for i := range 100 {
			b.chunks(job, 1, i, false, delta(pad))
		}
	}, func(u *bubble) {
		c := u.dial()
		defer func() { _ = c.Close() }()
		if _, err := io.WriteString(c, "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: "+strconv.Itoa(len(streamBody))+"\r\n\r\n"+streamBody); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute) // and nothing is read
		if n := u.gw.flying.Load(); n != 0 {
			t.Errorf("%d requests under way still", n)
		}
		if id := u.b.newest().ID; !u.b.wasCancelled(id) {
			t.Error("its job goes on (I4)")
		}
	})
}

func TestBodyThatNeverComes(t *testing.T) {
	inBubble(t, hang, func(u *bubble) {
		c := u.dial()
		defer func() { _ = c.Close() }()
		if _, err := io.WriteString(c, "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 75\r\n\r\n{"); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if d := time.Since(start); res.StatusCode != 400 || d != time.Minute || u.b.count() != 0 {
			t.Errorf("%d after %s, %d jobs (I1)", res.StatusCode, d, u.b.count())
		}
	})
}
