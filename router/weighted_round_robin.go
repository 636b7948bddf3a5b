package router

// weightedRoundRobin spreads each candidate's turns evenly.
var weightedRoundRobin = strategy{
	doc: StrategyDoc{
		Name:    "weighted_round_robin",
		Summary: "by turns in proportion to the weights, each candidate's turns spread evenly",
		Weights: "number of turns",
		Shares:  true, Smooth: true,
	},
	picker: smoothPicker,
}
