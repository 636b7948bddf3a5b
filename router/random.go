package router

// random draws by weight.
var random = strategy{
	doc: StrategyDoc{
		Name:    "random",
		Summary: "at random by weight",
		Weights: "probability",
		Shares:  true,
	},
	picker: picker{doc: "random by weight", pick: pickRandom},
}
