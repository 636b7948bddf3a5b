// Package price knows what the models of the common providers cost, per token
// and bucket. It is data and look-ups; what an attempt cost is arithmetic of
// the contract (wire.Price.Cost).
//
// The table is prices.csv, in dollars per million tokens:
//
//	provider,model,input,cache_read,cache_write,output,reasoning
//
// An empty cache_read or cache_write means the input price, an empty reasoning
// means the output price. An output of 0 is an embedding model. The table is made
// by the program in gen from the facts named there; to renew it, run
//
//	go run ./workers/price/gen DIR > workers/price/prices.csv
//
// and set Version to the month of the facts.
//
// What one price per bucket cannot say is left out or simplified: models that
// answer with audio or pictures are not listed; where a long prompt costs more,
// the table has the price of the ordinary one; regions, service tiers and
// batch discounts have the ordinary price. A pool's own prices override the
// table where that matters.
//
// # Invariants
//
//	I1  A model that is not in the table has no price: never zero, never that
//	    of a model with a similar name.
//	I2  Every price is exact: a whole number of pico-dollars per token.
package price
