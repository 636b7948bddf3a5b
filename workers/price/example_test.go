package price_test

import (
	"fmt"

	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/sluicehq/sluice/workers/price"
)

func ExampleLookup() {
	provider := price.ProviderOf("https://api.openai.com/v1")
	p, ok := price.Lookup(provider, "gpt-4o-mini-2024-07-18")
	fmt.Println(provider, ok, p.Input, p.CacheRead, p.Output)
	fmt.Println(p.Cost(wire.Usage{Input: 1000, CacheRead: 1000, Output: 500}), "dollars")
	// Output:
	// openai true 0.15 0.075 0.6
	// 0.000525000 dollars
}

func ExampleModels() {
	fmt.Println(price.Models("deepseek"))
	// Output: [deepseek-chat deepseek-reasoner deepseek-v4-flash deepseek-v4-pro]
}
