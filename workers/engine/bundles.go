package engine

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/sluicehq/sluice/sdk/wire/jsonscan"
	"github.com/sluicehq/sluice/workers/adapter"
)

// Bundle is what the provider says of a bundle: jobs that went to its own batch
// API together.
type Bundle = adapter.Bundle

// Bounds of what is asked about bundles. An upload may take bundleTimeout, all
// else askTimeout.
const (
	bundleTimeout = 15 * time.Minute
	askTimeout    = time.Minute
	askBytes      = 8 << 20
	bundlePages   = 50 // of the list that an orphan is looked for in
)

// BundleError is why the provider could not be asked about a bundle.
type BundleError struct {
	*adapter.Failure
	HTTP int // of its answer, 0: none
}

// Error implements error. It has no words of the provider's (I5).
func (e *BundleError) Error() string { return e.Err.Error() }

// Refused reports whether the provider certainly did not do what it was asked.
func (e *BundleError) Refused() bool { return e.HTTP >= 400 && e.HTTP < 500 && e.HTTP != 408 }

// Bundles are the calls to a provider's own batch API. They are safe for
// concurrent use; none is repeated. Errors are *BundleError, or those of the
// functions that they are given.
type Bundles struct {
	e     *Endpoint
	codec adapter.Bundles
}

// Bundles is the endpoint's batch API; false if its adapter has none.
func (e *Endpoint) Bundles() (*Bundles, bool) {
	c, ok := adapter.BundlesOf(e.cfg.Adapter)
	return &Bundles{e: e, codec: c}, ok
}

// Files reports whether a bundle is uploaded before it begins.
func (b *Bundles) Files() bool { return b.codec.Files() }

// Line is a job's request as a line of an upload. id is the line's own.
func (b *Bundles) Line(id string, c *Call) ([]byte, *adapter.Failure) {
	if m := b.e.upstream; m != nil && !m[c.Model] {
		return nil, b.e.named(adapter.Fail(wire.CodeModelNotFound, "the pool no longer offers the model: check the pool's models"))
	}
	enc, f := b.e.codec.Encode(c.asked(time.Now()))
	if f != nil {
		return nil, b.e.named(f)
	}
	return b.codec.Line(id, enc), nil
}

// named is a failure that says whose it is.
func (e *Endpoint) named(f *adapter.Failure) *adapter.Failure {
	g := *f
	g.Err = &wire.Error{Code: f.Err.Code, Param: f.Err.Param, Message: "pool " + e.cfg.Pool + ": " + f.Err.Message}
	return &g
}

// asked is the request that a codec encodes, or has encoded.
func (c *Call) asked(now time.Time) adapter.Request {
	return adapter.Request{Endpoint: c.Meta.Endpoint, Body: c.Body, Model: c.Model, Stream: c.Emit != nil,
		ID: c.Meta.ID + "-" + strconv.Itoa(c.Attempt), Now: now}
}

// Lines calls each with every line of an upload, in order, and stops at its
// first error.
type Lines func(each func(line []byte) error) error

// Upload stores the file that a bundle begins with, and returns its ID. Nothing
// runs, and nothing is charged. Only with Files.
func (b *Bundles) Upload(ctx context.Context, mark string, lines Lines) (file string, err error) {
	raw, err := b.stream(ctx, b.codec.Upload(), mark, lines)
	if err != nil {
		return "", err
	}
	if file = jsonscan.String(jsonscan.Get(raw, "id")); file == "" {
		return "", b.fault(200, "its answer names no file")
	}
	return file, nil
}

// Begin has the provider run a bundle: that of a file, or else of lines.
func (b *Bundles) Begin(ctx context.Context, file string, e wire.Endpoint, mark string, lines Lines) (*Bundle, error) {
	enc := b.codec.Begin(file, e, mark)
	var raw []byte
	var err error
	if b.codec.Files() {
		raw, err = b.ask(ctx, enc)
	} else {
		raw, err = b.stream(ctx, enc, mark, lines)
	}
	return b.read(raw, err)
}

func (b *Bundles) read(raw []byte, err error) (*Bundle, error) {
	if err != nil {
		return nil, err
	}
	x, err := b.codec.Read(raw)
	if err != nil {
		return nil, b.fault(200, err.Error())
	}
	return x, nil
}

// State is how a bundle is doing.
func (b *Bundles) State(ctx context.Context, id string) (*Bundle, error) {
	return b.read(b.ask(ctx, b.codec.State(id)))
}

// Stop asks the provider to end a bundle. What it has run by then is charged.
func (b *Bundles) Stop(ctx context.Context, id string) error {
	_, err := b.ask(ctx, b.codec.Stop(id))
	return err
}

// Since lists the provider's bundles from a time on, the newest first.
func (b *Bundles) Since(ctx context.Context, since time.Time) ([]*Bundle, error) {
	var all []*Bundle
	after := ""
	for range bundlePages {
		raw, err := b.ask(ctx, b.codec.List(after))
		if err != nil {
			return nil, err
		}
		page, more, err := b.codec.ReadList(raw)
		if err != nil {
			return nil, b.fault(200, err.Error())
		}
		for _, x := range page {
			if x.Created.Before(since) {
				return all, nil
			}
			all = append(all, x)
		}
		if !more || len(page) == 0 {
			return all, nil
		}
		after = page[len(page)-1].ID
	}
	return nil, b.fault(200, "it has too many batches to look through")
}

// DropFile deletes an uploaded file: no bundle can begin with it any more. It
// is no error if it is not there.
func (b *Bundles) DropFile(ctx context.Context, file string) error {
	_, err := b.ask(ctx, b.codec.Drop(file))
	var x *BundleError
	if errors.As(err, &x) && x.HTTP == http.StatusNotFound {
		return nil
	}
	return err
}

// Discard deletes what the provider keeps of a bundle that is over.
func (b *Bundles) Discard(ctx context.Context, x *Bundle) error {
	var errs []error
	for _, enc := range b.codec.Discard(x) {
		_, err := b.ask(ctx, enc)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// Results calls each with what became of every line, in any order; lines may be
// missing that were not run. An error of each ends it.
func (b *Bundles) Results(ctx context.Context, x *Bundle, each func(adapter.BundleResult) error) error {
	for _, enc := range b.codec.Results(x) {
		if err := b.resultsOf(ctx, enc, each); err != nil {
			return err
		}
	}
	return nil
}

func (b *Bundles) resultsOf(ctx context.Context, enc adapter.Encoded, each func(adapter.BundleResult) error) error {
	ctx, cancel := context.WithTimeout(ctx, bundleTimeout)
	defer cancel()
	resp, err := b.send(ctx, enc, nil)
	if err != nil {
		return err
	}
	defer closeBody(resp.Body)
	in := bufio.NewReaderSize(resp.Body, 64<<10)
	for {
		line, size, err := readLine(in, b.e.cfg.MaxAnswer)
		if len(line) == 0 && err == io.EOF {
			return nil
		}
		if err != nil && err != io.EOF {
			return b.fault(0, "its results broke off ("+reason(err)+")")
		}
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		r, rerr := b.codec.Result(line)
		if size > len(line) { // its ID stands at the beginning
			r, rerr = adapter.BundleResult{ID: jsonscan.String(jsonscan.Get(append(line[:min(len(line), 1<<10):1<<10], '}'), "custom_id")), Status: http.StatusOK}, nil
		}
		if rerr != nil {
			return b.fault(200, rerr.Error())
		}
		if err := each(r); err != nil {
			return err
		}
	}
}

// readLine reads a line and keeps at most limit bytes of it; size is what it
// has.
func readLine(in *bufio.Reader, limit int) (line []byte, size int, err error) {
	for {
		part, err := in.ReadSlice('\n')
		size += len(part)
		line = append(line, part[:min(len(part), limit-len(line))]...)
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, size, err
		}
	}
}

// Outcome is how the attempt ended that a line's result is of. What was not
// run, or refused, costs nothing.
func (b *Bundles) Outcome(c *Call, res adapter.BundleResult) *Outcome {
	r := &call{Call: c, e: b.e, start: time.Now()}
	r.Call.Emit = nil
	r.asked, r.out.HTTP = c.asked(r.start), res.Status
	switch {
	case res.Status >= 200 && res.Status <= 299 && res.Body == nil:
		r.body.taken.Store(true)
		r.sum.Text = b.e.cfg.MaxAnswer
		r.tooLarge()
	case res.Status >= 200 && res.Status <= 299:
		r.body.taken.Store(true)
		body, sum, f := b.e.codec.Decode(r.asked, res.Body)
		if r.sum = sum; f != nil {
			r.fail(f)
		} else {
			r.out.Body, r.out.Status = body, wire.Succeeded
		}
	default:
		r.fail(b.e.codec.Classify(adapter.Refusal{Status: res.Status, Header: http.Header{}, Body: res.Body, Now: r.start}))
	}
	r.settle()
	return &r.out
}

// Fail is the outcome of a line that was not run, for a reason.
func (b *Bundles) Fail(f *adapter.Failure) *Outcome {
	r := &call{Call: &Call{}, e: b.e, start: time.Now()}
	r.fail(f)
	r.settle()
	return &r.out
}

// fault is an error that is no refusal.
func (b *Bundles) fault(status int, format string) *BundleError {
	return &BundleError{Failure: b.e.named(adapter.Fail(wire.CodeProviderError, "the provider's batch API: %s", format)), HTTP: status}
}

// ask sends a small request and reads the answer.
func (b *Bundles) ask(ctx context.Context, enc adapter.Encoded) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	return b.answer(b.send(ctx, enc, nil))
}

func (b *Bundles) answer(resp *http.Response, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	defer closeBody(resp.Body)
	raw, err := readAll(resp.Body, askBytes, resp.ContentLength)
	if err != nil || len(raw) > askBytes {
		return nil, b.fault(0, "its answer broke off, or is too long")
	}
	return raw, nil
}

// stream sends an upload while its lines are made.
func (b *Bundles) stream(ctx context.Context, enc adapter.Encoded, mark string, lines Lines) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, bundleTimeout)
	defer cancel()
	in, out := io.Pipe()
	made := make(chan error, 1)
	go func() { // ends when the request does: the reader is closed below
		err := b.write(out, mark, lines)
		made <- err
		_ = out.CloseWithError(err) // never fails
	}()
	resp, err := b.send(ctx, enc, in)
	raw, err := b.answer(resp, err)
	_ = in.CloseWithError(errCut) // never fails
	// The transport closes what it reads from when it is through with it.
	if lerr := <-made; lerr != nil && !errors.Is(lerr, errCut) && !errors.Is(lerr, io.ErrClosedPipe) {
		return nil, fmt.Errorf("the lines of a bundle: %w", lerr) // and the upload was cut off in its middle
	}
	return raw, err
}

var errCut = errors.New("the upload was cut off")

func (b *Bundles) write(out io.Writer, mark string, lines Lines) error {
	w := bufio.NewWriterSize(out, 64<<10)
	between := b.codec.Head(mark)
	err := lines(func(line []byte) error {
		_, err := w.Write(between)
		between = b.codec.Between()
		if err == nil {
			_, err = w.Write(line)
		}
		return err
	})
	if err != nil {
		return err
	}
	if _, err := w.Write(b.codec.Tail()); err != nil {
		return err
	}
	return w.Flush()
}

// send makes a request and returns a 2xx answer.
func (b *Bundles) send(ctx context.Context, enc adapter.Encoded, body io.ReadCloser) (*http.Response, error) {
	req := b.e.request(ctx, &Call{Meta: &wire.Meta{}}, enc, &sentBody{})
	req.Header.Del("Idempotency-Key")
	switch {
	case body != nil:
		req.Body, req.ContentLength = body, -1
	case len(enc.Body) > 0:
		req.Body = io.NopCloser(bytes.NewReader(enc.Body))
	default:
		req.Body, req.ContentLength = http.NoBody, 0
	}
	resp, err := b.e.transport.RoundTrip(req)
	if err != nil {
		why := reason(err)
		if ctx.Err() != nil {
			why = "it was cut off"
		}
		return nil, &BundleError{Failure: b.e.named(adapter.Fail(wire.CodeConnection, "the connection to the provider's batch API failed (%s)", why))}
	}
	if resp.StatusCode >= 200 && resp.StatusCode <= 299 {
		return resp, nil
	}
	defer closeBody(resp.Body)
	raw, _ := readAll(resp.Body, maxRefusal, resp.ContentLength) // a status alone says enough
	f := b.e.codec.Classify(adapter.Refusal{Status: resp.StatusCode, Header: resp.Header, Body: raw[:min(len(raw), maxRefusal)], Now: time.Now()})
	return nil, &BundleError{Failure: b.e.named(f), HTTP: resp.StatusCode}
}
