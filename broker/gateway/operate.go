package gateway

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/sluicehq/sluice/sdk/wire"
)

// maxSpec is the most bytes of a body that an operation takes.
const maxSpec = 64 << 10

// serveOperation asks a router to change something. What is changed is every
// tenant's, so only an administrator may do it.
func (g *Gateway) serveOperation(op string, read func(*http.Request) (any, *wire.Error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		v, f := g.viewer(r)
		if f == nil && v.role != roleAdmin {
			f = wire.Errorf(wire.CodePermission, "", "this needs the administrator's key (http.admin_key), or the command sluice with the operator's NATS connection")
		}
		var answer []byte
		var req any
		if f == nil {
			req, f = read(r)
		}
		if f == nil {
			answer, f = g.ask(r.Context(), op, req)
		}
		if f != nil {
			refuse(w, "", f, 0)
			return
		}
		writeJSON(w, http.StatusOK, answer)
	}
}

// poolOf names the pool of the path.
func poolOf(r *http.Request) (any, *wire.Error) {
	return adminRequest{Pool: r.PathValue("pool")}, nil
}

// specOf is the body, a pool as JSON or YAML.
func specOf(r *http.Request) (any, *wire.Error) {
	b, err := io.ReadAll(io.LimitReader(r.Body, maxSpec+1))
	if err != nil {
		return nil, wire.Errorf(wire.CodeInvalidRequest, "", "the body cannot be read")
	}
	if len(b) > maxSpec {
		return nil, wire.Errorf(wire.CodeInvalidRequest, "", "the body has more than %d bytes", maxSpec)
	}
	return adminRequest{Spec: string(b)}, nil
}

// budgetOf is the body, a budget as JSON.
func budgetOf(r *http.Request) (any, *wire.Error) {
	req, f := specOf(r)
	if f != nil {
		return nil, f
	}
	raw := []byte(req.(adminRequest).Spec)
	if !json.Valid(raw) {
		return nil, wire.Errorf(wire.CodeInvalidJSON, "", "the body must be a budget as a JSON object")
	}
	return adminRequest{Budget: raw}, nil
}

// idOf is the query's ID of a budget.
func idOf(r *http.Request) (any, *wire.Error) {
	return adminRequest{ID: r.URL.Query().Get("id")}, nil
}

// serveQuality takes a report of how good an answer was. A tenant's key may
// report on its own jobs; on a pool outright only where there are no keys.
func (g *Gateway) serveQuality(w http.ResponseWriter, r *http.Request) {
	tenant, f := g.scope(r)
	var req adminRequest
	if f == nil {
		b, err := io.ReadAll(io.LimitReader(r.Body, maxSpec))
		if err != nil || json.Unmarshal(b, &req) != nil {
			f = wire.Errorf(wire.CodeInvalidJSON, "", `the body must be JSON such as {"job": "j17", "score": 0.8}`)
		}
	}
	open := g.tenants.Load().open()
	switch {
	case f != nil:
	case req.Job == "" && !open:
		f = wire.Errorf(wire.CodePermission, "job", "a tenant's key may report the quality of its own jobs only: name one")
	case !open || req.Tenant == "":
		req.Tenant = tenant
	}
	if req.Job != "" && req.Tenant == "" {
		req.Tenant = defaultTenant
	}
	var answer []byte
	if f == nil {
		answer, f = g.ask(r.Context(), "quality", adminRequest{Tenant: req.Tenant, Job: req.Job, Pool: req.Pool, Model: req.Model, Score: req.Score})
	}
	if f != nil {
		refuse(w, "", f, 0)
		return
	}
	writeJSON(w, http.StatusOK, answer)
}

// methods lets some methods through, each to its handler.
func methods(handlers map[string]http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		name := r.Method
		if name == http.MethodHead {
			name = http.MethodGet
		}
		if h := handlers[name]; h != nil {
			h(w, r)
			return
		}
		allowed := strings.Join(slices.Sorted(maps.Keys(handlers)), ", ")
		w.Header().Set("Allow", allowed)
		refuse(w, "", wire.Errorf(codeMethod, "", "not allowed to %s on %.200s: use %s", printMethod(r), r.URL.Path, allowed), 0)
	}
}
