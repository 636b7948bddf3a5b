package price

import (
	_ "embed" // the table
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/sluicehq/sluice/sdk/wire"
)

// Version names the table: the month of its facts. Every price carries it.
const Version = "2026-08"

//go:embed prices.csv
var source string

// table is the parsed source, by provider and model. A test reads the same
// source and fails where this would panic.
var table = sync.OnceValue(func() map[string]map[string]wire.Price {
	t, err := parse(source)
	if err != nil {
		panic("price table: " + err.Error())
	}
	return t
})

// header is the first line of the source.
const header = "provider,model,input,cache_read,cache_write,output,reasoning"

func parse(csv string) (map[string]map[string]wire.Price, error) {
	t := make(map[string]map[string]wire.Price)
	first, rest, _ := strings.Cut(csv, "\n")
	if first != header {
		return nil, fmt.Errorf("line 1 is %.80q, want %q", first, header)
	}
	n := 1
	for line := range strings.Lines(rest) {
		n++
		f := strings.Split(strings.TrimSuffix(line, "\n"), ",")
		if len(f) != 7 {
			return nil, fmt.Errorf("line %d has %d fields, want 7", n, len(f))
		}
		p, err := parsePrice(f[2:])
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		models := t[f[0]]
		if models == nil {
			models = make(map[string]wire.Price)
			t[f[0]] = models
		}
		if _, twice := models[f[1]]; twice {
			return nil, fmt.Errorf("line %d: %s of %s is listed twice", n, f[1], f[0])
		}
		models[f[1]] = p
	}
	return t, nil
}

// parsePrice reads input, cache_read, cache_write, output, reasoning.
func parsePrice(f []string) (wire.Price, error) {
	var r [5]wire.Rate
	for i, fallback := range [...]int{-1, 0, 0, -1, 3} {
		if f[i] == "" && fallback >= 0 {
			r[i] = r[fallback]
			continue
		}
		v, err := wire.ParseRate(f[i])
		if err != nil {
			return wire.Price{}, err
		}
		r[i] = v
	}
	return wire.Price{Version: Version, Input: r[0], CacheRead: r[1], CacheWrite: r[2], Output: r[3], Reasoning: r[4]}, nil
}

// Lookup is the price of a provider's model. Where the table lacks a name, two
// forms that mean a listed model exactly are tried: a name that ends in a date
// (gpt-4o-mini-2024-07-18, claude-sonnet-4-5@20250929) as the name without it,
// since a date only pins a version, and a fine-tuned model
// (ft:gpt-4o-mini:acme::id) as what it was tuned from. Some providers' models
// may carry the path that they are kept under.
func Lookup(provider, model string) (wire.Price, bool) {
	models := table()[provider]
	if p, ok := models[model]; ok {
		return p, true
	}
	model = strings.TrimPrefix(model, paths[provider])
	for _, name := range [...]string{model, undated(model), tuned(model), undated(tuned(model))} {
		if p, ok := models[name]; ok {
			return p, true
		}
	}
	return wire.Price{}, false
}

// paths are what providers' APIs have before the names of models that the table
// has without it.
var paths = map[string]string{
	"google":    "models/",
	"fireworks": "accounts/fireworks/models/",
}

// undated is model without a date at its end.
func undated(model string) string {
	for _, layout := range [...]string{"-0000-00-00", "-00000000", "@00000000"} {
		if at := len(model) - len(layout); at > 0 && matches(model[at:], layout) {
			return model[:at]
		}
	}
	return model
}

// matches compares s with a layout in which 0 stands for any digit.
func matches(s, layout string) bool {
	for i := range len(layout) {
		if layout[i] == '0' {
			if s[i] < '0' || s[i] > '9' {
				return false
			}
		} else if s[i] != layout[i] {
			return false
		}
	}
	return true
}

// tuned is ft:<base> of ft:<base>:<whose>.
func tuned(model string) string {
	if rest, ok := strings.CutPrefix(model, "ft:"); ok {
		base, _, _ := strings.Cut(rest, ":")
		return "ft:" + base
	}
	return model
}

// Models lists the models that a provider's part of the table has, sorted; nil
// for a provider that is not in it.
func Models(provider string) []string {
	var names []string
	for name := range table()[provider] {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Providers lists the providers in the table, sorted.
func Providers() []string {
	var names []string
	for name := range table() {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
