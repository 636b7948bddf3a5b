package gateway

import (
	"net/http"
	"path"
	"runtime/debug"
	"strings"

	"github.com/sluicehq/sluice/sdk/wire"
)

// routes is every path that the gateway knows, behind what every request
// passes.
func (g *Gateway) routes() http.Handler {
	mux := http.NewServeMux()
	for _, e := range []wire.Endpoint{wire.ChatCompletions, wire.Completions, wire.Embeddings, wire.Responses, wire.Messages} {
		mux.Handle(string(e), method(e, http.MethodPost, g.serveCall(e)))
	}
	for pattern, h := range map[string]http.HandlerFunc{
		"/v1/responses/{id}/input_items": g.serveInputItems,
		"/admin/v1/webhooks":             g.serveWebhooks,
		"/admin/v1/webhooks/secret":      g.serveWebhookSecret,
		"/v1/models":                     g.serveModels,
		"/v1/models/{id...}":             g.serveModel,
		"/healthz":                       g.serveHealth,
		"/readyz":                        g.serveReady,
		"/metrics":                       g.metrics.handler(),
		"/admin/v1/jobs":                 g.serveAdmin("jobs"),
		"/admin/v1/jobs/{id}":            g.serveJob(showJob),
		"/admin/v1/jobs/{id}/text":       g.serveJobText,
		"/admin/v1/routes":               g.serveAdmin("routes"),
		"/admin/v1/dead":                 g.serveAdmin("dead.list"),
		"/admin/v1/dead/{id}":            g.serveAdmin("dead.show"),
		"/admin/v1/batches":              g.serveBatchList,
		"/admin/v1/batches/{id}":         g.serveBatch(viewBatch),
		"/admin/v1/batches/{id}/{side}":  g.serveBatch(g.sendResults),
		"/admin/v1/alerts":               g.serveAdmin("alerts"),
		"/admin/v1/live":                 g.serveLive,
		"/admin/v1/analytics/{question}": g.serveAnalytics,
	} {
		mux.HandleFunc(pattern, method("", http.MethodGet, h))
	}
	mux.HandleFunc("/admin/v1/quality", method("", http.MethodPost, g.serveQuality))
	mux.HandleFunc("/admin/v1/budgets", methods(map[string]http.HandlerFunc{
		http.MethodGet: g.serveAdmin("budgets"), http.MethodPost: g.serveOperation("budget.set", budgetOf), http.MethodDelete: g.serveOperation("budget.remove", idOf)}))
	mux.HandleFunc("/admin/v1/pools", methods(map[string]http.HandlerFunc{
		http.MethodGet: g.serveAdmin("pools"), http.MethodPost: g.serveOperation("pool.add", specOf)}))
	mux.HandleFunc("/admin/v1/pools/{pool}", method("", http.MethodDelete, g.serveOperation("pool.remove", poolOf)))
	mux.HandleFunc("/admin/v1/pools/{pool}/drain", method("", http.MethodPost, g.serveOperation("pool.drain", poolOf)))
	mux.HandleFunc("/admin/v1/pools/{pool}/resume", method("", http.MethodPost, g.serveOperation("pool.resume", poolOf)))
	mux.HandleFunc("/admin/v1/texts", methods(map[string]http.HandlerFunc{http.MethodGet: g.serveTexts, http.MethodDelete: g.forgetTexts}))
	mux.HandleFunc("/v1/responses/{id}", methods(map[string]http.HandlerFunc{
		http.MethodGet: g.serveResponse, http.MethodDelete: g.deleteResponse}))
	mux.HandleFunc("/v1/responses/{id}/cancel", method(wire.Responses, http.MethodPost, g.serveCancel))
	mux.HandleFunc("/admin/v1/jobs/{id}/cancel", method("", http.MethodPost, g.serveJob(cancelJob)))
	mux.HandleFunc("/admin/v1/batches/{id}/cancel", method("", http.MethodPost, g.serveBatch(g.stopBatch)))
	g.storedRoutes(mux)
	mux.HandleFunc("/admin/v1/dead/requeue", method("", http.MethodPost, g.serveOperation("dead.requeue", deadOf)))
	mux.HandleFunc("/admin/v1/session", g.serveSession)
	if g.cfg.Web == nil {
		mux.HandleFunc("/", notFound)
	} else {
		mux.HandleFunc("/", g.servePage())
	}
	return g.guard(mux)
}

// guard refuses what a web page of another origin makes a browser send, tidies
// paths that a base URL with a slash at its end leads to, and answers for a
// handler that panics.
func (g *Gateway) guard(next http.Handler) http.Handler {
	cors, err := newCORS(g.cfg.Origins)
	if err != nil { // Config.check has told
		cors, _ = newCORS(nil)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer g.rescue(w)
		if cors.allow(w, r) {
			return
		}
		if err := cors.cross.Check(r); err != nil {
			refuse(w, "", wire.Errorf(codeOrigin, "", "requests of web pages from another origin are not taken"), 0)
			return
		}
		if strings.Contains(r.URL.Path, "//") {
			u := *r.URL
			u.Path, u.RawPath = path.Clean(u.Path), ""
			r = r.Clone(r.Context())
			r.URL = &u
		}
		next.ServeHTTP(w, r)
	})
}

// rescue turns a panic into an answer, if it is not too late for one.
func (g *Gateway) rescue(w http.ResponseWriter) {
	p := recover()
	if p == nil {
		return
	}
	if p == http.ErrAbortHandler { //nolint:errorlint // it is compared by identity in net/http too
		panic(p)
	}
	// The value of a panic may quote what was being worked on: not logged (I6).
	g.cfg.Logger.Error("request failed by a panic", "stack", string(debug.Stack()))
	if w.Header().Get("Content-Type") == "" {
		refuse(w, "", faultOf(nil), 0)
		return
	}
	panic(http.ErrAbortHandler) // cuts the answer off visibly
}

// method lets one method through.
func method(e wire.Endpoint, name string, h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method == name || r.Method == http.MethodHead && name == http.MethodGet {
			h(w, r)
			return
		}
		w.Header().Set("Allow", name)
		refuse(w, e, wire.Errorf(codeMethod, "", "not allowed to %s on %.200s: use %s", printMethod(r), r.URL.Path, name), 0)
	}
}

func notFound(w http.ResponseWriter, r *http.Request) {
	refuse(w, "", wire.Errorf(codeUnknownURL, "", "unknown URL: %s %.200s", printMethod(r), r.URL.Path), 0)
}

// printMethod bounds what a client can make us repeat.
func printMethod(r *http.Request) string { return r.Method[:min(len(r.Method), 16)] }
