package gateway

import (
	"cmp"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sluicehq/sluice/broker/batch"
	"github.com/sluicehq/sluice/sdk/wire"
)

// StatusOf is the HTTP status for an error code; provider is the provider's
// own status, 0 if there was none.
func StatusOf(code wire.Code, provider int) int { return refusalOf(code, provider).status }

// Bounds of metadata, OpenAI's.
const (
	maxMetadata      = 16
	maxMetadataKey   = 64
	maxMetadataValue = 512
)

// batchEndpoints are those that a batch of OpenAI's may have.
var batchEndpoints = []wire.Endpoint{wire.ChatCompletions, wire.Responses, wire.Embeddings, wire.Completions}

func batchFault(err error, id string) *wire.Error {
	return storeFault(err, codeBatchNotFound, "Batch", id)
}

// batchRequest is OpenAI's request for a batch.
type batchRequest struct {
	Input    string            `json:"input_file_id"`
	Endpoint wire.Endpoint     `json:"endpoint"`
	Window   string            `json:"completion_window"`
	Metadata map[string]string `json:"metadata"`
	Expires  *struct {
		Anchor  string `json:"anchor"`
		Seconds int64  `json:"seconds"`
	} `json:"output_expires_after"`
}

func (g *Gateway) createBatch(w http.ResponseWriter, r *http.Request, tenant string) *wire.Error {
	body, f := g.readBody(w, r)
	if f != nil {
		return f
	}
	var q batchRequest
	if err := json.Unmarshal(body, &q); err != nil {
		return wire.Errorf(wire.CodeInvalidJSON, "", "the body is not the JSON object of a batch: its fields are strings, and metadata an object of strings")
	}
	if f := q.check(); f != nil {
		return f
	}
	spec := batch.Spec{Tenant: tenant, API: batch.OpenAI, Endpoint: q.Endpoint, Input: q.Input, Window: q.Window, Metadata: q.Metadata}
	if q.Expires != nil {
		if spec.ResultsAge, f = expiry("output_expires_after", q.Expires.Anchor, q.Expires.Seconds); f != nil {
			return f
		}
	}
	in, err := g.store.File(r.Context(), tenant, q.Input)
	if err != nil {
		f := fileFault(err, q.Input)
		f.Param = "input_file_id"
		return f
	}
	if in.Purpose != "batch" {
		return wire.Errorf(wire.CodeInvalidRequest, "input_file_id", "the file %s was uploaded with the purpose %s: a batch needs one with the purpose batch", q.Input, in.Purpose)
	}
	m, f := g.submitBatch(r, spec)
	if f != nil {
		return f
	}
	writeJSON(w, http.StatusOK, mustJSON(newBatchObject(m)))
	return nil
}

func (q *batchRequest) check() *wire.Error {
	switch {
	case q.Input == "":
		return wire.Errorf(wire.CodeInvalidRequest, "input_file_id", "the field input_file_id is missing: it names an uploaded file")
	case !slices.Contains(batchEndpoints, q.Endpoint):
		return wire.Errorf(wire.CodeInvalidRequest, "endpoint", "the field endpoint must be /v1/chat/completions, /v1/responses, /v1/embeddings or /v1/completions")
	case len(q.Metadata) > maxMetadata:
		return wire.Errorf(wire.CodeInvalidRequest, "metadata", "metadata has more than %d keys", maxMetadata)
	}
	for k, v := range q.Metadata {
		if utf8.RuneCountInString(k) > maxMetadataKey || utf8.RuneCountInString(v) > maxMetadataValue {
			return wire.Errorf(wire.CodeInvalidRequest, "metadata", "a key of metadata has more than %d characters, or a value more than %d", maxMetadataKey, maxMetadataValue)
		}
	}
	return nil
}

// submitBatch completes a batch by the request's headers and stores it.
func (g *Gateway) submitBatch(r *http.Request, spec batch.Spec) (*batch.Manifest, *wire.Error) {
	var deadline time.Time
	who, f := g.tenants.Load().caller(r)
	if f != nil {
		return nil, f
	}
	spec.Key = who.key
	if spec.Headers, deadline, f = batchHeaders(spec.Tenant, r.Header); f != nil {
		return nil, f
	}
	spec.Placement = wire.Placement(cmp.Or(r.Header.Get(wire.HeaderPlacement), spec.Metadata["placement"]))
	switch spec.Placement {
	case "", wire.Realtime, wire.Auto:
	case wire.AtProvider:
		if g.cfg.Bundles == nil || !g.cfg.Bundles() {
			return nil, wire.Errorf(wire.CodeInvalidRequest, wire.HeaderPlacement, "no pool here offers its provider's own batch API: use realtime or auto")
		}
	default:
		return nil, wire.Errorf(wire.CodeInvalidRequest, wire.HeaderPlacement, "the placement must be realtime, provider or auto")
	}
	m, err := g.store.Submit(r.Context(), spec, r.Header.Get(headerIdempotency), deadline)
	if err != nil {
		return nil, batchFault(err, "")
	}
	return m, nil
}

// batchHeaders are the headers of a batch's request that each of its jobs
// gets, and the deadline of all.
func batchHeaders(tenant string, h http.Header) (map[string]string, time.Time, *wire.Error) {
	header, of := map[string][]string{}, map[string]string{}
	for name, v := range h {
		switch {
		case name == wire.HeaderAffinity, name == wire.HeaderRegion, name == wire.HeaderMaxCost, strings.HasPrefix(name, wire.HeaderLabel):
			of[name] = v[0]
			fallthrough
		case name == wire.HeaderDeadline:
			header[name] = v
		}
	}
	// The body is one that is right: only the headers are looked at.
	job, err := wire.ParseJob(tenant, wire.Batch, header, []byte(`{"model":"m","messages":[{}]}`), 0, time.Now())
	if err != nil {
		return nil, time.Time{}, err
	}
	var deadline time.Time
	if job.Deadline != 0 {
		deadline = time.Unix(0, job.Deadline)
	}
	return of, deadline, nil
}

func (g *Gateway) listBatches(w http.ResponseWriter, r *http.Request, tenant string) *wire.Error {
	p, f := pageOf(r.URL.Query(), "after", "", 20, 100)
	if f != nil {
		return f
	}
	p.Oldest = false
	list, more, err := g.store.Batches(r.Context(), batch.OpenAI, tenant, p)
	if err != nil {
		return batchFault(err, "")
	}
	data := make([]batchObject, len(list))
	for i := range list {
		data[i] = newBatchObject(&list[i])
	}
	writeJSON(w, http.StatusOK, mustJSON(listObject(data, func(o batchObject) string { return o.ID }, more)))
	return nil
}

func (g *Gateway) showBatch(w http.ResponseWriter, r *http.Request, tenant string) *wire.Error {
	id := r.PathValue("id")
	m, err := g.store.Batch(r.Context(), batch.OpenAI, tenant, id)
	if err != nil {
		return batchFault(err, id)
	}
	writeJSON(w, http.StatusOK, mustJSON(newBatchObject(m)))
	return nil
}

func (g *Gateway) cancelBatch(w http.ResponseWriter, r *http.Request, tenant string) *wire.Error {
	id := r.PathValue("id")
	m, err := g.store.Cancel(r.Context(), batch.OpenAI, tenant, id)
	if err != nil {
		return batchFault(err, id)
	}
	writeJSON(w, http.StatusOK, mustJSON(newBatchObject(m)))
	return nil
}

// batchObject is OpenAI's batch. What is not known is left out: the
// specification knows no null here. The member sluice is ours.
type batchObject struct {
	ID           string            `json:"id"`
	Object       string            `json:"object"`
	Endpoint     wire.Endpoint     `json:"endpoint"`
	Model        string            `json:"model,omitempty"`
	Errors       *batchErrors      `json:"errors,omitempty"`
	Input        string            `json:"input_file_id"`
	Window       string            `json:"completion_window"`
	Status       batch.Status      `json:"status"`
	Output       string            `json:"output_file_id,omitempty"`
	ErrorFile    string            `json:"error_file_id,omitempty"`
	CreatedAt    int64             `json:"created_at"`
	InProgressAt int64             `json:"in_progress_at,omitempty"`
	ExpiresAt    int64             `json:"expires_at,omitempty"`
	FinalizingAt int64             `json:"finalizing_at,omitempty"`
	CompletedAt  int64             `json:"completed_at,omitempty"`
	FailedAt     int64             `json:"failed_at,omitempty"`
	ExpiredAt    int64             `json:"expired_at,omitempty"`
	CancellingAt int64             `json:"cancelling_at,omitempty"`
	CancelledAt  int64             `json:"cancelled_at,omitempty"`
	Counts       batchCounts       `json:"request_counts"`
	Usage        batchUsage        `json:"usage"`
	Metadata     map[string]string `json:"metadata"`
	Sluice       batchExtra        `json:"sluice"`
}

type batchErrors struct {
	Object string       `json:"object"`
	Data   []batchError `json:"data"`
}

type batchError struct {
	Code    string  `json:"code"`
	Message string  `json:"message"`
	Param   *string `json:"param"`
	Line    *int64  `json:"line"`
}

type batchCounts struct {
	Total     int64 `json:"total"`
	Completed int64 `json:"completed"`
	Failed    int64 `json:"failed"`
}

type batchUsage struct {
	Input        int64       `json:"input_tokens"`
	InputDetails cachedTotal `json:"input_tokens_details"`
	Output       int64       `json:"output_tokens"`
	Details      reasoned    `json:"output_tokens_details"`
	Total        int64       `json:"total_tokens"`
}

type (
	cachedTotal struct {
		Cached int64 `json:"cached_tokens"`
	}
	reasoned struct {
		Reasoning int64 `json:"reasoning_tokens"`
	}
)

// batchExtra is what OpenAI's batch does not say.
type batchExtra struct {
	Cost      wire.NanoUSD        `json:"cost_nano_usd"`         // of what has ended
	Unknown   int64               `json:"lines_of_unknown_cost"` // whose cost, or a part of it, is not in that
	Cancelled int64               `json:"cancelled"`             // of request_counts.failed
	Expired   int64               `json:"expired"`               // of request_counts.failed
	Codes     map[wire.Code]int64 `json:"errors,omitempty"`      // failed lines by error code
	Placement wire.Placement      `json:"placement"`
}

func newBatchObject(m *batch.Manifest) batchObject {
	t, u := &m.Tally, m.Tally.Usage
	input, output := u.Input+u.CacheRead+u.CacheWrite, u.Output+u.Reasoning
	o := batchObject{
		ID: m.ID, Object: "batch", Endpoint: m.Endpoint, Model: m.Model, Input: m.Input, Window: m.Window, Status: m.Status,
		Output: m.ResultFile(batch.Output), ErrorFile: m.ResultFile(batch.Errors),
		CreatedAt: m.At[batch.Validating], InProgressAt: m.At[batch.InProgress], ExpiresAt: m.ExpiresAt, FinalizingAt: m.At[batch.Finalizing],
		CompletedAt: m.At[batch.Completed], FailedAt: m.At[batch.Failed], ExpiredAt: m.At[batch.Expired],
		CancellingAt: m.At[batch.Cancelling], CancelledAt: m.At[batch.Cancelled],
		Counts:   batchCounts{Total: m.Lines, Completed: t.Succeeded, Failed: t.Done() - t.Succeeded},
		Usage:    batchUsage{Input: input, InputDetails: cachedTotal{u.CacheRead}, Output: output, Details: reasoned{u.Reasoning}, Total: input + output},
		Metadata: m.Metadata,
		Sluice: batchExtra{Cost: t.Spent, Unknown: t.Unknown, Cancelled: t.Cancelled, Expired: t.Expired, Codes: maps.Clone(t.Codes),
			Placement: cmp.Or(m.Placement, wire.Realtime)},
	}
	if len(m.Faults) > 0 {
		o.Errors = &batchErrors{Object: "list"}
		for _, f := range m.Faults {
			e := batchError{Code: f.Code, Message: f.Message}
			if f.Param != "" {
				e.Param = &f.Param
			}
			if f.Line != 0 {
				e.Line = &f.Line
			}
			o.Errors.Data = append(o.Errors.Data, e)
		}
	}
	return o
}
