package price

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/sluicehq/sluice/sdk/wire"
)

// rates are input, cache read, cache write, output, reasoning in dollars per
// million tokens.
func rates(p wire.Price) string {
	return fmt.Sprintf("%s/%s/%s/%s/%s", p.Input, p.CacheRead, p.CacheWrite, p.Output, p.Reasoning)
}

// TestPublicPrices compares with what the providers' price pages say.
func TestPublicPrices(t *testing.T) {
	for _, c := range []struct{ provider, model, want string }{
		{"openai", "gpt-4o-mini", "0.15/0.075/0.15/0.6/0.6"},
		{"openai", "gpt-4o", "2.5/1.25/2.5/10/10"},
		{"openai", "o3-mini", "1.1/0.55/1.1/4.4/4.4"},
		{"openai", "gpt-4.1-nano", "0.1/0.025/0.1/0.4/0.4"},
		{"openai", "gpt-5-mini", "0.25/0.025/0.25/2/2"},
		{"openai", "text-embedding-3-small", "0.02/0.02/0.02/0/0"},
		{"azure", "gpt-4o-mini", "0.15/0.075/0.15/0.6/0.6"},
		{"anthropic", "claude-sonnet-4-5", "3/0.3/3.75/15/15"},
		{"anthropic", "claude-haiku-4-5", "1/0.1/1.25/5/5"},
		{"google", "gemini-2.5-pro", "1.25/0.125/1.25/10/10"},
		{"groq", "llama-3.3-70b-versatile", "0.59/0.59/0.59/0.79/0.79"},
		{"deepseek", "deepseek-chat", "0.14/0.0028/0.14/0.28/0.28"},
		{"openrouter", "google/gemini-2.5-flash", "0.3/0.03/0.083333/2.5/2.5"},
		{"bedrock", "anthropic.claude-3-7-sonnet-20250219-v1:0", "3/0.3/3.75/15/15"},
	} {
		p, ok := Lookup(c.provider, c.model)
		if !ok || rates(p) != c.want {
			t.Errorf("%s %s: %s (listed %v), want %s", c.provider, c.model, rates(p), ok, c.want)
		}
		if p.Version != Version {
			t.Errorf("%s: version %q", c.model, p.Version)
		}
	}
}

func TestCost(t *testing.T) {
	p, _ := Lookup("openai", "gpt-4o-mini")
	got := p.Cost(wire.Usage{Input: 1_000_000, CacheRead: 1_000_000, Output: 500_000, Reasoning: 500_000})
	if want := wire.NanoUSD(825_000_000); got != want {
		t.Errorf("cost %s, want %s", got, want)
	}
}

func TestEveryProvider(t *testing.T) {
	want := "anthropic azure bedrock cohere deepseek fireworks google groq mistral openai openrouter together xai"
	if got := strings.Join(Providers(), " "); got != want {
		t.Errorf("providers %s", got)
	}
	for _, p := range Providers() {
		models := Models(p)
		if len(models) == 0 || !slices.IsSorted(models) {
			t.Errorf("%s: models %q", p, models)
		}
		for _, m := range models {
			price, ok := Lookup(p, m)
			switch {
			case !ok || price.Input <= 0 || price.CacheRead <= 0 || price.CacheWrite <= 0:
				t.Errorf("%s %s: listed without a price of input: %s", p, m, rates(price))
			case price.CacheRead > price.Input:
				t.Errorf("%s %s: reading from the cache is dearer than not: %s", p, m, rates(price))
			case (price.Output == 0) != (price.Reasoning == 0):
				t.Errorf("%s %s: output and reasoning: %s", p, m, rates(price))
			}
		}
	}
	if Models("nobody") != nil {
		t.Error("models of an unknown provider")
	}
}

// TestI1NoGuess: what is not in the table, exactly, has no price.
func TestI1NoGuess(t *testing.T) {
	for _, c := range [][2]string{
		{"openai", ""}, {"openai", "gpt-4o-mini-turbo"}, {"openai", "GPT-4O-MINI"}, {"openai", "gpt-4o-mini-2024"},
		{"openai", "gpt"}, {"openai", "-2024-07-18"}, {"openai", "2024-07-18"}, {"openai", "default"},
		{"groq", "gpt-4o-mini"}, {"", "gpt-4o-mini"}, {"vllm", "llama"}, {"openai", "models/gpt-4o-mini"},
		{"openai", "whisper-1"}, {"openai", "tts-1"}, {"openai", "gpt-image-1"}, {"cohere", "rerank-v3.5"},
		{"openai", "ft:nothing:acme"},
	} {
		if p, ok := Lookup(c[0], c[1]); ok || p != (wire.Price{}) {
			t.Errorf("%q %q has the price %s", c[0], c[1], rates(p))
		}
	}
}

func TestAliases(t *testing.T) {
	for _, c := range [][3]string{
		{"openai", "gpt-4o-mini-2031-12-31", "gpt-4o-mini"},
		{"anthropic", "claude-opus-4-5-20311231", "claude-opus-4-5"},
		{"anthropic", "claude-opus-4-5@20251101", "claude-opus-4-5"},
		{"google", "models/gemini-2.5-flash", "gemini-2.5-flash"},
		{"openai", "ft:gpt-4o-mini:acme::abc123", "ft:gpt-4o-mini"},
		{"openai", "ft:gpt-4o-mini-2024-07-18:acme::abc123", "ft:gpt-4o-mini-2024-07-18"},
	} {
		got, ok := Lookup(c[0], c[1])
		want, listed := Lookup(c[0], c[2])
		if !ok || !listed || got != want {
			t.Errorf("%s: %s (%v), want %s's %s (%v)", c[1], rates(got), ok, c[2], rates(want), listed)
		}
	}
	dated, _ := Lookup("openai", "gpt-4o-2024-05-13")
	plain, _ := Lookup("openai", "gpt-4o")
	if dated == plain {
		t.Error("a dated model that is listed must keep its own price")
	}
}

func TestParseFaults(t *testing.T) {
	for name, csv := range map[string]string{
		"no header":       "openai,x,1,,,1,\n",
		"few fields":      header + "\nopenai,x,1\n",
		"no number":       header + "\nopenai,x,one,,,1,\n",
		"no input":        header + "\nopenai,x,,,,1,\n",
		"no output":       header + "\nopenai,x,1,,,,\n",
		"negative":        header + "\nopenai,x,-1,,,1,\n",
		"too exact":       header + "\nopenai,x,0.0000001,,,1,\n",
		"twice":           header + "\nopenai,x,1,,,1,\nopenai,x,2,,,1,\n",
		"one blank line":  header + "\n\n",
		"other separator": strings.ReplaceAll(header, ",", ";") + "\n",
	} {
		if _, err := parse(csv); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := parse(source); err != nil {
		t.Error(err)
	}
}

func TestProviderOf(t *testing.T) {
	for in, want := range map[string]string{
		"https://api.openai.com/v1":                                 "openai",
		"https://eu.api.openai.com/v1":                              "openai",
		"https://API.OpenAI.com.:443/v1":                            "openai",
		"https://acme.openai.azure.com/openai/v1/":                  "azure",
		"https://acme.services.ai.azure.com/openai/v1":              "azure",
		"https://api.anthropic.com/v1":                              "anthropic",
		"https://generativelanguage.googleapis.com/v1beta/openai":   "google",
		"https://us-central1-aiplatform.googleapis.com/v1":          "google",
		"https://api.mistral.ai/v1":                                 "mistral",
		"https://api.groq.com/openai/v1":                            "groq",
		"https://api.deepseek.com":                                  "deepseek",
		"https://api.x.ai/v1":                                       "xai",
		"https://api.cohere.ai/compatibility/v1":                    "cohere",
		"https://api.together.xyz/v1":                               "together",
		"https://api.fireworks.ai/inference/v1":                     "fireworks",
		"https://openrouter.ai/api/v1":                              "openrouter",
		"https://bedrock-runtime.us-west-2.amazonaws.com/openai/v1": "bedrock",
		"https://s3.amazonaws.com/x":                                "",
		"http://127.0.0.1:8000/v1":                                  "",
		"https://api.openai.com.evil.example/v1":                    "",
		"https://evilapi.openai.com.example":                        "",
		"https://notopenrouter.ai/v1":                               "",
		"::":                                                        "",
		"":                                                          "",
	} {
		if got := ProviderOf(in); got != want {
			t.Errorf("%s: %q, want %q", in, got, want)
		}
	}
}

func BenchmarkLookup(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		Lookup("openai", "gpt-4o-mini")
	}
}

func BenchmarkParse(b *testing.B) {
	for b.Loop() {
		if _, err := parse(source); err != nil {
			b.Fatal(err)
		}
	}
}
