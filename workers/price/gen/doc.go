// Command gen makes the price table of package price.
//
//	go run ./workers/price/gen DIR > workers/price/prices.csv
//
// DIR holds a JSON file per provider as published at Portkey-AI/models (MIT):
// prices in cents per token below pricing_config.pay_as_you_go. The table takes
// the facts over in its own form. Only text is priced: a model whose answers
// are sound or pictures is left out, and so is one without any price, since
// a price of nothing is a price that is not known. Of a model with prices by
// prompt length the ordinary one is taken.
package main
