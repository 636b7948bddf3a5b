package config

import (
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/sluicehq/sluice/sdk/wire"
	"go.yaml.in/yaml/v3"
)

// Redacted is the whole configuration as YAML, defaults included, with every
// secret as "***".
func (c *Config) Redacted() (string, error) {
	var b strings.Builder
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := errors.Join(enc.Encode(c), enc.Close()); err != nil {
		return "", fmt.Errorf("encode the configuration: %w", err)
	}
	return b.String(), nil
}

// scalarNode is a YAML scalar; the encoder quotes text where it must.
func scalarNode(text string, number bool) *yaml.Node {
	n := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: text}
	if number {
		if n.Tag = "!!int"; strings.Contains(text, ".") {
			n.Tag = "!!float"
		}
	}
	return n
}

// MarshalYAML writes models as the file does: a mapping by offered name.
func (m Models) MarshalYAML() (any, error) {
	out := &yaml.Node{Kind: yaml.MappingNode}
	for _, model := range m {
		body := &yaml.Node{Kind: yaml.MappingNode}
		if model.Upstream != model.Name {
			body.Content = append(body.Content, scalarNode("upstream", false), scalarNode(model.Upstream, false))
		}
		if model.Price != nil {
			body.Content = append(body.Content, scalarNode("price", false), priceNode(model.Price))
		}
		out.Content = append(out.Content, scalarNode(model.Name, false), body)
	}
	return out, nil
}

func priceNode(p *wire.Price) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode, Style: yaml.FlowStyle}
	for _, r := range []struct {
		name string
		rate wire.Rate
	}{{"input", p.Input}, {"cache_read", p.CacheRead}, {"cache_write", p.CacheWrite}, {"output", p.Output}, {"reasoning", p.Reasoning}} {
		n.Content = append(n.Content, scalarNode(r.name, false), scalarNode(r.rate.String(), true))
	}
	return n
}

// budgetRest is a Budget as the encoder writes it by itself.
type budgetRest Budget

// MarshalYAML writes a limit in dollars as such.
func (b Budget) MarshalYAML() (any, error) {
	out := map[string]any{}
	raw, err := yaml.Marshal(budgetRest(b))
	if err == nil {
		err = yaml.Unmarshal(raw, &out)
	}
	if b.LimitUSD != nil {
		out["limit_usd"] = scalarNode(b.LimitUSD.String(), true)
	}
	return out, err
}

// NeedsRestart lists the keys that differ between two configurations and are
// read at start only: pools, routes, rules, budgets, holds, alerts and tenants apply while running,
// but for whether there are tenants at all.
func NeedsRestart(old, now *Config) []string {
	var keys []string
	a, b := reflect.ValueOf(old).Elem(), reflect.ValueOf(now).Elem()
	for _, k := range Keys() {
		if k.List || strings.HasPrefix(k.Path, "holds.") || strings.HasPrefix(k.Path, "alerts.") {
			continue
		}
		_, x, errX := field(a, k.Path)
		_, y, errY := field(b, k.Path)
		if errX == nil && errY == nil && !reflect.DeepEqual(x.Interface(), y.Interface()) {
			keys = append(keys, k.Path)
		}
	}
	if (len(old.Tenants) == 0) != (len(now.Tenants) == 0) {
		keys = append(keys, "tenants")
	}
	return keys
}
