package gateway

import (
	"net/http"
	"slices"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
)

// model is a route as OpenAI lists models.
type model struct {
	ID      string `json:"id"`
	Object  string `json:"object"`
	Created int64  `json:"created"`
	OwnedBy string `json:"owned_by"`
}

// anthropicModel is a route as Anthropic lists models.
type anthropicModel struct {
	Type        string `json:"type"`
	ID          string `json:"id"`
	DisplayName string `json:"display_name"`
	CreatedAt   string `json:"created_at"`
}

// dialect is the endpoint whose shapes a client of either provider expects on
// a path that both have.
func dialect(r *http.Request) wire.Endpoint {
	if r.Header.Get("Anthropic-Version") != "" {
		return wire.Messages
	}
	return wire.ChatCompletions
}

func (g *Gateway) describe(e wire.Endpoint, name string) any {
	if e == wire.Messages {
		return anthropicModel{"model", name, name, g.started.UTC().Format(time.RFC3339)}
	}
	return model{name, "model", g.started.Unix(), "sluice"}
}

// serveModels lists the routes.
func (g *Gateway) serveModels(w http.ResponseWriter, r *http.Request) {
	e := dialect(r)
	if _, f := g.tenants.Load().of(r); f != nil {
		refuse(w, e, f, 0)
		return
	}
	names := g.cfg.Models()
	data := make([]any, len(names))
	for i, name := range names {
		data[i] = g.describe(e, name)
	}
	list := map[string]any{"object": "list", "data": data}
	if e == wire.Messages {
		list = map[string]any{"data": data, "has_more": false, "first_id": nil, "last_id": nil}
		if n := len(names); n > 0 {
			list["first_id"], list["last_id"] = names[0], names[n-1]
		}
	}
	writeJSON(w, http.StatusOK, mustJSON(list))
}

// serveModel shows one route.
func (g *Gateway) serveModel(w http.ResponseWriter, r *http.Request) {
	e := dialect(r)
	if _, f := g.tenants.Load().of(r); f != nil {
		refuse(w, e, f, 0)
		return
	}
	id := r.PathValue("id")
	if !slices.Contains(g.cfg.Models(), id) {
		refuse(w, e, wire.Errorf(wire.CodeUnknownRoute, "model", "no route is called %.80q: see /v1/models", id), 0)
		return
	}
	writeJSON(w, http.StatusOK, mustJSON(g.describe(e, id)))
}
