package router

// leastConnections evens out the depth of pools.
var leastConnections = strategy{
	doc: StrategyDoc{
		Name:    "least_connections",
		Summary: "where the fewest jobs are queued and running, by weight",
		Weights: "divides the depth",
	},
	scorer: &loadScorer,
	picker: bestPicker,
}
