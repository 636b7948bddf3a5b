package observe

import (
	"time"

	"github.com/sluicehq/sluice/router"
	"github.com/sluicehq/sluice/sdk/ledger"
)

// Health is what people are shown of a pool.
type Health struct {
	Circuit  string `json:"circuit"` // closed, open or half_open
	Ejected  bool   `json:"ejected"` // an outlier among its peers
	Down     bool   `json:"down"`    // no live worker
	Draining bool   `json:"draining"`
	// Unhealthy says that probes of it fail; Probe is the last one, nil where
	// there was none.
	Unhealthy bool          `json:"unhealthy,omitempty"`
	Probe     *ledger.Probe `json:"probe,omitempty"`
	// Until is when a circuit, an ejection or a limit ends; RFC 3339, empty if
	// there is none.
	Until string `json:"until,omitempty"`
	// Success is the share of attempts that succeeded of late, Samples how
	// many there were, both decayed; Score is 100 for a pool that always
	// succeeds at its usual pace.
	Success float64 `json:"success"`
	Samples float64 `json:"samples"`
	Score   float64 `json:"score"`
	Scores  Scores  `json:"scores"`
	Latency Spread  `json:"latency_ms"`
	TTFT    Spread  `json:"ttft_ms"`
	// Requests and Tokens of a minute, where they are limited.
	Requests *Used `json:"requests,omitempty"`
	Tokens   *Used `json:"tokens,omitempty"`
}

// Spread are points of a distribution of milliseconds, 0 if not known.
type Spread struct {
	P50 float64 `json:"p50"`
	P95 float64 `json:"p95"`
}

// Used is a limit and what has been used of it.
type Used struct {
	Limit int64 `json:"limit"`
	Used  int64 `json:"used"`
}

// Health is the state of every pool, by name.
func (o *Observer) Health() map[string]Health {
	now := time.Now().UnixNano()
	o.mu.Lock()
	defer o.mu.Unlock()
	out := map[string]Health{}
	scores, workers := o.state.scores(now), o.state.workers(now)
	for i, p := range o.state.setup.Table.Pools() {
		h := o.state.health(i, now)
		h.Scores, h.Down = scores[i], o.state.known && workers[p.Name] == 0
		out[p.Name] = h
	}
	return out
}

func (f *fold) health(i int, now int64) Health {
	name := f.setup.Table.Pools()[i].Name
	p := f.pools[name]
	b := p.breaker.At(breakerConfig, now)
	h := Health{Circuit: b.Circuit.String(), Ejected: p.ejection.Until != 0, Draining: f.drained[name],
		Latency: spread(&p.latency), TTFT: spread(&p.ttft)}
	if p.probe.At != 0 {
		e := p.probe
		h.Probe, h.Unhealthy = &e, e.Unhealthy(now)
	}
	until := p.until
	if b.Circuit == router.Open {
		until = max(until, b.Until)
	}
	if until = max(until, p.ejection.Until); until > now {
		h.Until = time.Unix(0, until).UTC().Format(time.RFC3339)
	}
	for _, t := range f.setup.Table.Targets() {
		if t.Pool == i {
			s := f.tracks[target{name, t.Model}].Stats(trackConfig, now)
			h.Success += s.Success * s.Samples
			h.Samples += s.Samples
		}
	}
	if h.Samples > 0 {
		h.Success /= h.Samples
		h.Score = 100 * h.Success / max(f.vital(i, now).Slowdown, 1)
	}
	requests, tokens := p.quotas(now)
	h.Requests, h.Tokens = used(requests), used(tokens)
	return h
}

func used(q router.Quota) *Used {
	if q.Limit == 0 {
		return nil
	}
	return &Used{Limit: q.Limit, Used: q.Used}
}

func spread(h *router.Histogram) Spread { return Spread{P50: h.Quantile(0.5), P95: h.Quantile(0.95)} }
