package config

import (
	"slices"
	"strconv"
	"strings"

	"github.com/sluicehq/sluice/broker/budget/account"
	"github.com/sluicehq/sluice/sdk/wire"
)

// Definition is the budget as the broker reads it.
func (b *Budget) Definition() account.Definition {
	return account.Definition{Scope: b.Scope, LimitUSD: b.LimitUSD, LimitTokens: b.LimitTokens, LimitJobs: b.LimitJobs, Window: b.Window,
		Rolling: b.Rolling, Zone: b.Zone, OnExceeded: b.OnExceeded, UnknownPrice: b.UnknownPrice, UnknownCost: b.UnknownCost, Alerts: b.Alerts}
}

// budgets checks each budget, that none is given twice, and that scopes name
// what there is.
func (v *validator) budgets() {
	seen := make(map[string]int)
	for i := range v.c.Budgets {
		b, key := &v.c.Budgets[i], at("budgets", i)
		def := b.Definition()
		parsed, faults := def.Parse()
		for _, f := range faults {
			v.bad(key+"."+f.Field, b.text(f.Field), f.Bound)
		}
		if len(faults) == 0 {
			v.unique(seen, key+".scope", parsed.ID(), i)
		}
		v.scope(key+".scope", b.Scope, parsed.Scope)
	}
	v.number("holds.max_tokens", v.c.Holds.MaxTokens, 1, 10_000_000)
	v.number("holds.media_tokens", v.c.Holds.MediaTokens, 1, 10_000_000)
}

// text is a field's value as a fault shows it.
func (b *Budget) text(field string) string {
	switch field {
	case "scope":
		return b.Scope
	case "window":
		return b.Window
	case "zone":
		return b.Zone
	case "on_exceeded":
		return b.OnExceeded
	case "unknown_price":
		return b.UnknownPrice
	case "unknown_cost":
		return b.UnknownCost
	case "limit_tokens":
		return number(b.LimitTokens)
	case "limit_jobs":
		return number(b.LimitJobs)
	case "limit_usd":
		if b.LimitUSD != nil {
			return b.LimitUSD.String()
		}
	}
	return ""
}

func number(n *int64) string {
	if n == nil {
		return ""
	}
	return strconv.FormatInt(*n, 10)
}

// scope checks that what a budget is for is configured, where that is known.
func (v *validator) scope(key, text string, s account.Scope) {
	for _, t := range s.Terms() {
		known, all := v.known(t.Dimension)
		if all && !slices.Contains(known, t.Value) {
			v.bad(key, text, "names no configured "+string(t.Dimension)+": there are "+strings.Join(known[:min(len(known), maxNames)], ", "))
		}
	}
}

// known are the values that a dimension can have; false: any.
func (v *validator) known(d account.Dimension) (names []string, all bool) {
	switch d {
	case account.Tenant, account.Key:
		for _, t := range v.c.Tenants {
			names = append(names, t.Name)
			for i := range t.Keys {
				if d == account.Key {
					names = append(names, wire.KeyName(t.Name, t.Keys[i].Name))
				}
			}
		}
		return names, len(names) > 0 // without tenants any name may come
	case account.Pool:
		return v.poolNames(), true
	case account.Provider, account.Model:
		for i := range v.c.Pools {
			p := &v.c.Pools[i]
			if d == account.Provider {
				names = append(names, p.Provider)
				continue
			}
			for _, m := range p.Models {
				names = append(names, m.Upstream)
			}
		}
		slices.Sort(names)
		return slices.Compact(names), true
	case account.Route:
		for _, r := range v.c.Routes {
			names = append(names, r.Model)
		}
		return names, true
	}
	return nil, false
}
