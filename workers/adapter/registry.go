package adapter

import (
	"maps"
	"slices"

	"github.com/sluicehq/sluice/sdk/wire"
)

// registry is every adapter by the name that a pool gives.
var registry = map[string]Codec{
	"anthropic": anthropic{},
	"bedrock":   bedrock{},
	"gemini":    gemini{},
	"openai":    openAI{},
	"simulated": simulated{},
}

// Lookup is the codec of an adapter.
func Lookup(name string) (Codec, bool) {
	c, ok := registry[name]
	return c, ok
}

// endpoints are those of the adapters that do not speak OpenAI's API. The
// simulated one has every endpoint.
var endpoints = map[string][]wire.Endpoint{
	"anthropic": {wire.ChatCompletions, wire.Messages},
	"bedrock":   {wire.ChatCompletions},
	"gemini":    {wire.ChatCompletions},
}

// Endpoints lists the endpoints that an adapter takes, nil for one that is not
// there.
func Endpoints(name string) []wire.Endpoint {
	if _, ok := registry[name]; !ok {
		return nil
	}
	if list, ok := endpoints[name]; ok {
		return slices.Clone(list)
	}
	list := slices.Sorted(maps.Keys(openAIPaths))
	if name == "simulated" {
		list = append(list, wire.Messages)
	}
	return list
}

// Names lists every adapter, sorted.
func Names() []string { return slices.Sorted(maps.Keys(registry)) }
