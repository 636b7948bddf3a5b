package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sluicehq/sluice/sdk"
	"github.com/sluicehq/sluice/sdk/wire"
)

// adminTimeout bounds a question to the router.
const adminTimeout = 10 * time.Second

// adminRequest is the body of an admin question, as broker/control reads it.
type adminRequest struct {
	Tenant string   `json:"tenant,omitempty"`
	Status string   `json:"status,omitempty"`
	Batch  string   `json:"batch,omitempty"`
	Limit  int      `json:"limit,omitempty"`
	Pool   string   `json:"pool,omitempty"`
	Spec   string   `json:"spec,omitempty"`
	Job    string   `json:"job,omitempty"`
	Model  string   `json:"model,omitempty"`
	Score  *float64 `json:"score,omitempty"`
	All    bool     `json:"all,omitempty"`

	Budget json.RawMessage `json:"budget,omitempty"`
	ID     string          `json:"id,omitempty"`
}

// serveAdmin asks a router on the admin subject of op and passes its answer
// on. Where tenants have keys, a key sees its own tenant's jobs and dead
// letters; pools and routes hold no secret and are every tenant's to see.
func (g *Gateway) serveAdmin(op string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		tenant, f := g.scope(r)
		var answer []byte
		if f == nil {
			answer, f = g.askAdmin(r, op, tenant)
		}
		if f != nil {
			refuse(w, "", f, 0)
			return
		}
		writeJSON(w, http.StatusOK, answer)
	}
}

// scope is the tenant whose things may be seen; "" is all of them.
func (g *Gateway) scope(r *http.Request) (string, *wire.Error) {
	v, f := g.viewer(r)
	if f != nil {
		return "", f
	}
	asked := r.URL.Query().Get("tenant")
	if asked == "" {
		asked = r.Header.Get(headerTenant)
	}
	switch {
	case v.tenant != "" && asked != "" && asked != v.tenant && r.Header.Get(headerTenant) != "":
		return "", wire.Errorf(wire.CodePermission, headerTenant, "the key belongs to another tenant than the header %s names", headerTenant)
	case v.tenant != "":
		return v.tenant, nil
	case asked != "" && !wire.ValidName(asked):
		return "", wire.Errorf(wire.CodeInvalidRequest, "tenant", "a tenant must match [A-Za-z0-9_-]{1,64}")
	}
	return asked, nil
}

// deadOf reads which dead letters to requeue: {"tenant": …, "job": …}, or
// {"all": true} of a tenant or of all.
func deadOf(r *http.Request) (any, *wire.Error) {
	var req adminRequest
	if err := json.NewDecoder(io.LimitReader(r.Body, maxLogin)).Decode(&req); err != nil || (req.Job == "") != req.All {
		return nil, wire.Errorf(wire.CodeInvalidJSON, "", `the body must be {"tenant": "…", "job": "…"} or {"all": true}`)
	}
	if req.Tenant == "" && !req.All {
		req.Tenant = defaultTenant
	}
	return adminRequest{Tenant: req.Tenant, Job: req.Job, All: req.All}, nil
}

func (g *Gateway) askAdmin(r *http.Request, op, tenant string) ([]byte, *wire.Error) {
	req := adminRequest{Tenant: tenant, Status: r.URL.Query().Get("status"), Batch: r.URL.Query().Get("batch"),
		All: op == "alerts" && r.URL.Query().Get("all") == "true"}
	if s := r.URL.Query().Get("limit"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 {
			return nil, wire.Errorf(wire.CodeInvalidRequest, "limit", "the parameter limit must be a whole number from 1")
		}
		req.Limit = n
	}
	if op == "dead.show" {
		req.Job = r.PathValue("id")
		if req.Tenant == "" {
			req.Tenant = defaultTenant
		}
	}
	return g.ask(r.Context(), op, req)
}

// ask asks a router on the admin subject of op.
func (g *Gateway) ask(ctx context.Context, op string, req any) ([]byte, *wire.Error) {
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	m, err := g.cfg.Conn.RequestWithContext(ctx, g.cfg.Subjects.Admin(op), mustJSON(req))
	if errors.Is(err, nats.ErrNoResponders) {
		return nil, wire.Errorf(wire.CodeUnavailable, "", "no router answers")
	}
	if err != nil {
		return nil, faultOf(reason(ctx, err))
	}
	var o struct {
		Error *wire.AnswerError `json:"error"`
	}
	if json.Unmarshal(m.Data, &o) == nil && o.Error != nil {
		return nil, &wire.Error{Code: o.Error.Code, Message: o.Error.Message}
	}
	return m.Data, nil
}

// serveJob shows a job's state and history, or cancels it.
func (g *Gateway) serveJob(do func(context.Context, *sdk.Handle) (*wire.Answer, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		answer, f := g.askJob(r, do)
		if f != nil {
			refuse(w, "", f, 0)
			return
		}
		w.Header().Set(headerJob, answer.Job)
		writeJSON(w, http.StatusOK, mustJSON(answer))
	}
}

func (g *Gateway) askJob(r *http.Request, do func(context.Context, *sdk.Handle) (*wire.Answer, error)) (*wire.Answer, *wire.Error) {
	tenant, f := g.scope(r)
	if f != nil {
		return nil, f
	}
	if tenant == "" {
		tenant = defaultTenant
	}
	ctx, cancel := context.WithTimeout(r.Context(), adminTimeout)
	defer cancel()
	client, give, err := g.clients.take(ctx, tenant)
	if err != nil {
		return nil, faultOf(err)
	}
	defer give()
	answer, err := do(ctx, client.Attach(r.PathValue("id")))
	if err != nil {
		return nil, faultOf(reason(ctx, err))
	}
	return answer, nil
}

func showJob(ctx context.Context, h *sdk.Handle) (*wire.Answer, error)   { return h.Status(ctx) }
func cancelJob(ctx context.Context, h *sdk.Handle) (*wire.Answer, error) { return h.Cancel(ctx) }
