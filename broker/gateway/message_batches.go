package gateway

import (
	"bytes"
	"encoding/json"
	"errors"
	"hash/maphash"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/sluicehq/sluice/broker/batch"
	"github.com/sluicehq/sluice/sdk/wire"
)

// messageWindow is how long a Message Batch may take.
const messageWindow = "24h"

// requestReader reads the body of a new Message Batch and writes it as the
// lines of a batch, with one of its requests in memory.
type requestReader struct {
	dec  *json.Decoder
	w    io.Writer
	seed maphash.Seed
	seen map[uint64]struct{} // hashes of custom IDs
	buf  bytes.Buffer
}

// errStore marks an error of the store among those of the body.
type errStore struct{ error }

// read gives the number of requests. Errors are a *wire.Error, an errStore, or
// what reading met with.
func (q *requestReader) read() (int64, error) {
	if t, err := q.dec.Token(); err != nil || t != json.Delim('{') {
		return 0, malformed(err)
	}
	for q.dec.More() {
		name, err := q.dec.Token()
		if err != nil {
			return 0, malformed(err)
		}
		if name != "requests" {
			var skipped json.RawMessage
			if err := q.dec.Decode(&skipped); err != nil {
				return 0, malformed(err)
			}
			continue
		}
		if t, err := q.dec.Token(); err != nil || t != json.Delim('[') {
			return 0, malformed(err)
		}
		for q.dec.More() {
			if err := q.request(); err != nil {
				return 0, err
			}
		}
		if _, err := q.dec.Token(); err != nil {
			return 0, malformed(err)
		}
	}
	if _, err := q.dec.Token(); err != nil {
		return 0, malformed(err)
	}
	if len(q.seen) == 0 {
		return 0, wire.Errorf(wire.CodeInvalidRequest, "requests", "requests: a batch needs at least one")
	}
	return int64(len(q.seen)), nil
}

// malformed tells JSON that is wrong from a body that could not be read.
func malformed(err error) error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	if err == nil || errors.As(err, &syntax) || errors.As(err, &kind) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return wire.Errorf(wire.CodeInvalidJSON, "", `the body is not of the form {"requests": [{"custom_id": "…", "params": {…}}, …]}`)
	}
	return err
}

// request reads one request and writes its line.
func (q *requestReader) request() error {
	var x struct {
		ID     string          `json:"custom_id"`
		Params json.RawMessage `json:"params"`
	}
	if err := q.dec.Decode(&x); err != nil {
		return malformed(err)
	}
	n := len(q.seen)
	if !wire.ValidName(x.ID) {
		return wire.Errorf(wire.CodeInvalidRequest, "custom_id", "requests.%d.custom_id: must match [A-Za-z0-9_-]{1,64}", n)
	}
	if len(x.Params) == 0 || x.Params[0] != '{' {
		return wire.Errorf(wire.CodeInvalidRequest, "params", "requests.%d.params: must be an object", n)
	}
	h := maphash.String(q.seed, x.ID)
	if _, twice := q.seen[h]; twice {
		return wire.Errorf(wire.CodeInvalidRequest, "custom_id", "requests.%d.custom_id: the same as of an earlier request", n)
	}
	q.seen[h] = struct{}{}
	q.buf.Reset()
	q.buf.WriteString(`{"custom_id":"` + x.ID + `","method":"POST","url":"` + string(wire.Messages) + `","body":`)
	if err := json.Compact(&q.buf, x.Params); err != nil {
		return malformed(err)
	}
	q.buf.WriteString("}\n")
	if _, err := q.w.Write(q.buf.Bytes()); err != nil {
		return errStore{err}
	}
	return nil
}

func (g *Gateway) createMessageBatch(w http.ResponseWriter, r *http.Request, tenant string) *wire.Error {
	body, done := g.longBody(w, r, maxFile)
	up := g.store.Create(r.Context(), tenant)
	q := &requestReader{dec: json.NewDecoder(body), w: up, seed: maphash.MakeSeed(), seen: map[uint64]struct{}{}}
	n, err := q.read()
	if err != nil {
		up.Abort()
		var known *wire.Error
		var store errStore
		switch {
		case errors.As(err, &known):
			return known
		case errors.As(err, &store):
			return batchFault(store.error, "")
		}
		return g.bodyFault(w, err, maxFile)
	}
	done()
	in, err := up.Commit("requests.jsonl", "", maxFileAge) // or as long as its batch
	if err != nil {
		return batchFault(err, "")
	}
	m, f := g.submitBatch(r, batch.Spec{Tenant: tenant, API: batch.Anthropic, Endpoint: wire.Messages, Input: in.ID, Window: messageWindow, Requests: n})
	if f != nil {
		up.Remove()
		return f
	}
	if m.Input != in.ID { // a repeated request: the first one's is kept
		up.Remove()
	}
	writeJSON(w, http.StatusOK, mustJSON(newMessageBatch(r, m)))
	return nil
}

func (g *Gateway) listMessageBatches(w http.ResponseWriter, r *http.Request, tenant string) *wire.Error {
	p, f := pageOf(r.URL.Query(), "after_id", "before_id", 20, 1000)
	if f != nil {
		return f
	}
	p.Oldest = false
	list, more, err := g.store.Batches(r.Context(), batch.Anthropic, tenant, p)
	if err != nil {
		return batchFault(err, "")
	}
	data := make([]messageBatch, len(list))
	for i := range list {
		data[i] = newMessageBatch(r, &list[i])
	}
	o := map[string]any{"data": data, "has_more": more, "first_id": nil, "last_id": nil}
	if len(data) > 0 {
		o["first_id"], o["last_id"] = data[0].ID, data[len(data)-1].ID
	}
	writeJSON(w, http.StatusOK, mustJSON(o))
	return nil
}

func (g *Gateway) showMessageBatch(w http.ResponseWriter, r *http.Request, tenant string) *wire.Error {
	id := r.PathValue("id")
	m, err := g.store.Batch(r.Context(), batch.Anthropic, tenant, id)
	if err != nil {
		return batchFault(err, id)
	}
	writeJSON(w, http.StatusOK, mustJSON(newMessageBatch(r, m)))
	return nil
}

func (g *Gateway) cancelMessageBatch(w http.ResponseWriter, r *http.Request, tenant string) *wire.Error {
	id := r.PathValue("id")
	m, err := g.store.Cancel(r.Context(), batch.Anthropic, tenant, id)
	if err != nil {
		return batchFault(err, id)
	}
	writeJSON(w, http.StatusOK, mustJSON(newMessageBatch(r, m)))
	return nil
}

func (g *Gateway) deleteMessageBatch(w http.ResponseWriter, r *http.Request, tenant string) *wire.Error {
	id := r.PathValue("id")
	if err := g.store.DeleteBatch(r.Context(), batch.Anthropic, tenant, id); err != nil {
		return batchFault(err, id)
	}
	writeJSON(w, http.StatusOK, mustJSON(map[string]string{"id": id, "type": "message_batch_deleted"}))
	return nil
}

func (g *Gateway) serveMessageResults(w http.ResponseWriter, r *http.Request, tenant string) *wire.Error {
	id := r.PathValue("id")
	m, err := g.store.Batch(r.Context(), batch.Anthropic, tenant, id)
	if err != nil {
		return batchFault(err, id)
	}
	if !m.Status.Terminal() {
		return wire.Errorf(wire.CodeInvalidRequest, "", "the batch %s has not ended: its results are there once it has", id)
	}
	g.download(w, r, "application/x-jsonl", func(out io.Writer) error { return g.store.CopyResults(r.Context(), out, m) })
	return nil
}

// messageBatch is Anthropic's Message Batch.
type messageBatch struct {
	ID              string        `json:"id"`
	Type            string        `json:"type"`
	Status          string        `json:"processing_status"`
	Counts          messageCounts `json:"request_counts"`
	EndedAt         *string       `json:"ended_at"`
	CreatedAt       string        `json:"created_at"`
	ExpiresAt       string        `json:"expires_at"`
	ArchivedAt      *string       `json:"archived_at"`
	CancelInitiated *string       `json:"cancel_initiated_at"`
	ResultsURL      *string       `json:"results_url"`
}

type messageCounts struct {
	Processing int64 `json:"processing"`
	Succeeded  int64 `json:"succeeded"`
	Errored    int64 `json:"errored"`
	Canceled   int64 `json:"canceled"`
	Expired    int64 `json:"expired"`
}

func newMessageBatch(r *http.Request, m *batch.Manifest) messageBatch {
	t := &m.Tally
	stamp := func(s batch.Status) *string {
		if m.At[s] == 0 {
			return nil
		}
		v := time.Unix(m.At[s], 0).UTC().Format(time.RFC3339)
		return &v
	}
	o := messageBatch{ID: m.ID, Type: "message_batch", Status: "in_progress", CancelInitiated: stamp(batch.Cancelling),
		CreatedAt: *stamp(batch.Validating), ExpiresAt: time.Unix(m.ExpiresAt, 0).UTC().Format(time.RFC3339),
		Counts: messageCounts{Processing: m.Requests - t.Done(), Succeeded: t.Succeeded, Errored: t.Failed, Canceled: t.Cancelled, Expired: t.Expired}}
	switch {
	case m.Status == batch.Cancelling:
		o.Status = "canceling"
	case m.Status.Terminal():
		url := scheme(r) + "://" + r.Host + "/v1/messages/batches/" + m.ID + "/results"
		o.Status, o.EndedAt, o.ResultsURL = "ended", stamp(m.Status), &url
		if left := o.Counts.Processing; left > 0 { // cancelled before any ran
			o.Counts.Processing, o.Counts.Canceled = 0, o.Counts.Canceled+left
		}
	}
	return o
}

// scheme is how the client has reached us.
func scheme(r *http.Request) string {
	if r.TLS != nil || strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https") {
		return "https"
	}
	return "http"
}
