package config

import (
	"fmt"
	"net/url"
	"time"
)

// Alerts is what the stored attempts and jobs are looked at for; a threshold of
// 0 turns its kind off. See docs/alerts.md.
type Alerts struct {
	Every        time.Duration `yaml:"every"`              // between two looks, 1s to 1h; 0: none; default 1m
	Window       time.Duration `yaml:"window"`             // that is judged, 1m to 24h; default 10m
	Baseline     time.Duration `yaml:"baseline"`           // before it, that it is compared with; 10 windows to 30 days; default 24h
	RaiseAfter   int           `yaml:"raise_after"`        // bad looks in a row, 1 to 1000; default 2
	ClearAfter   int           `yaml:"clear_after"`        // good looks in a row, 1 to 1000; default 5
	Samples      int           `yaml:"samples"`            // fewer attempts or jobs in a window say nothing; 5 to 1,000,000; default 50
	ErrorRate    float64       `yaml:"error_rate"`         // share of a pool's attempts that may fail, 0 to 1; default 0.1
	LatencyShift float64       `yaml:"latency_shift"`      // part by which latency may be above the usual, 0 to 100; default 0.5
	CostShift    float64       `yaml:"cost_shift"`         // the same of the mean cost of a route's jobs; default 0.5
	ShareShift   float64       `yaml:"share_shift"`        // how far a candidate's share may be from that of its weight, 0 to 1; default 0.1
	BudgetBurn   float64       `yaml:"budget_burn"`        // how many times too fast a budget may be spent, 0 to 1000; default 4
	Unpriced     bool          `yaml:"unpriced"`           // models that are used without a price; default true
	Webhooks     []Secret      `yaml:"webhooks,omitempty"` // http(s) URLs to call, whose paths are often secrets; needs webhooks.secret
}

func (v *validator) alerts() {
	a := v.c.Alerts
	if a.Every != 0 {
		v.duration("alerts.every", a.Every, time.Second, time.Hour)
	}
	v.duration("alerts.window", a.Window, time.Minute, day)
	if a.Baseline < 10*a.Window || a.Baseline > 30*day {
		v.bad("alerts.baseline", a.Baseline.String(), fmt.Sprintf("must be from ten times alerts.window (%s) to 30 days", short(10*a.Window)))
	}
	v.number("alerts.raise_after", int64(a.RaiseAfter), 1, 1000)
	v.number("alerts.clear_after", int64(a.ClearAfter), 1, 1000)
	v.number("alerts.samples", int64(a.Samples), 5, 1_000_000)
	v.share("alerts.error_rate", a.ErrorRate, 1)
	v.share("alerts.latency_shift", a.LatencyShift, 100)
	v.share("alerts.cost_shift", a.CostShift, 100)
	v.share("alerts.share_shift", a.ShareShift, 1)
	v.share("alerts.budget_burn", a.BudgetBurn, 1000)
	for i, w := range a.Webhooks {
		u, err := url.Parse(w.Reveal())
		if w.Reveal() != "" && (err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http") { // unset is a fault already
			key := at("alerts.webhooks", i)
			o, _ := v.lookup(key)
			v.fault(o, key, mask, "must be http:// or https:// and a host")
		}
	}
	if len(a.Webhooks) > 0 && v.c.Webhooks.Secret.IsZero() {
		v.bad("alerts.webhooks", "", "needs webhooks.secret, to sign what is sent")
	}
}
