package gateway

import (
	"context"
	"net/http"
	"strconv"

	"github.com/sluicehq/sluice/sdk/wire"
)

// Bounds of the delivery log's listing.
const (
	fewDeliveries  = 100
	mostDeliveries = 1000
)

func errNoWebhooks() *wire.Error {
	return wire.Errorf(wire.CodeNotFound, "", "this Sluice calls no webhooks: webhooks.secret is not configured")
}

// serveWebhooks shows the delivery log: a key sees its own tenant's.
func (g *Gateway) serveWebhooks(w http.ResponseWriter, r *http.Request) {
	tenant, f := g.scope(r)
	q := r.URL.Query()
	limit, job := fewDeliveries, q.Get("job")
	if s := q.Get("limit"); s != "" {
		limit, _ = strconv.Atoi(s) // no number: 0, which is refused
	}
	switch {
	case f != nil:
	case g.cfg.Webhooks == nil:
		f = errNoWebhooks()
	case limit < 1 || limit > mostDeliveries:
		f = wire.Errorf(wire.CodeInvalidRequest, "limit", "the parameter limit must be a whole number from 1 to %d", mostDeliveries)
	case job != "" && !wire.ValidName(job):
		f = wire.Errorf(wire.CodeInvalidRequest, "job", "a job ID must match [A-Za-z0-9_-]{1,64}")
	}
	if f != nil {
		refuse(w, "", f, 0)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), adminTimeout)
	defer cancel()
	log, err := g.cfg.Webhooks.Log(ctx, tenant, job, limit)
	if err != nil {
		refuse(w, "", faultOf(reason(ctx, err)), 0)
		return
	}
	writeJSON(w, http.StatusOK, log)
}

// serveWebhookSecret tells a tenant what to check signatures with, and with
// ?of=alerts an administrator, for alerts.
func (g *Gateway) serveWebhookSecret(w http.ResponseWriter, r *http.Request) {
	tenant, f := g.scope(r)
	alerts := r.URL.Query().Get("of") == "alerts"
	if v, _ := g.viewer(r); f == nil && alerts && v.role != roleAdmin {
		f = wire.Errorf(wire.CodePermission, "", "alerts are the operator's: this needs the administrator's key (http.admin_key)")
	}
	if f == nil && g.cfg.Webhooks == nil {
		f = errNoWebhooks()
	}
	if f != nil {
		refuse(w, "", f, 0)
		return
	}
	switch {
	case alerts:
		tenant = wire.AlertsTenant
	case tenant == "":
		tenant = defaultTenant
	}
	w.Header().Set("Cache-Control", "no-store")
	writeJSON(w, http.StatusOK, mustJSON(map[string]string{"tenant": tenant, "secret": g.cfg.Webhooks.Secret(tenant)}))
}
