package engine

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/sluicehq/sluice/workers/adapter"
)

// maxRefusal bounds what is read of an answer other than 2xx.
const maxRefusal = 64 << 10

// call is a running attempt. It lives in one goroutine.
type call struct {
	*Call
	e       *Endpoint
	parent  context.Context
	start   time.Time
	body    sentBody
	out     Outcome
	asked   adapter.Request
	sum     adapter.Answer // what is known of the usage
	ready   [][]byte       // events that Emit has not had yet
	emitted int            // events, those among them
	deaf    bool           // Emit has failed, or had its last
}

// Do makes one attempt and returns when it is over. It never retries.
func (e *Endpoint) Do(ctx context.Context, c *Call) (out *Outcome) {
	r := &call{Call: c, e: e, parent: ctx, start: time.Now()}
	defer func() {
		if recover() != nil { // a codec's or a transport's fault; its value may quote the answer
			r.fail(adapter.Fail(wire.CodeInternal, "the call ended in an internal error: please report it"))
		}
		r.settle()
		out = &r.out
	}()
	r.run()
	return out
}

func (r *call) run() {
	if r.Meta.Expired(r.start) {
		r.stopped(errDeadline)
		return
	}
	if r.parent.Err() != nil {
		r.stopped(context.Cause(r.parent))
		return
	}
	if m := r.e.upstream; m != nil && !m[r.Model] {
		r.fail(adapter.Fail(wire.CodeModelNotFound, "the pool no longer offers the model: check the pool's models"))
		return
	}
	r.asked = r.Call.asked(r.start)
	enc, f := r.e.codec.Encode(r.asked)
	if f != nil {
		r.fail(f)
		return
	}
	ctx, w := newWatch(r.parent, r.start, r.e.cfg.Timeout, r.Meta.Deadline)
	defer w.stop()
	if enc.Stream {
		w.allow(r.e.cfg.HeaderTimeout, errHeader)
	}
	resp, err := r.e.transport.RoundTrip(r.e.request(ctx, r.Call, enc, &r.body))
	if err != nil {
		r.body.failed(err)
		r.broken(ctx, err, wire.CodeConnection)
		return
	}
	defer closeBody(resp.Body)
	r.answer(ctx, w, enc, resp)
}

// answer takes the provider's answer, of whichever kind it is.
func (r *call) answer(ctx context.Context, w *watch, enc adapter.Encoded, resp *http.Response) {
	r.out.HTTP = resp.StatusCode
	r.out.Limits = adapter.LimitsOf(resp.Header, time.Now())
	switch {
	case resp.StatusCode < 200 || resp.StatusCode > 299:
		r.refused(ctx, w, resp)
	case enc.Stream && mediaType(resp.Header) != "application/json":
		w.allow(r.e.cfg.IdleTimeout, errIdle)
		r.stream(ctx, w, resp.Body, mediaType(resp.Header) == "application/vnd.amazon.eventstream")
	default:
		if enc.Stream {
			w.allow(r.e.cfg.IdleTimeout, errIdle)
		} else {
			r.out.TTFT = time.Since(r.start)
		}
		r.whole(ctx, enc, resp)
	}
}

// mediaType is the type of the answer, "" if it says none.
func mediaType(h http.Header) string {
	t, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil {
		return ""
	}
	return t
}

// whole takes an answer that is not streamed.
func (r *call) whole(ctx context.Context, enc adapter.Encoded, resp *http.Response) {
	body, err := readAll(resp.Body, r.e.cfg.MaxAnswer, resp.ContentLength)
	if len(body) > r.e.cfg.MaxAnswer {
		r.sum.Text = len(body)
		r.tooLarge()
		return
	}
	if err != nil {
		r.sum.Text = len(body)
		r.broken(ctx, err, wire.CodeConnection)
		return
	}
	body, sum, f := r.e.codec.Decode(r.asked, body)
	r.sum = sum
	switch {
	case f != nil:
		r.fail(f)
	case enc.Stream:
		r.fail(adapter.Fail(wire.CodeStreamGarbled, "the provider answered a request for a stream with a whole answer: it cannot stream %s", r.Meta.Endpoint))
	default:
		r.out.Body = body
		if r.Emit != nil {
			r.emit(body)
		}
		if r.handOn(true) {
			r.out.Status = wire.Succeeded
		}
	}
}

// readAll reads at most limit+1 bytes. hint is the expected length, or -1.
func readAll(src io.Reader, limit int, hint int64) ([]byte, error) {
	buf := make([]byte, 0, min(max(int(hint), 511), limit)+1)
	for {
		n, err := src.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if err == io.EOF {
			return buf, nil
		}
		if err != nil || len(buf) > limit {
			return buf, err
		}
		if len(buf) == cap(buf) {
			grown := make([]byte, len(buf), min(2*cap(buf), limit+1))
			copy(grown, buf)
			buf = grown
		}
	}
}

// refused takes an answer other than 2xx.
func (r *call) refused(ctx context.Context, w *watch, resp *http.Response) {
	w.allow(r.e.cfg.IdleTimeout, errIdle)
	body, err := readAll(resp.Body, maxRefusal, resp.ContentLength)
	if err != nil && ctx.Err() != nil && context.Cause(ctx) != errIdle { // a status alone says enough
		r.broken(ctx, err, wire.CodeConnection)
		return
	}
	if len(body) > maxRefusal {
		body = body[:maxRefusal]
	}
	r.body.taken.Store(false) // what is refused is not billed
	r.fail(r.e.codec.Classify(adapter.Refusal{Status: resp.StatusCode, Header: resp.Header, Body: body, Now: time.Now()}))
}

// broken tells why a call was cut: by its context, or by the connection.
func (r *call) broken(ctx context.Context, err error, code wire.Code) {
	if ctx.Err() != nil {
		r.stopped(context.Cause(ctx))
		return
	}
	if code == wire.CodeStreamTruncated {
		r.fail(adapter.Fail(code, "the stream ended without its finish marker (%s)", reason(err)))
		return
	}
	r.fail(adapter.Fail(code, "the connection to the provider failed (%s): check the pool's base_url and the network", reason(err)))
}

// reason names an error of the network without addresses (I5).
func reason(err error) string {
	var errno syscall.Errno
	var dns *net.DNSError
	var alert tls.AlertError
	var verify *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	switch {
	case errors.As(err, &errno):
		return errno.Error()
	case errors.As(err, &dns):
		return "host not found"
	case errors.As(err, &verify), errors.As(err, &authority):
		return "certificate not trusted"
	case errors.As(err, &alert):
		return "TLS refused"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "closed by the provider"
	}
	if t, ok := err.(interface{ Timeout() bool }); ok && t.Timeout() {
		return "time-out"
	}
	return "connection broken"
}

// stopped ends the call for a reason that is not the provider's answer.
func (r *call) stopped(cause error) {
	var f *adapter.Failure
	status := wire.Failed
	limits := r.e.cfg
	switch {
	case errors.Is(cause, errTimeout):
		f = adapter.Fail(wire.CodeTimeout, "the call took longer than the pool's timeout of %s", limits.Timeout)
	case errors.Is(cause, errHeader):
		f = adapter.Fail(wire.CodeTimeout, "the provider did not begin to answer within %s", limits.HeaderTimeout)
	case errors.Is(cause, errIdle):
		f = adapter.Fail(wire.CodeTimeout, "the provider sent nothing for %s in the middle of its answer", limits.IdleTimeout)
	case errors.Is(cause, errDeadline), errors.Is(cause, context.DeadlineExceeded):
		status = wire.Expired
		f = adapter.Fail(wire.CodeDeadline, "the job's deadline passed before the answer was there")
	default:
		status = wire.Cancelled
		f = adapter.Fail(wire.CodeCancelled, "the call was cancelled")
	}
	r.fail(f)
	r.out.Status = status
}

func (r *call) tooLarge() {
	r.fail(adapter.Fail(wire.CodeTooLarge, "the answer has more than %d bytes: lower max_tokens or split the request", r.e.cfg.MaxAnswer))
}

// fail records a failure and tells a reader of the stream.
func (r *call) fail(f *adapter.Failure) {
	o := &r.out
	o.Status, o.Verdict, o.RetryAfter, o.Body = wire.Failed, f.Verdict, f.RetryAfter, nil
	o.Err = &wire.Error{Code: f.Err.Code, Param: f.Err.Param, Message: "pool " + r.e.cfg.Pool + ": " + f.Err.Message}
	if r.e.cfg.ErrorDetail && f.Detail != "" {
		o.Err.Message += ": " + r.e.clean(f.Detail)
	}
}

// clean cuts the provider's words to 500 bytes and takes the key out, and the
// parts of a key that has some.
func (e *Endpoint) clean(detail string) string {
	if e.cfg.APIKey != "" {
		detail = strings.ReplaceAll(detail, e.cfg.APIKey, "[key]")
	}
	if e.signer != nil {
		for part := range strings.FieldsFuncSeq(e.cfg.APIKey, func(c rune) bool { return c == ':' || c == '@' }) {
			detail = strings.ReplaceAll(detail, part, "[key]")
		}
	}
	if len(detail) > 500 {
		detail = strings.ToValidUTF8(detail[:500], "") + "…"
	}
	return detail
}

// emit has an event handed on with those that came with it.
func (r *call) emit(event []byte) {
	r.emitted++
	r.ready = append(r.ready, event)
}

// handOn hands on what is ready, and reports whether the call may go on.
func (r *call) handOn(last bool) bool {
	if len(r.ready) == 0 {
		return !r.deaf
	}
	events := r.ready
	r.ready = r.ready[:0]
	err := r.Emit(events, last)
	clear(events)
	if err != nil {
		r.deaf = true
		r.fail(adapter.Fail(wire.CodeInternal, "the chunks of the answer could not be published"))
		return false
	}
	r.deaf = last // it has been said (I2)
	return true
}

// settle completes the outcome: the end of the stream, the usage, the time.
func (r *call) settle() {
	o := &r.out
	if o.Status != wire.Succeeded && r.emitted > 0 && !r.deaf {
		defer func() { _ = recover() }() // Emit's own fault must not escape Do (I1)
		r.deaf = true
		_ = r.Emit(append(r.ready, o.Err.Body()), true) // the outcome is settled: an error changes nothing
	}
	if r.sum.Reported || r.body.taken.Load() {
		o.Usage, o.Source = adapter.UsageOf(r.sum, len(r.Body))
	} else {
		o.Source = wire.UsageEstimated // nothing was sent, or it was refused
	}
	o.Latency = time.Since(r.start)
}

func closeBody(b io.Closer) { _ = b.Close() } // nothing hangs on it: the answer is read, or lost
