package config

import (
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
)

// provider is a known provider.
type provider struct {
	name     string // as the price table names it
	adapter  string
	variable string // usual name of its key variable
	baseURL  string
	models   []string // offered by default: a name, or name=upstream
}

// providers are the known ones. Models are a short list of current ones; any
// other can be configured.
func providers() []provider {
	return []provider{
		{"openai", AdapterOpenAI, "OPENAI_API_KEY", "https://api.openai.com/v1",
			[]string{"gpt-5.4", "gpt-5.4-mini", "gpt-5.4-nano", "gpt-4.1-mini", "gpt-4o-mini"}},
		{"anthropic", adapterAnthropic, "ANTHROPIC_API_KEY", "https://api.anthropic.com/v1",
			[]string{"claude-opus-5", "claude-sonnet-5", "claude-haiku-4-5"}},
		{"groq", AdapterOpenAI, "GROQ_API_KEY", "https://api.groq.com/openai/v1",
			[]string{"llama-3.3-70b-versatile", "llama-3.1-8b-instant", "openai/gpt-oss-120b", "openai/gpt-oss-20b"}},
		{"mistral", AdapterOpenAI, "MISTRAL_API_KEY", "https://api.mistral.ai/v1",
			[]string{"mistral-large-latest", "mistral-medium-latest", "mistral-small-latest"}},
		{"deepseek", AdapterOpenAI, "DEEPSEEK_API_KEY", "https://api.deepseek.com/v1",
			[]string{"deepseek-v4-flash", "deepseek-v4-pro"}},
		{"together", AdapterOpenAI, "TOGETHER_API_KEY", "https://api.together.xyz/v1",
			[]string{"meta-llama/Llama-3.3-70B-Instruct-Turbo", "openai/gpt-oss-120b", "openai/gpt-oss-20b"}},
		{"fireworks", AdapterOpenAI, "FIREWORKS_API_KEY", "https://api.fireworks.ai/inference/v1",
			[]string{"gpt-oss-120b=accounts/fireworks/models/gpt-oss-120b", "deepseek-v4-flash=accounts/fireworks/models/deepseek-v4-flash"}},
		{"openrouter", AdapterOpenAI, "OPENROUTER_API_KEY", "https://openrouter.ai/api/v1",
			[]string{"openai/gpt-5.4-mini", "meta-llama/llama-3.3-70b-instruct"}},
		{"xai", AdapterOpenAI, "XAI_API_KEY", "https://api.x.ai/v1",
			[]string{"grok-4.3"}},
		{"google", adapterGemini, "GEMINI_API_KEY", "https://generativelanguage.googleapis.com/v1beta",
			[]string{"gemini-2.5-flash", "gemini-2.5-flash-lite", "gemini-2.5-pro"}},
	}
}

// providerPools are the pools of a configuration without any, for each
// provider whose key variable is set.
func providerPools(src Sources) []Pool {
	var pools []Pool
	for _, pr := range providers() {
		if key, _ := src.lookup(pr.variable); key == "" {
			continue
		}
		p := newPool(pr.name, pr.adapter)
		p.Provider, p.BaseURL, p.APIKey = pr.name, pr.baseURL, Secret{source: "env:" + pr.variable}
		for _, m := range pr.models {
			name, upstream, ok := strings.Cut(m, "=")
			if !ok {
				upstream = name
			}
			p.Models = append(p.Models, Model{Name: name, Upstream: upstream})
		}
		pools = append(pools, p)
	}
	return pools
}

func newPool(name, adapter string) Pool {
	var p Pool
	p.setDefaults()
	p.Name, p.Adapter = name, adapter
	return p
}

// simulatedPools are three pools with different speed, price and failure
// share, to try Sluice with nothing else at hand.
func simulatedPools() []Pool {
	const usd = wire.RatePerUSDPerMillion
	sim := func(name, model string, in, out wire.Rate, concurrency int, s Simulated) Pool {
		p := newPool(name, AdapterSimulated)
		p.Provider, p.Concurrency = AdapterSimulated, concurrency
		p.Models = Models{{Name: model, Upstream: model, Price: &wire.Price{
			Version: PriceVersion, Input: in, CacheRead: in / 10, CacheWrite: in, Output: out, Reasoning: out,
		}}}
		s.OutputTokens, s.RetryAfter = TokenRange{Min: 16, Max: 96}, time.Second
		p.Simulated = &s
		return p
	}
	return []Pool{
		sim("sim-fast", "sim-large", 2*usd+usd/2, 10*usd, 32,
			Simulated{Seed: 1, TTFT: 80 * time.Millisecond, TokensPerSecond: 400, ErrorShare: 0.005}),
		sim("sim-cheap", "sim-small", 3*usd/20, 3*usd/5, 64,
			Simulated{Seed: 2, TTFT: 300 * time.Millisecond, TokensPerSecond: 80, ErrorShare: 0.02}),
		sim("sim-flaky", "sim-medium", 2*usd/5, 8*usd/5, 32,
			Simulated{Seed: 3, TTFT: 150 * time.Millisecond, TokensPerSecond: 160, ErrorShare: 0.15}),
	}
}

// providerOf names the provider behind an adapter and address: one that known
// knows by the address, "local" on this machine, otherwise the host itself.
func providerOf(adapter, baseURL string, known func(string) string) string {
	if known != nil && baseURL != "" {
		if name := known(baseURL); name != "" {
			return name
		}
	}
	if adapter == adapterGemini {
		return "google" // as the price table names it
	}
	u, err := url.Parse(baseURL)
	if adapter != AdapterOpenAI || err != nil || u.Hostname() == "" {
		return adapter
	}
	host := strings.ToLower(u.Hostname())
	if loopback(host) {
		return "local"
	}
	return host
}

// loopback reports whether a host is this machine only.
func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}
