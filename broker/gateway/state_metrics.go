package gateway

import (
	"context"
	"encoding/json"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// scrapeTimeout bounds what a scrape waits for a router.
const scrapeTimeout = 3 * time.Second

// stateMetrics are what GET /metrics shows of pools and streams, as a router
// tells at each scrape.
//
//	sluice_router_up                          1 if a router answered
//	sluice_pool_concurrency{pool}             places
//	sluice_pool_running{pool}, _queued{pool}  jobs that have one, and that wait at the pool
//	sluice_pool_workers{pool}                 worker processes that are alive
//	sluice_pool_open{pool}                    1 if it takes jobs: neither draining, ejected, unhealthy, without a worker nor with an open circuit
//	sluice_stream_messages{stream}, _bytes{stream}
type stateMetrics struct {
	gateway                             *Gateway
	up, places, running, queued         *prometheus.Desc
	workers, open, messages, bytesOfAll *prometheus.Desc
}

func newStateMetrics(g *Gateway) *stateMetrics {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("sluice_"+name, help, labels, nil)
	}
	return &stateMetrics{gateway: g,
		up:         desc("router_up", "Whether a router answered the scrape."),
		places:     desc("pool_concurrency", "Places of a pool.", "pool"),
		running:    desc("pool_running", "Jobs that have a place of a pool.", "pool"),
		queued:     desc("pool_queued", "Jobs that wait at a pool for a place.", "pool"),
		workers:    desc("pool_workers", "Worker processes of a pool that are alive.", "pool"),
		open:       desc("pool_open", "Whether a pool takes jobs: not draining, ejected, unhealthy, without a worker or with an open circuit.", "pool"),
		messages:   desc("stream_messages", "Messages in a stream; of JOBS: the backlog.", "stream"),
		bytesOfAll: desc("stream_bytes", "Bytes in a stream.", "stream"),
	}
}

// Describe implements prometheus.Collector.
func (m *stateMetrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.up, m.places, m.running, m.queued, m.workers, m.open, m.messages, m.bytesOfAll} {
		ch <- d
	}
}

// state is what a router answers to "pools" and "health".
type state struct {
	Pools []struct {
		Name        string
		Concurrency float64
		Running     float64
		Queued      float64
		Workers     float64
		Draining    bool
		Health      struct {
			Circuit                  string
			Ejected, Down, Unhealthy bool
		}
	}
	Streams []struct {
		Name     string
		Messages float64
		Bytes    float64
	}
}

// Collect implements prometheus.Collector.
func (m *stateMetrics) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	var s state
	up := 1.0
	for _, op := range []string{"pools", "health"} {
		if answer, f := m.gateway.ask(ctx, op, adminRequest{}); f != nil || json.Unmarshal(answer, &s) != nil {
			up = 0
			break
		}
	}
	say := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	say(m.up, up)
	for i := range s.Pools {
		p := &s.Pools[i]
		say(m.places, p.Concurrency, p.Name)
		say(m.running, p.Running, p.Name)
		say(m.queued, p.Queued, p.Name)
		say(m.workers, p.Workers, p.Name)
		open := 0.0
		if h := &p.Health; !p.Draining && p.Workers > 0 && !h.Down && !h.Ejected && !h.Unhealthy && h.Circuit != "open" {
			open = 1
		}
		say(m.open, open, p.Name)
	}
	for _, x := range s.Streams {
		say(m.messages, x.Messages, x.Name)
		say(m.bytesOfAll, x.Bytes, x.Name)
	}
}
