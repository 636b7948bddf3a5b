package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sluicehq/sluice/broker/live"
	"github.com/sluicehq/sluice/sdk/wire"
)

// The dashboard's page: only its own scripts run, nobody frames it, and it
// talks to this gateway only.
const pagePolicy = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; " +
	"frame-ancestors 'none'; base-uri 'none'; form-action 'self'"

// servePage serves the dashboard's files. Those below /assets/ have a hash in
// their names and never change.
func (g *Gateway) servePage() http.HandlerFunc {
	files := http.FileServerFS(g.cfg.Web)
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			notFound(w, r)
			return
		}
		if r.URL.Path != "/" {
			if _, err := fs.Stat(g.cfg.Web, strings.TrimPrefix(r.URL.Path, "/")); err != nil {
				notFound(w, r)
				return
			}
		}
		h := w.Header()
		h.Set("Content-Security-Policy", pagePolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-cache")
		if strings.HasPrefix(r.URL.Path, "/assets/") {
			h.Set("Cache-Control", "public, max-age=31536000, immutable")
		}
		files.ServeHTTP(w, r)
	}
}

// feeds are meters of the ledger, one for each tenant that someone looks at,
// and one for all. A feed lives as long as somebody looks.
type feeds struct {
	mu   sync.Mutex
	list map[string]*feed
}

type feed struct {
	meter   *live.Meter
	stop    func()
	viewers int

	mu   sync.Mutex // held while the event is made, so that it is made once
	at   time.Time
	data []byte
}

// feedEvery is the time between two events of a live view.
const feedEvery = time.Second

func (f *feeds) take(tenant string, start func() (*live.Meter, func(), error)) (*feed, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	x := f.list[tenant]
	if x == nil {
		m, stop, err := start()
		if err != nil {
			return nil, err
		}
		if f.list == nil {
			f.list = map[string]*feed{}
		}
		x = &feed{meter: m, stop: stop}
		f.list[tenant] = x
	}
	x.viewers++
	return x, nil
}

func (f *feeds) give(tenant string, x *feed) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if x.viewers--; x.viewers == 0 && f.list[tenant] == x {
		x.stop()
		delete(f.list, tenant)
	}
}

func (f *feeds) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for name, x := range f.list {
		x.stop()
		delete(f.list, name)
	}
}

// serveLive streams the live view as server-sent events, one a second, until
// the client goes or its log-in ends.
func (g *Gateway) serveLive(w http.ResponseWriter, r *http.Request) {
	tenant, f := g.scope(r)
	if f != nil {
		refuse(w, "", f, 0)
		return
	}
	subject := tenant
	if subject == "" {
		subject = "*"
	}
	x, err := g.live.take(subject, func() (*live.Meter, func(), error) { return live.Follow(g.cfg.Conn, g.cfg.Subjects, subject) })
	if err != nil {
		refuse(w, "", faultOf(err), 0)
		return
	}
	defer g.live.give(subject, x)
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no")
	rc := http.NewResponseController(w)
	tick := time.NewTicker(feedEvery)
	defer tick.Stop()
	for {
		data := x.event(r.Context(), g)
		_ = rc.SetWriteDeadline(time.Now().Add(g.cfg.WriteTimeout)) // not every writer has one
		if _, err := fmt.Fprintf(w, "event: live\ndata: %s\n\n", data); err != nil || rc.Flush() != nil {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-tick.C:
		}
		if _, f := g.scope(r); f != nil || g.stopping.Load() {
			return
		}
	}
}

// event is the live view as JSON, made at most once a period for all viewers.
func (x *feed) event(ctx context.Context, g *Gateway) []byte {
	x.mu.Lock()
	defer x.mu.Unlock()
	now := time.Now()
	if now.Sub(x.at) < feedEvery*9/10 {
		return x.data
	}
	view := struct {
		Live    live.Snapshot   `json:"live"`
		Pools   json.RawMessage `json:"pools"` // of the administrative operation
		Streams json.RawMessage `json:"streams"`
		Error   string          `json:"error,omitempty"`
	}{Live: x.meter.Snapshot(now), Pools: json.RawMessage("[]"), Streams: json.RawMessage("[]")}
	for op, part := range map[string]struct {
		name string
		into *json.RawMessage
	}{"pools": {"pools", &view.Pools}, "health": {"streams", &view.Streams}} {
		answer, f := g.ask(ctx, op, adminRequest{})
		var parts map[string]json.RawMessage
		if f != nil {
			view.Error = f.Message
		} else if json.Unmarshal(answer, &parts) == nil && parts[part.name] != nil {
			*part.into = parts[part.name]
		}
	}
	x.at, x.data = now, mustJSON(view)
	return x.data
}

// serveAnalytics answers a question from ClickHouse.
func (g *Gateway) serveAnalytics(w http.ResponseWriter, r *http.Request) {
	q, f := g.question(r)
	if f != nil {
		refuse(w, "", f, 0)
		return
	}
	if g.cfg.Analytics == nil {
		refuse(w, "", wire.Errorf(wire.CodeUnavailable, "", "no ClickHouse is configured where this gateway runs"), 0)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), adminTimeout)
	defer cancel()
	answer, err := g.cfg.Analytics(ctx, q)
	if err != nil {
		var known *wire.Error
		if !errors.As(err, &known) && r.Context().Err() == nil {
			g.cfg.Logger.Warn("ClickHouse did not answer a question", "question", q.Name, "err", err)
			err = wire.Errorf(wire.CodeUnavailable, "", "ClickHouse does not answer this now; it may be starting: try again, or see this process's log")
		}
		refuse(w, "", faultOf(err), 0)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	writeJSON(w, http.StatusOK, mustJSON(answer))
}

func (g *Gateway) question(r *http.Request) (Question, *wire.Error) {
	q := Question{Name: r.PathValue("question"), Where: map[string]string{}}
	var f *wire.Error
	if q.Tenant, f = g.scope(r); f != nil {
		return q, f
	}
	values := r.URL.Query()
	for _, list := range values["by"] {
		for name := range strings.SplitSeq(list, ",") {
			if name != "" {
				q.By = append(q.By, name)
			}
		}
	}
	for _, pair := range values["where"] {
		name, value, ok := strings.Cut(pair, "=")
		if !ok {
			return q, wire.Errorf(wire.CodeInvalidRequest, "where", "the parameter where must be <dimension>=<value>")
		}
		q.Where[name] = value
	}
	for name, into := range map[string]*time.Time{"since": &q.Since, "until": &q.Until} {
		v := values.Get(name)
		if v == "" {
			continue
		}
		t, err := time.Parse(time.RFC3339, v)
		if err != nil {
			return q, wire.Errorf(wire.CodeInvalidRequest, name, "the parameter %s must be an RFC 3339 time", name)
		}
		*into = t
	}
	if v := values.Get("limit"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 || n > 10_000 {
			return q, wire.Errorf(wire.CodeInvalidRequest, "limit", "the parameter limit must be a whole number from 1 to 10000")
		}
		q.Limit = n
	}
	return q, nil
}
