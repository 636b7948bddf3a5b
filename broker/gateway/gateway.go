package gateway

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/broker/batch"
	"github.com/sluicehq/sluice/sdk/ledger"
)

// Gateway serves HTTP. Make one with New; then either Run or Serve it, or give
// its Handler to a server of your own and Close it at the end.
type Gateway struct {
	cfg     Config
	fault   error // of the configuration
	tenants atomic.Pointer[tenants]
	admin   *[sha256.Size]byte // hash of the administrator's key, nil without one
	clients *clients
	ledger  *ledger.Ledger
	js      jetstream.JetStream
	store   *batch.Store
	metrics *metrics
	readers readers
	logins  sessions
	live    feeds
	meters  meters
	acks    acks
	handler http.Handler
	started time.Time

	flying   atomic.Int64 // requests for an answer under way
	stopping atomic.Bool
	addr     atomic.Value // string
}

// New makes a Gateway; it does no I/O. A fault in the configuration is what
// Run returns.
func New(cfg Config) *Gateway {
	g := &Gateway{cfg: cfg.withDefaults(), fault: cfg.check(), started: time.Now()}
	g.metrics = newMetrics(g.cfg.Registry)
	g.cfg.Registry.MustRegister(newStateMetrics(g))
	g.readers.of = make(map[string]int)
	g.tenants.Store(newTenants(cfg.Tenants))
	g.meters.set(cfg.Tenants, g.started)
	if cfg.AdminKey != "" {
		h := g.tenants.Load().hash(cfg.AdminKey)
		g.admin = &h
	}
	g.cfg.Tenants, g.cfg.AdminKey = nil, "" // their hashes are kept, not their keys
	g.clients = newClients(cfg.Conn, cfg.Subjects)
	if cfg.Conn != nil {
		js, err := jetstream.New(cfg.Conn)
		g.fault = errors.Join(g.fault, err)
		g.js = js
		g.ledger = ledger.New(js, cfg.Subjects)
		g.store = batch.NewStore(js, cfg.Subjects)
	}
	g.handler = g.routes()
	return g
}

// SetTenants replaces the tenants while the gateway serves. One that asks for
// no key does not begin to that way, nor does it stop asking.
func (g *Gateway) SetTenants(list []Tenant) error {
	if err := errors.Join(tenantFaults(list)...); err != nil {
		return fmt.Errorf("gateway: %w", err)
	}
	if g.tenants.Load().open() != (len(list) == 0) {
		return errors.New("gateway: HTTP asks for keys, or not, from its start on: restart it to change that")
	}
	g.tenants.Store(saltedTenants(g.tenants.Load().salt, list))
	g.meters.set(list, time.Now())
	return nil
}

// Handler is the gateway as an HTTP handler.
func (g *Gateway) Handler() http.Handler { return g.handler }

// Addr is where Run or Serve listens, "" before they do.
func (g *Gateway) Addr() string {
	s, _ := g.addr.Load().(string)
	return s
}

// Close ends what Handler opened; Run and Serve do it themselves. Requests
// under way fail.
func (g *Gateway) Close() {
	g.stopping.Store(true)
	g.clients.close()
	g.live.close()
}

// Run listens and serves until ctx ends, then lets requests under way go on
// for Config.StopTimeout, cuts off the others and returns nil. An error means
// that it could not start, or that the listener broke.
func (g *Gateway) Run(ctx context.Context) error {
	if g.fault != nil {
		return g.fault
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", g.cfg.Listen)
	if err != nil {
		return fmt.Errorf("gateway: %w; is another process using http.listen?", err)
	}
	return g.Serve(ctx, l)
}

// Serve is Run on a listener that is open already; it closes it.
func (g *Gateway) Serve(ctx context.Context, l net.Listener) error {
	defer g.Close()
	if g.fault != nil {
		return errors.Join(g.fault, l.Close())
	}
	g.addr.Store(l.Addr().String())
	base, cut := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cut(nil)
	srv := &http.Server{
		Handler: g.handler, ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
		BaseContext: func(net.Listener) context.Context { return base },
		ErrorLog:    slog.NewLogLogger(g.cfg.Logger.Handler(), slog.LevelDebug),
	}
	done := make(chan error, 1)
	go func() { done <- g.listen(srv, l) }() // ends by Shutdown or Close below
	select {
	case err := <-done:
		return fmt.Errorf("gateway: %w", err)
	case <-ctx.Done():
	}
	g.stopping.Store(true)
	g.shutdown(srv, cut)
	<-done
	return nil
}

// listen serves with TLS, if there is a certificate.
func (g *Gateway) listen(srv *http.Server, l net.Listener) error {
	if g.cfg.TLS == nil {
		return srv.Serve(l)
	}
	srv.TLSConfig = &tls.Config{GetCertificate: g.cfg.TLS.get, MinVersion: tls.VersionTLS12}
	return srv.ServeTLS(l, "", "")
}

const (
	headerTimeout = 10 * time.Second
	idleTimeout   = 2 * time.Minute
	maxHeader     = 64 << 10
	cutTimeout    = 3 * time.Second // for answering requests that are cut off
)

// shutdown takes no more requests, waits for those under way, then cuts off.
func (g *Gateway) shutdown(srv *http.Server, cut context.CancelCauseFunc) {
	ctx, cancel := context.WithTimeout(context.Background(), g.cfg.StopTimeout)
	defer cancel()
	if srv.Shutdown(ctx) == nil {
		return
	}
	cut(errStopping)
	ctx, cancel = context.WithTimeout(context.Background(), cutTimeout)
	defer cancel()
	if err := srv.Shutdown(ctx); err != nil {
		g.cfg.Logger.Warn("requests cut off", "in_flight", g.flying.Load())
		_ = srv.Close()
	}
}

// enter counts a request for an answer in, unless there are too many.
func (g *Gateway) enter() bool {
	if g.flying.Add(1) > int64(g.cfg.MaxInFlight) {
		g.flying.Add(-1)
		return false
	}
	return true
}

func (g *Gateway) leave() { g.flying.Add(-1) }
