package budget

import (
	"github.com/sluicehq/sluice/broker/budget/account"
	"github.com/sluicehq/sluice/router"
)

// Offers are a route's candidates, in their order, as a book judges them.
func Offers(t *router.Table, route *router.Route) (offers []Offer) {
	specs := route.Spec().Candidates
	for i, c := range route.Candidates() {
		offers = append(offers, Offer{Pool: c.PoolName, Provider: t.Pools()[c.Pool].Provider, Model: c.Model,
			Offer: account.Offer{Price: c.Price, Context: specs[i].Context, MaxOutput: specs[i].MaxOutput}})
	}
	return offers
}

// Barred is why budgets rule candidates out, by candidate, for
// router.Input.Barred.
func Barred(cases []Case) (barred []router.Reason) {
	for i := range cases {
		r := router.Eligible
		switch c := &cases[i]; {
		case c.Kind == account.Unpriced:
			r = router.PriceUnknown
		case c.Kind == account.Never:
			r = router.BeyondBudget
		case c.Bar:
			r = router.OverBudget
		}
		barred = append(barred, r)
	}
	return barred
}
