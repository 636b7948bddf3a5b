package gateway

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
)

// TextsQuestion asks for what was said in jobs, as far as it is kept.
type TextsQuestion struct {
	Tenant       string // "": an administrator asks for every tenant's
	Job          string // "": all jobs'
	Words        string // that prompt or answer have; "": any
	Since, Until time.Time
	Limit        int // newest first; 1 to maxTexts
}

// maxTexts is the most texts of one answer.
const maxTexts = 100

// textScope is the tenant whose texts may be seen, or deleted; "" is all of
// them, for an administrator. One who only looks and is no tenant sees none.
func (g *Gateway) textScope(r *http.Request) (string, *wire.Error) {
	v, f := g.viewer(r)
	if f != nil {
		return "", f
	}
	if v.role != roleAdmin && v.tenant == "" {
		return "", wire.Errorf(wire.CodePermission, "", "texts are for their tenant and the administrator (http.admin_key) to see")
	}
	return g.scope(r)
}

// serveJobText shows what was said in a job's attempts.
func (g *Gateway) serveJobText(w http.ResponseWriter, r *http.Request) {
	tenant, f := g.textScope(r)
	if tenant == "" {
		tenant = defaultTenant
	}
	if f == nil && !wire.ValidName(r.PathValue("id")) {
		f = wire.Errorf(wire.CodeInvalidJobID, "id", "a job ID must match [A-Za-z0-9_-]{1,64}")
	}
	g.answerTexts(w, r, TextsQuestion{Tenant: tenant, Job: r.PathValue("id"), Limit: maxTexts}, f)
}

// serveTexts searches texts, by words and time.
func (g *Gateway) serveTexts(w http.ResponseWriter, r *http.Request) {
	tenant, f := g.textScope(r)
	var q Question
	if f == nil {
		q, f = g.question(r)
	}
	if q.Limit == 0 {
		q.Limit = 20
	}
	if f == nil && q.Limit > maxTexts {
		f = wire.Errorf(wire.CodeInvalidRequest, "limit", "the parameter limit must be from 1 to %d", maxTexts)
	}
	g.answerTexts(w, r, TextsQuestion{Tenant: tenant, Words: r.URL.Query().Get("words"), Since: q.Since, Until: q.Until, Limit: q.Limit}, f)
}

// answerTexts asks ClickHouse, unless the question is at fault.
func (g *Gateway) answerTexts(w http.ResponseWriter, r *http.Request, q TextsQuestion, f *wire.Error) {
	if f == nil && g.cfg.Texts == nil {
		f = wire.Errorf(wire.CodeUnavailable, "", "no ClickHouse is configured where this gateway runs")
	}
	var answer any
	if f == nil {
		ctx, cancel := context.WithTimeout(r.Context(), adminTimeout)
		defer cancel()
		var err error
		if answer, err = g.cfg.Texts(ctx, q); err != nil {
			f = g.textFault(r, err)
		}
	}
	w.Header().Set("Cache-Control", "no-store")
	if f != nil {
		refuse(w, "", f, 0)
		return
	}
	writeJSON(w, http.StatusOK, mustJSON(answer))
}

// textFault is an error of ClickHouse for people. What it says is not logged: it
// may quote what was searched for.
func (g *Gateway) textFault(r *http.Request, err error) *wire.Error {
	var known *wire.Error
	if errors.As(err, &known) {
		return known
	}
	if r.Context().Err() == nil {
		g.cfg.Logger.Warn("ClickHouse did not answer a question for texts")
	}
	return wire.Errorf(wire.CodeUnavailable, "", "ClickHouse does not answer this now; it may be starting: try again, or see sluice doctor")
}

// forgetTexts deletes what is kept of a job, or of a whole tenant: 200 when it
// is gone, 202 when it is ordered and ClickHouse has not done it yet.
func (g *Gateway) forgetTexts(w http.ResponseWriter, r *http.Request) {
	tenant, f := g.textScope(r)
	job := r.URL.Query().Get("job")
	switch {
	case f != nil:
	case tenant == "":
		f = wire.Errorf(wire.CodeInvalidRequest, "tenant", "the parameter tenant must say whose texts to delete")
	case job != "" && !wire.ValidName(job):
		f = wire.Errorf(wire.CodeInvalidJobID, "job", "a job ID must match [A-Za-z0-9_-]{1,64}")
	}
	if f != nil {
		refuse(w, "", f, 0)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), adminTimeout)
	defer cancel()
	done, err := ledger.ForgetTexts(ctx, g.js, g.cfg.Subjects, tenant, job)
	if err != nil {
		refuse(w, "", faultOf(reason(ctx, err)), 0)
		return
	}
	g.cfg.Logger.Info("deletion of texts ordered", "tenant", tenant, "job", job)
	status := http.StatusOK
	if !done {
		status = http.StatusAccepted
	}
	writeJSON(w, status, mustJSON(map[string]any{"tenant": tenant, "job_id": job, "deleted": done}))
}
