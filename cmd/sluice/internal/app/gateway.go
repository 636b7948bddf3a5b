package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"

	"github.com/sluicehq/sluice/analytics/alert"
	"github.com/sluicehq/sluice/broker/gateway"
	"github.com/sluicehq/sluice/cmd/sluice/internal/config"
	"github.com/sluicehq/sluice/cmd/sluice/internal/dashboard"
	"github.com/sluicehq/sluice/sdk/wire"
)

// gatewayPart is the HTTP role: its listener is open before the process says
// that it is ready.
type gatewayPart struct {
	gw       *gateway.Gateway
	answers  *answers // nil: no ClickHouse
	listener net.Listener
}

// newGateway opens the HTTP role's listener.
func (a *App) newGateway() (*gatewayPart, error) {
	js, err := a.connect("gateway")
	if err != nil {
		return nil, err
	}
	gc := gateway.Config{Listen: a.cfg.HTTP.Listen, Conn: js.Conn(), Subjects: a.subjects, Logger: a.log,
		Models: a.models, Bundles: a.bundles, Ready: a.ready, Tracer: a.tracer}
	if a.srv != nil {
		gc.Full = a.srv.Fault
	}
	gc.Registry = gateway.NewRegistry()
	gc.Registry.MustRegister(newBudgetMetrics(a), newTextMetrics(a), newAlertMetrics(func(ctx context.Context) ([]wire.Alert, error) { return alert.List(ctx, js, a.subjects) }))
	hooks, err := a.newWebhooks()
	if err != nil {
		return nil, err
	}
	if hooks != nil {
		gc.Webhooks = hooks
	}
	h := a.cfg.HTTP
	gc.Origins, gc.MaxBody, gc.MaxInFlight, gc.Deadline = h.Origins, h.MaxBody, h.MaxInFlight, h.Timeout
	if h.TLS.Cert != "" {
		if gc.TLS, err = gateway.LoadCertificate(h.TLS.Cert, h.TLS.Key); err != nil {
			return nil, fmt.Errorf("http.tls: %w", err)
		}
	}
	gc.Tenants, gc.AdminKey, gc.Web = httpTenants(a.cfg), a.cfg.HTTP.AdminKey.Reveal(), dashboard.Files()
	questions, err := a.newAnswers()
	if err != nil {
		return nil, err
	}
	if questions != nil {
		gc.Analytics, gc.Texts = questions.ask, questions.texts
	}
	l, err := net.Listen("tcp", a.cfg.HTTP.Listen)
	if err != nil {
		return nil, fmt.Errorf("HTTP: %w; stop what holds the port, or set http.listen", err)
	}
	a.httpAddr = l.Addr().String()
	p := &gatewayPart{gw: gateway.New(gc), answers: questions, listener: l}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.gw = p.gw
	return p, nil
}

func (p *gatewayPart) run(ctx context.Context) error {
	if p.answers != nil {
		defer func() { _ = p.answers.store.Close() }() // only read from
	}
	return p.gw.Serve(ctx, p.listener)
}

// bundles reports whether a pool takes jobs by its provider's batch API.
func (a *App) bundles() bool {
	return slices.ContainsFunc(a.current().Pools, func(p config.Pool) bool { return p.Batch != nil && !p.Removing })
}

// models are the routes that clients may ask for.
func (a *App) models() []string {
	var out []string
	for _, r := range a.current().Routes {
		out = append(out, r.Model)
	}
	return out
}

// ready says why jobs cannot be taken.
func (a *App) ready() error {
	for _, nc := range a.conns {
		if !nc.IsConnected() {
			return errors.New("NATS is not connected")
		}
	}
	if a.srv != nil {
		if err := a.srv.Fault(); err != nil {
			return fmt.Errorf("NATS cannot write: make room on the disk of the data folder (%w)", err)
		}
	}
	return nil
}

// current is the configuration in force.
func (a *App) current() *config.Config {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.now
}
