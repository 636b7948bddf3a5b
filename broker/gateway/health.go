package gateway

import (
	"errors"
	"net/http"
)

// serveHealth answers while the process lives.
func (g *Gateway) serveHealth(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, []byte(`{"status":"ok"}`))
}

// serveReady answers 200 while jobs are taken, and says why not otherwise.
func (g *Gateway) serveReady(w http.ResponseWriter, _ *http.Request) {
	if err := g.ready(); err != nil {
		w.Header().Set("Retry-After", "1")
		writeJSON(w, http.StatusServiceUnavailable, mustJSON(map[string]string{"status": "not_ready", "reason": err.Error()}))
		return
	}
	writeJSON(w, http.StatusOK, []byte(`{"status":"ready"}`))
}

func (g *Gateway) ready() error {
	switch {
	case g.stopping.Load():
		return errors.New("stopping")
	case g.cfg.Conn == nil || !g.cfg.Conn.IsConnected():
		return errors.New("not connected to NATS")
	}
	return g.cfg.Ready()
}
