package adapter

import (
	"maps"
	"slices"
)

// registry is every adapter by the name that a pool gives. The simulated
// provider speaks OpenAI's API over a transport of its own, so that it takes
// the same path as a real one.
var registry = map[string]Codec{
	"anthropic": anthropic{},
	"bedrock":   bedrock{},
	"gemini":    gemini{},
	"openai":    openAI{},
	"simulated": openAI{},
}

// Lookup is the codec of an adapter.
func Lookup(name string) (Codec, bool) {
	c, ok := registry[name]
	return c, ok
}

// Names lists every adapter, sorted.
func Names() []string { return slices.Sorted(maps.Keys(registry)) }
