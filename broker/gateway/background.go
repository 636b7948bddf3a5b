package gateway

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/sluicehq/sluice/sdk"
	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/sluicehq/sluice/sdk/wire/jsonscan"
)

// A response in the background is a job that goes on without its client. Its
// ID is the job's, so everything about it is in the ledger and in the stored
// chunks, whichever gateway is asked and whenever it was started.

// newResponseID names a response for which the client chose no ID.
func newResponseID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return "resp_" + hex.EncodeToString(b[:])
}

// background answers a request in the background once its job is durable: at
// once, or with its events.
func (c *call) background(ctx context.Context) *wire.Error {
	c.outcome = accepted
	s := &snapshot{id: c.job.ID(), model: c.req.meta.Route, created: c.start, status: "queued", echo: c.req.echo}
	if c.req.named { // perhaps not for the first time
		if now, f := c.g.look(ctx, c.job); f == nil {
			s = now
		}
	}
	if c.req.streams {
		c.follow(ctx, s, -1)
		return nil
	}
	writeJSON(c.w, http.StatusOK, s.object())
	return nil
}

// serveResponse shows a response, or its events.
func (g *Gateway) serveResponse(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	after := int64(-1)
	if s := q.Get("starting_after"); s != "" {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil || n < 0 {
			refuse(w, wire.Responses, wire.Errorf(wire.CodeInvalidRequest, "starting_after", "the parameter starting_after must be a sequence_number"), 0)
			return
		}
		after = n
	}
	streams := q.Get("stream") == "true" || q.Get("stream") == "1" || streamsByBody(r)
	g.withResponse(w, r, func(ctx context.Context, c *call, s *snapshot) *wire.Error {
		if streams {
			c.follow(ctx, s, after)
			return nil
		}
		writeJSON(w, http.StatusOK, s.object())
		return nil
	})
}

// streamsByBody reports whether the body asks for a stream: OpenAI's SDK for Go
// says so there, though the request is a GET.
func streamsByBody(r *http.Request) bool {
	const most = 4 << 10
	if r.ContentLength <= 0 || r.ContentLength > most {
		return false
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, most))
	return err == nil && string(jsonscan.Get(body, "stream")) == "true"
}

// serveCancel ends a response that is not done. One that is done stays as it
// is.
func (g *Gateway) serveCancel(w http.ResponseWriter, r *http.Request) {
	g.withResponse(w, r, func(ctx context.Context, c *call, s *snapshot) *wire.Error {
		if !s.done() {
			f := c.end(ctx)
			if f != nil {
				return f
			}
			if s, f = g.look(ctx, c.job); f != nil {
				return f
			}
		}
		writeJSON(w, http.StatusOK, s.object())
		return nil
	})
}

// withResponse finds the response that a path names.
func (g *Gateway) withResponse(w http.ResponseWriter, r *http.Request, do func(context.Context, *call, *snapshot) *wire.Error) {
	c := &call{g: g, w: w, r: r, start: time.Now(), endpoint: wire.Responses}
	f := func() *wire.Error {
		if !g.enter() {
			return errCrowded()
		}
		defer g.leave()
		tenant, f := g.tenants.Load().of(r)
		if f != nil {
			return f
		}
		ctx := r.Context()
		client, give, err := g.clients.take(ctx, tenant)
		if err != nil {
			return faultOf(err)
		}
		defer give()
		c.job = client.Attach(r.PathValue("id"))
		s, f := g.look(ctx, c.job)
		if f != nil {
			return f
		}
		if k, err := g.keptOf(ctx, tenant, c.job.ID()); err != nil {
			return faultOf(reason(ctx, err))
		} else if k.Deleted {
			return noResponse(c.job.ID())
		}
		c.name()
		return do(ctx, c, s)
	}()
	if f != nil {
		refuse(w, wire.Responses, f, 0)
	}
}

// snapshot is a response as it is at a moment.
type snapshot struct {
	id, model string
	created   time.Time
	status    string // OpenAI's
	attempts  int
	echo      object // what is known of the request
	body      []byte // the answer, of one that is completed or incomplete
	fault     *wire.Error
}

func (s *snapshot) done() bool { return s.status != "queued" && s.status != "in_progress" }

func noResponse(id string) *wire.Error {
	return wire.Errorf(wire.CodeNotFound, "response_id", "no response has the ID %.80q", id)
}

// look reads how a response stands: in the ledger, or, while it has no record,
// by asking a router.
func (g *Gateway) look(ctx context.Context, job *sdk.Handle) (*snapshot, *wire.Error) {
	missing := noResponse(job.ID())
	if !wire.ValidName(job.ID()) {
		return nil, missing
	}
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	last, err := g.ledger.Last(ctx, job.Tenant(), job.ID())
	switch {
	case err != nil:
		return nil, faultOf(reason(ctx, err))
	case last == nil:
		a, err := job.Status(ctx)
		if sdk.CodeOf(err) == wire.CodeNotFound {
			return nil, missing
		}
		if err != nil {
			return nil, faultOf(reason(ctx, err))
		}
		at, _ := time.Parse(time.RFC3339Nano, a.Queued) // unknown: year 1, which the object leaves at 0
		return &snapshot{id: job.ID(), model: a.Route, created: at, status: "queued"}, nil
	case last.Entry.Meta.Endpoint != wire.Responses:
		return nil, missing
	}
	return snapshotOf(&last.Record), nil
}

// snapshotOf is the response that a record is of.
func snapshotOf(r *wire.Record) *snapshot {
	m := &r.Entry.Meta
	s := &snapshot{id: m.ID, model: m.Route, created: time.Unix(0, m.SubmittedAt), attempts: r.Entry.Progress.Attempts}
	switch r.Status {
	case wire.Running:
		s.status = "in_progress"
	case wire.Succeeded:
		s.status, s.body = "completed", r.Body
		if got := jsonscan.String(jsonscan.Get(r.Body, "status")); got == "incomplete" || got == "failed" {
			s.status = got
		}
	case wire.Cancelled:
		s.status = "cancelled"
	case wire.Failed, wire.Expired:
		s.status = "failed"
		s.fault = wire.Errorf(r.Entry.Error, "", "%s", jsonscan.String(jsonscan.Get(jsonscan.Get(r.Body, "error"), "message")))
	default:
		s.status = "queued"
	}
	return s
}

// echoes are the members of a request that a response repeats, with the kinds
// of JSON that they may be (n: null) and what stands for a missing one.
var echoes = []struct{ name, kinds, none string }{
	{"instructions", `"n`, "null"}, {"max_output_tokens", "0n", "null"}, {"metadata", "{n", "{}"}, {"parallel_tool_calls", "tf", "true"},
	{"previous_response_id", `"n`, "null"}, {"reasoning", "{n", "null"}, {"store", "tf", "true"}, {"temperature", "0n", "null"},
	{"text", "{", `{"format":{"type":"text"}}`}, {"tool_choice", `"{`, `"auto"`}, {"tools", "[", "[]"}, {"top_p", "0n", "null"},
	{"truncation", `"n`, `"disabled"`},
}

// object is the response as JSON.
func (s *snapshot) object() []byte {
	if s.body != nil {
		return rename(s.body, s.id)
	}
	created := max(s.created.Unix(), 0)
	o := object{"id": mustJSON(s.id), "object": mustJSON("response"), "created_at": mustJSON(created), "status": mustJSON(s.status),
		"background": mustJSON(true), "model": mustJSON(s.model), "output": mustJSON([]any{}),
		"error": mustJSON(nil), "incomplete_details": mustJSON(nil), "usage": mustJSON(nil)}
	for _, e := range echoes {
		v := s.echo[e.name]
		if len(v) == 0 || strings.IndexByte(e.kinds, jsonscan.Kind(v)) < 0 || e.name == "text" && !formed(v) {
			v = json.RawMessage(e.none)
		}
		o[e.name] = v
	}
	if s.fault != nil {
		o["error"] = mustJSON(map[string]string{"code": responseCode(s.fault.Code), "message": s.fault.Message})
	}
	return mustJSON(o)
}

// formed reports whether the request's text says what form it wants.
func formed(text []byte) bool {
	switch jsonscan.String(jsonscan.Get(jsonscan.Get(text, "format"), "type")) {
	case "text", "json_object", "json_schema":
		return true
	}
	return false
}

// responseCode is OpenAI's word for why a response failed: its list is short.
func responseCode(code wire.Code) string {
	switch x := refusalOf(code, 0); {
	case x.status == 429:
		return "rate_limit_exceeded"
	case x.status < 500:
		return "invalid_prompt"
	}
	return "server_error"
}

// rename gives a provider's response the ID by which it can be asked for here.
func rename(body []byte, id string) []byte {
	out := append(make([]byte, 0, len(body)+64), `{"id":`...)
	out = append(append(out, mustJSON(id)...), `,"background":true`...)
	o := jsonscan.NewObject(body)
	for m, ok := o.Next(); ok; m, ok = o.Next() {
		if k := string(m.Key); k != "id" && k != "background" {
			out = append(append(out, ','), m.Span...)
		}
	}
	return append(out, '}')
}
