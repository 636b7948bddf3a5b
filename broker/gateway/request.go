package gateway

import (
	"bytes"
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/sluicehq/sluice/sdk"
	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/sluicehq/sluice/sdk/wire/jsonscan"
)

// Headers of requests beside those of the contract's section 2.
const (
	headerIdempotency = "Idempotency-Key" // the job ID, in HTTP's words
	headerClass       = "Sluice-Class"    // defaults to interactive
	headerKeep        = "Sluice-Keep"     // "true": the job goes on without its client
)

// request is a client's wish, checked.
type request struct {
	job   sdk.Job
	meta  wire.Meta
	named bool // the client chose the ID, and may come back for it
	keep  bool // the client wants the job to go on without it
	usage bool // the client wants the usage chunk of a stream

	background bool   // the client comes back for the answer
	streams    bool   // the client reads events now
	echo       object // of the body, for a response in the background
}

// parse makes a request of what a client sent. It applies wire.ParseJob, so it
// refuses exactly what the broker would.
func parse(who caller, e wire.Endpoint, h http.Header, body []byte, now time.Time) (*request, *wire.Error) {
	id, named := jobID(who.tenant, h)
	header := map[string][]string{wire.HeaderEndpoint: {string(e)}}
	for name, v := range h {
		switch name {
		case "Traceparent":
			header[wire.HeaderTrace] = v
		case "Tracestate":
			header[wire.HeaderState] = v
		}
		if strings.HasPrefix(name, "Sluice-") && name != wire.HeaderEndpoint && name != wire.HeaderJobID {
			header[name] = v
		}
	}
	if named {
		header[wire.HeaderJobID] = []string{id}
	}
	class := wire.Interactive
	if c := h.Get(headerClass); c != "" {
		if class = wire.Class(c); !class.Valid() {
			return nil, wire.Errorf(wire.CodeInvalidHeader, headerClass, "the header %s must be interactive, standard or batch", headerClass)
		}
	}
	keep, err := flag(h, headerKeep)
	if err != nil {
		return nil, err
	}
	parsed, err := wire.ParseJob(wire.Payer(who.tenant, who.key), class, header, body, 0, now)
	if err != nil {
		return nil, err
	}
	r := &request{meta: parsed.Meta, named: named, keep: keep}
	r.meta.ID = id
	// What does not fit in these fields is left to wire.ParseJob and the provider.
	r.streams = r.meta.Stream && e != wire.Embeddings
	if r.streams {
		r.usage = isTrue(jsonscan.Get(jsonscan.Get(body, "stream_options"), "include_usage"))
	}
	if e == wire.Responses && isTrue(jsonscan.Get(body, "background")) {
		r.inBackground(body)
	}
	// Who says in a header that chunks are to be published may read them there.
	r.meta.Pack = r.meta.Pack || r.meta.Stream && h.Get(wire.HeaderStream) == "" && h.Get(wire.HeaderPack) == ""
	r.job = jobOf(&r.meta, body)
	return r, nil
}

func isTrue(value []byte) bool { return string(value) == "true" }

// inBackground lets the job go on without its client, and store its chunks, so
// that it can be followed from any place later.
func (r *request) inBackground(body []byte) {
	r.background, r.keep, r.meta.Stream = true, true, true
	if r.meta.ID == "" {
		r.meta.ID = newResponseID()
	}
	_ = json.Unmarshal(body, &r.echo) // an object, as ParseJob has found
}

// jobOf is the job that m describes, for the SDK.
func jobOf(m *wire.Meta, body []byte) sdk.Job {
	j := sdk.Job{
		ID: m.ID, Key: m.Key, Class: m.Class, Endpoint: m.Endpoint, Body: body, Stream: m.Stream, Pack: m.Pack, Affinity: m.Affinity, Region: m.Region,
		MaxCost: m.MaxCost, Webhook: m.Webhook, Batch: m.Batch, Labels: m.Labels, Traceparent: m.Trace, Tracestate: m.TraceState,
	}
	if m.Deadline != 0 {
		j.Deadline = time.Unix(0, m.Deadline)
	}
	if m.NotBefore != 0 {
		j.NotBefore = time.Unix(0, m.NotBefore)
	}
	return j
}

// jobID is the ID that the client chose, "" if it did not. An Idempotency-Key
// that cannot be a job ID stands for one that it always gives.
func jobID(tenant string, h http.Header) (id string, named bool) {
	if id = h.Get(wire.HeaderJobID); id != "" {
		return id, true
	}
	key := h.Get(headerIdempotency)
	switch {
	case key == "":
		return "", false
	case wire.ValidName(key) && !wire.IsAutoID(key):
		return key, true
	}
	sum := sha256.Sum256([]byte(tenant + "\x00" + key))
	return "key-" + strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:]))[:52], true
}

// flag reads a header that is true or false.
func flag(h http.Header, name string) (bool, *wire.Error) {
	switch h.Get(name) {
	case "", "false", "0":
		return false, nil
	case "true", "1":
		return true, nil
	}
	return false, wire.Errorf(wire.CodeInvalidHeader, name, "the header %s must be true or false", name)
}

// readBody reads the whole body (I1), within its bounds of size and time.
func (g *Gateway) readBody(w http.ResponseWriter, r *http.Request) ([]byte, *wire.Error) {
	limit := g.cfg.MaxBody
	if r.ContentLength > limit {
		return nil, tooLarge(limit)
	}
	if enc := r.Header.Get("Content-Encoding"); enc != "" && !strings.EqualFold(enc, "identity") {
		return nil, wire.Errorf(codeEncoding, "Content-Encoding", "the body must not be compressed")
	}
	// A recorder of a test has no deadlines, which is no harm.
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(time.Now().Add(g.cfg.BodyTimeout))
	var buf bytes.Buffer
	if r.ContentLength > 0 {
		buf.Grow(int(r.ContentLength) + bytes.MinRead)
	}
	_, err := io.Copy(&buf, http.MaxBytesReader(w, r.Body, limit))
	var over *http.MaxBytesError
	switch {
	case errors.As(err, &over):
		return nil, tooLarge(limit)
	case err != nil:
		// The deadline stays, or the server would wait for the rest.
		w.Header().Set("Connection", "close")
		return nil, wire.Errorf(wire.CodeInvalidRequest, "", "the body broke off, or took longer than %s", g.cfg.BodyTimeout)
	}
	_ = rc.SetReadDeadline(time.Time{})
	return buf.Bytes(), nil
}

func tooLarge(limit int64) *wire.Error {
	return wire.Errorf(wire.CodeTooLarge, "", "the body has more than the %d bytes that a request may have", limit)
}
