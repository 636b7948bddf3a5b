package price

import (
	"net/url"
	"strings"
)

// hosts maps hosts to providers; an entry that begins with a dot stands for
// every host below it.
var hosts = []struct{ host, provider string }{
	{"api.openai.com", "openai"}, {".api.openai.com", "openai"},
	{".openai.azure.com", "azure"}, {".services.ai.azure.com", "azure"}, {".cognitiveservices.azure.com", "azure"},
	{"api.anthropic.com", "anthropic"},
	{"generativelanguage.googleapis.com", "google"},
	{"aiplatform.googleapis.com", "google"}, {"-aiplatform.googleapis.com", "google"},
	{"api.mistral.ai", "mistral"}, {"codestral.mistral.ai", "mistral"},
	{"api.groq.com", "groq"},
	{"api.deepseek.com", "deepseek"},
	{"api.x.ai", "xai"}, {".api.x.ai", "xai"},
	{"api.cohere.com", "cohere"}, {"api.cohere.ai", "cohere"},
	{"api.together.xyz", "together"}, {"api.together.ai", "together"},
	{"api.fireworks.ai", "fireworks"},
	{"openrouter.ai", "openrouter"},
}

// ProviderOf is the provider behind a pool's base URL, "" if the host is not a
// known one.
func ProviderOf(baseURL string) string {
	u, err := url.Parse(baseURL)
	if err != nil {
		return ""
	}
	host := strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
	for _, h := range hosts {
		below := h.host[0] == '.' || h.host[0] == '-'
		if host == h.host || below && strings.HasSuffix(host, h.host) && len(host) > len(h.host) {
			return h.provider
		}
	}
	if strings.HasSuffix(host, ".amazonaws.com") && (strings.HasPrefix(host, "bedrock-runtime.") || strings.HasPrefix(host, "bedrock-runtime-fips.")) {
		return "bedrock"
	}
	return ""
}
