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
		out = append(out, natsd.Tenant{Name: t.Name, Key: t.Key.Reveal()})
	}
	return out
}

func httpTenants(cfg *config.Config) []gateway.Tenant {
	var out []gateway.Tenant
	for _, t := range cfg.Tenants {
		out = append(out, gateway.Tenant{Name: t.Name, Key: t.Key.Reveal(), Limits: gateway.Limits{RPM: t.Limits.RPM, TPM: t.Limits.TPM}})
	}
	return out
}
