package gateway

import (
	"cmp"
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"

	"github.com/sluicehq/sluice/broker/batch"
	"github.com/sluicehq/sluice/sdk/wire"
)

// batchView is a batch of either API as the administrative interface shows it.
type batchView struct {
	ID        string                 `json:"id"`
	Tenant    string                 `json:"tenant"`
	API       batch.API              `json:"api"`
	Endpoint  wire.Endpoint          `json:"endpoint"`
	Model     string                 `json:"model,omitempty"` // of all lines; absent if they differ
	Status    batch.Status           `json:"status"`
	At        map[batch.Status]int64 `json:"at"` // when each state was reached, in Unix seconds
	ExpiresAt int64                  `json:"expires_at"`
	Placement wire.Placement         `json:"placement"`
	Metadata  map[string]string      `json:"metadata,omitempty"`

	Lines     int64               `json:"lines"` // 0 until the input is validated
	Succeeded int64               `json:"succeeded"`
	Failed    int64               `json:"failed"`
	Cancelled int64               `json:"cancelled"`
	Expired   int64               `json:"expired"`
	Errors    map[wire.Code]int64 `json:"errors,omitempty"` // failed lines by error code
	Usage     batchUsage          `json:"usage"`
	Cost      wire.NanoUSD        `json:"cost_nano_usd"` // of the lines that have ended
	Unknown   int64               `json:"lines_of_unknown_cost"`
	Faults    []batch.Fault       `json:"faults,omitempty"`
	Results   []string            `json:"results"` // the files that are there: output, errors
}

func newBatchView(m *batch.Manifest) batchView {
	o := newBatchObject(m)
	v := batchView{ID: m.ID, Tenant: m.Tenant, API: m.API, Endpoint: m.Endpoint, Model: m.Model, Status: m.Status, At: m.At, ExpiresAt: m.ExpiresAt,
		Placement: o.Sluice.Placement, Metadata: m.Metadata, Lines: m.Lines, Succeeded: m.Tally.Succeeded, Failed: m.Tally.Failed,
		Cancelled: m.Tally.Cancelled, Expired: m.Tally.Expired, Errors: o.Sluice.Codes, Usage: o.Usage, Cost: m.Tally.Spent,
		Unknown: m.Tally.Unknown, Faults: m.Faults, Results: []string{}}
	if m.API == batch.Anthropic {
		if m.Status.Terminal() && m.Tally.Done() > 0 {
			v.Results = append(v.Results, string(batch.Output))
		}
		return v
	}
	for _, side := range []batch.Side{batch.Output, batch.Errors} {
		if m.ResultFile(side) != "" {
			v.Results = append(v.Results, string(side))
		}
	}
	return v
}

// serveBatchList lists the batches of whoever asks, the newest first.
func (g *Gateway) serveBatchList(w http.ResponseWriter, r *http.Request) {
	tenant, f := g.scope(r)
	var p batch.Page
	if f == nil {
		p, f = pageOf(r.URL.Query(), "after", "", 100, 1000)
	}
	var list []batch.Manifest
	var more bool
	if f == nil {
		var err error
		if list, more, err = g.store.Batches(r.Context(), "", cmp.Or(tenant, batch.EveryTenant), p); err != nil {
			f = batchFault(err, "")
		}
	}
	if f != nil {
		refuse(w, "", f, 0)
		return
	}
	views := make([]batchView, len(list))
	for i := range list {
		views[i] = newBatchView(&list[i])
	}
	writeJSON(w, http.StatusOK, mustJSON(map[string]any{"batches": views, "more": more}))
}

// serveBatch answers about one batch of whoever asks.
func (g *Gateway) serveBatch(do func(http.ResponseWriter, *http.Request, *batch.Manifest) *wire.Error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		tenant, f := g.scope(r)
		if f == nil {
			var m *batch.Manifest
			var err error
			if m, err = g.store.Batch(r.Context(), "", cmp.Or(tenant, defaultTenant), r.PathValue("id")); err != nil {
				f = batchFault(err, r.PathValue("id"))
			} else {
				f = do(w, r, m)
			}
		}
		if f != nil {
			refuse(w, "", f, 0)
		}
	}
}

func viewBatch(w http.ResponseWriter, _ *http.Request, m *batch.Manifest) *wire.Error {
	writeJSON(w, http.StatusOK, mustJSON(newBatchView(m)))
	return nil
}

func (g *Gateway) stopBatch(w http.ResponseWriter, r *http.Request, m *batch.Manifest) *wire.Error {
	now, err := g.store.Cancel(r.Context(), m.API, m.Tenant, m.ID)
	if err != nil {
		return batchFault(err, m.ID)
	}
	return viewBatch(w, r, now)
}

// sendResults hands out a file of a batch's results.
func (g *Gateway) sendResults(w http.ResponseWriter, r *http.Request, m *batch.Manifest) *wire.Error {
	side := batch.Side(r.PathValue("side"))
	if !slices.Contains(newBatchView(m).Results, string(side)) {
		return wire.Errorf(codeFileNotFound, "side", "the batch %s has no file of %.20s, or has not ended", m.ID, side)
	}
	if m.API == batch.Anthropic {
		attach(w, m.ID+".jsonl")
		g.download(w, r, "application/x-jsonl", func(out io.Writer) error { return g.store.CopyResults(r.Context(), out, m) })
		return nil
	}
	id := m.ResultFile(side)
	f, err := g.store.File(r.Context(), m.Tenant, id)
	if err != nil {
		return fileFault(err, id)
	}
	g.sendFile(w, r, f)
	return nil
}

// sendFile answers with a file's content.
func (g *Gateway) sendFile(w http.ResponseWriter, r *http.Request, f *batch.File) {
	attach(w, f.Name)
	w.Header().Set("Content-Length", strconv.FormatInt(f.Bytes, 10))
	g.download(w, r, "application/octet-stream", func(out io.Writer) error { return g.store.Copy(r.Context(), out, f) })
}

// attach has a browser store the answer under a name.
func attach(w http.ResponseWriter, name string) {
	w.Header().Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": name}))
}
