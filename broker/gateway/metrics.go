package gateway

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/sluicehq/sluice/sdk/wire"
)

// metric is the full name of one of the gateway's metrics.
func metric(name string) string { return "sluice_gateway_" + name }

// The labels: endpoint is one of the five, outcome one of the list below.
const (
	labelEndpoint = "endpoint"
	labelOutcome  = "outcome"
)

// outcome is how a request for an answer went: a job's terminal status, or
// why the request did not see one.
type outcome string

// The outcomes beside the terminal statuses.
const (
	refused outcome = "refused" // no job came of it
	gone    outcome = "gone"    // the client went away
	stopped outcome = "stopped" // this gateway stopped
	broken  outcome = "broken"  // the answer broke off, or could not be waited for

	accepted outcome = "accepted" // it goes on in the background
)

// buckets of seconds: from a cached embedding to a long chain of thought.
var buckets = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600}

// metrics are what GET /metrics shows of the gateway.
//
//	sluice_gateway_requests_total{endpoint,outcome}  requests for an answer that have ended
//	sluice_gateway_request_seconds{endpoint}         from header to the end of the answer
//	sluice_gateway_first_chunk_seconds{endpoint}     from header to a stream's first chunk
//	sluice_gateway_in_flight{endpoint}               requests for an answer under way
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	first    *prometheus.HistogramVec
	flying   *prometheus.GaugeVec
}

func newMetrics(r *prometheus.Registry) *metrics {
	by := []string{labelEndpoint}
	m := &metrics{
		registry: r,
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: metric("requests_total"),
			Help: "Requests for an answer that have ended."}, []string{labelEndpoint, labelOutcome}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: metric("request_seconds"),
			Help: "Seconds from a request's header to the end of its answer.", Buckets: buckets}, by),
		first: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: metric("first_chunk_seconds"),
			Help: "Seconds from a request's header to its stream's first chunk.", Buckets: buckets}, by),
		flying: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: metric("in_flight"),
			Help: "Requests for an answer under way."}, by),
	}
	r.MustRegister(m.requests, m.seconds, m.first, m.flying)
	return m
}

// begin counts a request in, until the returned function is called.
func (m *metrics) begin(e wire.Endpoint) func(outcome) {
	start := time.Now()
	flying := m.flying.WithLabelValues(string(e))
	flying.Inc()
	return func(o outcome) {
		flying.Dec()
		m.requests.WithLabelValues(string(e), string(o)).Inc()
		m.seconds.WithLabelValues(string(e)).Observe(time.Since(start).Seconds())
	}
}

// firstChunk notes a stream's first chunk.
func (m *metrics) firstChunk(e wire.Endpoint, after time.Duration) {
	m.first.WithLabelValues(string(e)).Observe(after.Seconds())
}

// handler shows everything in the registry as Prometheus text.
func (m *metrics) handler() http.HandlerFunc {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError}).ServeHTTP
}
