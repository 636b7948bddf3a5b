package app

import (
	"github.com/sluicehq/sluice/broker/gateway"
	"github.com/sluicehq/sluice/broker/natsd"
	"github.com/sluicehq/sluice/cmd/sluice/internal/config"
)

// setTenants lets NATS and HTTP know the tenants of a changed configuration.
// Whether there are any is decided at the start.
func (a *App) setTenants(cfg *config.Config) error {
	if (len(a.cfg.Tenants) == 0) != (len(cfg.Tenants) == 0) {
		return nil
	}
	if a.srv != nil {
		if err := a.srv.SetTenants(natsTenants(cfg)); err != nil {
			return err
		}
	}
	a.mu.Lock()
	gw := a.gw
	a.mu.Unlock()
	if gw == nil {
		return nil
	}
	return gw.SetTenants(httpTenants(cfg))
}

func natsTenants(cfg *config.Config) []natsd.Tenant {
	var out []natsd.Tenant
	for _, t := range cfg.Tenants {
		x := natsd.Tenant{Name: t.Name, Key: t.Key.Reveal()}
		for _, k := range t.Keys {
			x.Keys = append(x.Keys, natsd.Key{Name: k.Name, Key: k.Key.Reveal()})
		}
		out = append(out, x)
	}
	return out
}

func httpTenants(cfg *config.Config) []gateway.Tenant {
	var out []gateway.Tenant
	for _, t := range cfg.Tenants {
		x := gateway.Tenant{Name: t.Name, Key: t.Key.Reveal(), Limits: gateway.Limits(t.Limits)}
		for _, k := range t.Keys {
			x.Keys = append(x.Keys, gateway.Key{Name: k.Name, Key: k.Key.Reveal(), Limits: gateway.Limits(k.Limits)})
		}
		out = append(out, x)
	}
	return out
}
