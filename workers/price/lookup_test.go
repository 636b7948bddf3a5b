package price

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/sluicehq/sluice/sdk/wire"
)

// TestPaths: names as the APIs of Fireworks and Google want them.
func TestPaths(t *testing.T) {
	for _, c := range [][3]string{
		{"fireworks", "accounts/fireworks/models/gpt-oss-120b", "gpt-oss-120b"},
		{"fireworks", "accounts/fireworks/models/deepseek-v4-flash", "deepseek-v4-flash"},
		{"fireworks", "fireworks-ai/kimi-k2p6", "fireworks-ai/kimi-k2p6"},
		{"google", "models/gemini-2.5-pro", "gemini-2.5-pro"},
	} {
		got, ok := Lookup(c[0], c[1])
		want, listed := table()[c[0]][c[2]]
		if !ok || !listed || got != want {
			t.Errorf("%s %s: %s (%v), want %s (%v)", c[0], c[1], rates(got), ok, rates(want), listed)
		}
	}
	for _, c := range [][2]string{
		{"fireworks", "accounts/acme/models/gpt-oss-120b"}, {"fireworks", "accounts/fireworks/models/"},
		{"fireworks", "accounts/fireworks/models/accounts/fireworks/models/gpt-oss-120b"},
		{"fireworks", "models/gpt-oss-120b"}, {"google", "accounts/fireworks/models/gemini-2.5-pro"},
		{"together", "accounts/fireworks/models/gpt-oss-120b"}, {"google", "tunedModels/gemini-2.5-pro"},
	} {
		if p, ok := Lookup(c[0], c[1]); ok {
			t.Errorf("%s %s has the price %s", c[0], c[1], rates(p))
		}
	}
}

// TestEveryNameFindsItself: by its own name, with its provider's path before
// it, and with a date behind it unless that is listed by itself.
func TestEveryNameFindsItself(t *testing.T) {
	for provider, models := range table() {
		for name, want := range models {
			for _, alias := range []string{name, paths[provider] + name, name + "-20990101", name + "-2099-01-01", name + "@20990101"} {
				if got, ok := Lookup(provider, alias); !ok || got != want {
					t.Errorf("%s %s: %s (%v), want %s", provider, alias, rates(got), ok, rates(want))
				}
			}
		}
	}
}

// TestI1ChangedNames changes a letter of each listed name, or adds one: unless
// that is listed too, it has no price.
func TestI1ChangedNames(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 13))
	const letters = "abcdefghijklmnopqrstuvwxyz_"
	tried := 0
	for _, provider := range Providers() {
		models := table()[provider]
		for _, name := range Models(provider) {
			b := []byte(name)
			b[r.IntN(len(b))] = letters[r.IntN(len(letters))]
			for _, other := range []string{string(b), name + "x", "x" + name, name + "-mini-x", strings.ToUpper(name) + "X", name + "-2099-1-1", name + " "} {
				if _, listed := models[other]; listed || other == name {
					continue
				}
				if undated(other) != other && models[undated(other)] != (wire.Price{}) {
					continue
				}
				tried++
				if p, ok := Lookup(provider, other); ok {
					t.Errorf("%s %s has the price %s of somebody else", provider, other, rates(p))
				}
			}
		}
	}
	if tried < 5000 {
		t.Errorf("only %d names were tried", tried)
	}
}

// TestI2Exact: each price, written out and read again, is itself.
func TestI2Exact(t *testing.T) {
	for _, provider := range Providers() {
		for _, name := range Models(provider) {
			want, _ := Lookup(provider, name)
			again, err := parsePrice(strings.Split(rates(want), "/"))
			if err != nil || again != want {
				t.Errorf("%s %s: %s came back as %s (%v)", provider, name, rates(want), rates(again), err)
			}
		}
	}
}

// TestCostAgainstSum: the cost of an attempt is the sum over its buckets, to
// the nano-dollar that one rounding makes.
func TestCostAgainstSum(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for _, provider := range Providers() {
		for _, name := range Models(provider) {
			p, _ := Lookup(provider, name)
			n := func() int64 { return r.Int64N(200_000) }
			u := wire.Usage{Input: n(), CacheRead: n(), CacheWrite: n(), Output: n(), Reasoning: n()}
			var parts wire.NanoUSD
			for _, one := range []wire.Usage{{Input: u.Input}, {CacheRead: u.CacheRead}, {CacheWrite: u.CacheWrite}, {Output: u.Output}, {Reasoning: u.Reasoning}} {
				parts += p.Cost(one)
			}
			if got := p.Cost(u); got > parts || got < parts-5 {
				t.Errorf("%s %s: %s for %+v, its parts cost %s", provider, name, got, u, parts)
			}
		}
	}
}

// TestAdaptersProviders: the providers that adapters are named after are in
// the table, under the names that pools get.
func TestAdaptersProviders(t *testing.T) {
	for baseURL, want := range map[string][2]string{
		"https://api.anthropic.com/v1":                         {"anthropic", "claude-haiku-4-5"},
		"https://generativelanguage.googleapis.com/v1beta":     {"google", "gemini-2.5-flash"},
		"https://bedrock-runtime.eu-west-1.amazonaws.com":      {"bedrock", "amazon.nova-pro-v1:0"},
		"https://bedrock-runtime-fips.us-east-1.amazonaws.com": {"bedrock", "anthropic.claude-3-7-sonnet-20250219-v1:0"},
		"https://api.fireworks.ai/inference/v1":                {"fireworks", "accounts/fireworks/models/gpt-oss-120b"},
	} {
		provider := ProviderOf(baseURL)
		if _, ok := Lookup(provider, want[1]); provider != want[0] || !ok {
			t.Errorf("%s: %q, %s listed %v", baseURL, provider, want[1], ok)
		}
	}
}
