package engine

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptrace"
	"reflect"
	"sync/atomic"
)

// sentBody is a request body that knows whether any of the request was sent,
// so that a call that never left costs nothing. The transport may read it from
// a goroutine of its own, even after the call.
type sentBody struct {
	bytes.Reader
	taken atomic.Bool
}

// Read implements io.Reader.
func (b *sentBody) Read(p []byte) (int, error) {
	b.taken.Store(true)
	return b.Reader.Read(p)
}

// WriteTo implements io.WriterTo.
func (b *sentBody) WriteTo(w io.Writer) (int64, error) {
	b.taken.Store(true)
	return b.Reader.WriteTo(w)
}

// Close implements io.Closer.
func (b *sentBody) Close() error { return nil }

// in makes b the body of req, whose context is the one returned. net/http's transport sends the header of a
// request on its own, in a packet that the provider's process wakes up for,
// unless it knows the body's type: then it is not seen being read, but tells
// when it begins to write.
func (b *sentBody) in(ctx context.Context, req *http.Request, known bool) context.Context {
	if req.Body = b; known {
		req.Body = io.NopCloser(&b.Reader)
		ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteHeaders: b.wrote})
	}
	return ctx
}

func (b *sentBody) wrote() { b.taken.Store(true) }

// failed takes back what wrote said, if err is net/http's for a request of which
// nothing could be written: its connection was closed while nobody used it.
// That type has no other name.
func (b *sentBody) failed(err error) {
	if reflect.TypeOf(err).String() == "http.nothingWrittenError" {
		b.taken.Store(false)
	}
}
