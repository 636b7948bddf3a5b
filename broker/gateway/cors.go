package gateway

import (
	"net/http"
	"slices"
)

// cors lets web pages of the listed origins in. Without any, browsers are told
// nothing, and what they send from another origin is refused.
type cors struct {
	origins []string
	cross   *http.CrossOriginProtection
}

// newCORS trusts origins; one that is malformed is an error.
func newCORS(origins []string) (*cors, error) {
	c := &cors{origins: origins, cross: http.NewCrossOriginProtection()}
	for _, o := range origins {
		if err := c.cross.AddTrustedOrigin(o); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// exposed are headers of answers that pages may read.
const exposed = "Sluice-Job, Sluice-Pool, Sluice-Cost-Nano-Usd, Sluice-Error-Code, X-Request-Id, Request-Id, Retry-After, " +
	"X-Ratelimit-Limit-Requests, X-Ratelimit-Remaining-Requests, X-Ratelimit-Reset-Requests"

// allow answers a browser's question about a listed origin, and marks answers
// to such pages. It reports whether the request has been answered.
func (c *cors) allow(w http.ResponseWriter, r *http.Request) (answered bool) {
	origin := r.Header.Get("Origin")
	if origin == "" || !slices.Contains(c.origins, origin) {
		return false
	}
	h := w.Header()
	h.Add("Vary", "Origin")
	h.Set("Access-Control-Allow-Origin", origin)
	h.Set("Access-Control-Expose-Headers", exposed)
	if r.Method != http.MethodOptions || r.Header.Get("Access-Control-Request-Method") == "" {
		return false
	}
	h.Set("Access-Control-Allow-Methods", "GET, POST, DELETE")
	h.Set("Access-Control-Allow-Headers", r.Header.Get("Access-Control-Request-Headers"))
	h.Set("Access-Control-Max-Age", "600")
	w.WriteHeader(http.StatusNoContent)
	return true
}
