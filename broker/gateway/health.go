package gateway

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/sluicehq/sluice/sdk"
	"github.com/sluicehq/sluice/sdk/wire"
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
	if err := g.acks.fault(); err != nil {
		return err
	}
	return g.cfg.Ready()
}

// When submissions stay without acknowledgement: so many one after the other
// are no accident, and so long after the last one another may be tried.
const (
	unackedMost = 3
	unackedFor  = time.Minute
)

// acks notes whether NATS acknowledges jobs. A server whose disk was full stays
// silent, connected as it is, until it is started anew.
type acks struct {
	mu   sync.Mutex
	lost int // without one in between that was acknowledged
	last time.Time
}

// note takes how a submission ended.
func (a *acks) note(err error, log *slog.Logger) {
	silent := errors.Is(err, context.DeadlineExceeded) || sdk.CodeOf(err) == wire.CodeUnavailable
	if err != nil && !silent {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case silent:
		a.last = time.Now()
		if a.lost++; a.lost == unackedMost {
			log.Error("NATS acknowledges no jobs: look at its servers' disks and logs; a nats-server that had no room to write must be started anew once there is some (sluice up does that by itself)")
		}
	case a.lost >= unackedMost:
		log.Info("NATS acknowledges jobs again")
		fallthrough
	default:
		a.lost = 0
	}
}

// fault says that jobs are probably not taken now.
func (a *acks) fault() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.lost >= unackedMost && time.Since(a.last) < unackedFor {
		return errors.New("NATS acknowledges no jobs: look at its servers' disks and logs")
	}
	return nil
}
