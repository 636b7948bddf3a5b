package router

import "math"

// Histogram is a distribution of positive values whose samples lose half
// their weight every half-life. Its buckets are a sixth of a doubling wide,
// so a quantile is right to about 6 %. New samples weigh more instead of old
// ones less; only when weights grow large are all of them scaled down.
type Histogram struct {
	Buckets [histogramBuckets]float32
	Total   float64
	Base    int64 // when a sample weighs 1
}

const (
	perDoubling      = 6
	histogramLowest  = 0.05 // ms, the end of the first bucket
	histogramBuckets = 24*perDoubling + 1
)

// Add folds a sample of value x.
func (h *Histogram) Add(at int64, x float64, halfLife int64) {
	if !known(x) || halfLife <= 0 {
		return
	}
	if h.Total == 0 {
		h.Base = at
	}
	age := at - h.Base
	if age > 20*halfLife {
		h.rebase(at, halfLife)
		age = 0
	}
	w := math.Exp2(float64(max(age, -20*halfLife)) / float64(halfLife))
	h.Buckets[bucketOf(x)] += float32(w)
	h.Total += w
}

// rebase scales all weights so that a sample at the time weighs 1.
func (h *Histogram) rebase(at, halfLife int64) {
	scale := decay(at-h.Base, halfLife)
	h.Total = 0
	for i := range h.Buckets {
		h.Buckets[i] *= float32(scale)
		h.Total += float64(h.Buckets[i])
	}
	h.Base = at
}

func bucketOf(x float64) int {
	i := math.Ceil(math.Log2(x/histogramLowest) * perDoubling)
	return int(min(max(i, 0), histogramBuckets-1))
}

// Quantile is the value below which the share q of the weight lies, 0 without
// samples.
func (h *Histogram) Quantile(q float64) float64 {
	if h.Total <= 0 {
		return 0
	}
	need, sum, last := q*h.Total, 0.0, 0
	for i, w := range h.Buckets {
		if w == 0 {
			continue
		}
		last = i
		if sum += float64(w); sum >= need {
			break
		}
	}
	return histogramLowest * math.Exp2((float64(last)-0.5)/perDoubling) // the bucket's middle
}

// Quantiles are the points that Stats knows, with the mean.
func (h *Histogram) Quantiles(mean float64) Quantiles {
	return Quantiles{Mean: mean, P50: h.Quantile(0.5), P90: h.Quantile(0.9), P95: h.Quantile(0.95), P99: h.Quantile(0.99)}
}
