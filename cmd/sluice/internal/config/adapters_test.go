package config

import (
	"strings"
	"testing"
)

// TestAdaptersHaveAnAddress: each adapter knows where its own provider is, and
// whose prices count.
func TestAdaptersHaveAnAddress(t *testing.T) {
	for _, c := range []struct{ pool, baseURL, provider string }{
		{"adapter: openai", "https://api.openai.com/v1", "openai"},
		{"adapter: anthropic", "https://api.anthropic.com/v1", "anthropic"},
		{"adapter: gemini", "https://generativelanguage.googleapis.com/v1beta", "google"},
		{"adapter: bedrock, region: us-west-2", "https://bedrock-runtime.us-west-2.amazonaws.com", "bedrock"},
		{"adapter: bedrock, region: us-gov-west-1", "https://bedrock-runtime.us-gov-west-1.amazonaws.com", "bedrock"},
		{"adapter: bedrock, region: here, base_url: 'http://127.0.0.1:9'", "http://127.0.0.1:9", "bedrock"},
		{"adapter: anthropic, base_url: 'http://127.0.0.1:9/v1'", "http://127.0.0.1:9/v1", "anthropic"},
		{"adapter: gemini, base_url: 'http://127.0.0.1:9/v1'", "http://127.0.0.1:9/v1", "google"},
	} {
		p := mustLoad(t, "pools: [{name: p, models: {m: {}}, "+c.pool+"}]").Pool("p")
		if p.BaseURL != c.baseURL || p.Provider != c.provider {
			t.Errorf("%s: %s of %s, want %s of %s", c.pool, p.BaseURL, p.Provider, c.baseURL, c.provider)
		}
	}
	for _, region := range []string{"", ", region: us-east", ", region: 'us-east-1.evil.example'"} {
		_, err := load(t, "pools: [{name: p, adapter: bedrock, models: {m: {}}"+region+"}]")
		if err == nil || !strings.Contains(err.Error(), "base_url") || !strings.Contains(err.Error(), "bedrock-runtime.us-east-1.amazonaws.com") {
			t.Errorf("region %q: %v", region, err)
		}
	}
}

// TestDefaultPoolsSpeakTheirOwnAPI: Anthropic and Google are not called by way
// of their OpenAI-compatible layers.
func TestDefaultPoolsSpeakTheirOwnAPI(t *testing.T) {
	c := without(t, "ANTHROPIC_API_KEY=a", "GEMINI_API_KEY=g", "OPENAI_API_KEY=o")
	for name, adapter := range map[string]string{"anthropic": "anthropic", "google": "gemini", "openai": "openai"} {
		p := c.Pool(name)
		if p == nil || p.Adapter != adapter || p.BaseURL != baseURLs[adapter] {
			t.Errorf("%s: %+v", name, p)
		}
	}
}
