package engine

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/sluicehq/sluice/sdk/wire"
)

// wireConn is a connection to a provider that keeps what is written, and
// answers the first of it.
type wireConn struct {
	net.Conn // the end that the provider's answer comes from
	provider net.Conn
	writes   []string
	fail     error // instead of a write
}

const sentAnswer = `{"choices":[{"index":0,"message":{"role":"assistant","content":"a"},"finish_reason":"stop"}]}`

func (c *wireConn) Write(p []byte) (int, error) {
	if c.fail != nil {
		return 0, c.fail
	}
	c.writes = append(c.writes, string(p))
	if bytes.HasSuffix(p, []byte("}")) {
		go func() { // ends when the transport has read it, or closed the pipe
			_, _ = c.provider.Write([]byte("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n" + sentAnswer))
			_ = c.provider.Close()
		}()
	}
	return len(p), nil
}

func call1(t *testing.T, c *wireConn) *Outcome {
	t.Helper()
	c.Conn, c.provider = net.Pipe()
	defer func() { _ = c.provider.Close() }()
	e, err := New(Config{Pool: "p", Adapter: "openai", BaseURL: "http://provider.example/v1"})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	e.transport.(*http.Transport).DialContext = func(context.Context, string, string) (net.Conn, error) { return c, nil }
	return e.Do(t.Context(), &Call{Meta: &wire.Meta{Tenant: "a", ID: "j", Endpoint: wire.ChatCompletions}, Model: "m", Attempt: 1,
		Body: []byte(`{"model":"chat","messages":[{"role":"user","content":"` + strings.Repeat("lorem ", 200) + `"}]}`)})
}

// TestOneWrite: a request's header and body go together, since each write wakes
// up the provider.
func TestOneWrite(t *testing.T) {
	c := &wireConn{}
	o := call1(t, c)
	if o.Status != wire.Succeeded || len(c.writes) != 1 || !strings.HasPrefix(c.writes[0], "POST /v1/chat/completions") {
		t.Errorf("%+v, %d writes: %.40q", o, len(c.writes), c.writes)
	}
	if o.Usage.Input == 0 {
		t.Errorf("usage %+v of a request that was sent", o.Usage)
	}
}

// TestNothingWritten: a call whose connection took nothing costs nothing, as far
// as net/http tells the two apart.
func TestNothingWritten(t *testing.T) {
	o := call1(t, &wireConn{fail: errors.New("broken pipe")})
	if o.Status != wire.Failed || o.Err.Code != wire.CodeConnection || o.Usage != (wire.Usage{}) {
		t.Errorf("%+v: %v", o, o.Err)
	}
}
