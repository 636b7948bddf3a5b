package stats

import (
	"math"

	"gonum.org/v1/gonum/stat/distuv"
)

// Interval is an estimate and the bounds that its true value lies between,
// with the confidence asked for.
type Interval struct {
	Value float64 `json:"value"`
	Low   float64 `json:"low"`
	High  float64 `json:"high"`
	Known bool    `json:"known"` // false: too little data; Low and High say nothing
}

// Difference is an interval of a difference, and the chance of one so large
// where there is none.
type Difference struct {
	Interval
	P float64 `json:"p"` // two-sided; 1 where nothing is known
}

// Sure reports whether the interval leaves out no difference at all.
func (d Difference) Sure() bool { return d.Known && (d.Low > 0 || d.High < 0) }

// Moments are the count, mean and sample variance (divided by n-1) of
// measurements.
type Moments struct {
	N        float64 `json:"n"`
	Mean     float64 `json:"mean"`
	Variance float64 `json:"variance"`
}

// Count is how many of so many had a property.
type Count struct {
	K float64 `json:"k"`
	N float64 `json:"n"`
}

// MomentsOf are the moments of a list of values.
func MomentsOf(values []float64) (m Moments) {
	var squares float64
	for _, v := range values { // Welford: no catastrophic cancellation
		m.N++
		d := v - m.Mean
		m.Mean += d / m.N
		squares += d * (v - m.Mean)
	}
	if m.N > 1 {
		m.Variance = squares / (m.N - 1)
	}
	return m
}

// normal is the quantile of the standard normal distribution that leaves the
// confidence in the middle.
func normal(confidence float64) float64 {
	return distuv.UnitNormal.Quantile(0.5 + confidence/2)
}

// Wilson is the interval of a share by Wilson's score (1927): unlike the usual
// one it holds for shares near 0 and 1, and for few.
func Wilson(c Count, confidence float64) Interval {
	if c.N <= 0 {
		return Interval{Low: 0, High: 1}
	}
	z, p := normal(confidence), c.K/c.N
	z2 := z * z
	middle := (p + z2/(2*c.N)) / (1 + z2/c.N)
	half := z / (1 + z2/c.N) * math.Sqrt(p*(1-p)/c.N+z2/(4*c.N*c.N))
	return Interval{Value: p, Low: max(0, min(middle-half, p)), High: min(1, max(middle+half, p)), Known: true}
}

// Newcombe is the difference of two shares, b's minus a's: the interval is
// Newcombe's method 10 (1998), the chance that of a pooled z-test.
func Newcombe(a, b Count, confidence float64) Difference {
	if a.N <= 0 || b.N <= 0 {
		return Difference{P: 1}
	}
	wa, wb := Wilson(a, confidence), Wilson(b, confidence)
	d := wb.Value - wa.Value
	out := Difference{Interval: Interval{Value: d, Known: true}, P: 1}
	out.Low = d - math.Hypot(wb.Value-wb.Low, wa.High-wa.Value)
	out.High = d + math.Hypot(wb.High-wb.Value, wa.Value-wa.Low)
	pooled := (a.K + b.K) / (a.N + b.N)
	if se := math.Sqrt(pooled * (1 - pooled) * (1/a.N + 1/b.N)); se > 0 {
		out.P = 2 * distuv.UnitNormal.CDF(-math.Abs(d)/se)
	}
	return out
}

// MeanInterval is the interval of a mean by Student's t.
func MeanInterval(m Moments, confidence float64) Interval {
	out := Interval{Value: m.Mean}
	if m.N < 2 {
		return out
	}
	half := student(m.N-1).Quantile(0.5+confidence/2) * math.Sqrt(m.Variance/m.N)
	out.Low, out.High, out.Known = m.Mean-half, m.Mean+half, true
	return out
}

// Welch is the difference of two means, b's minus a's, of measurements whose
// variances need not be equal (Welch 1947, degrees of freedom by
// Satterthwaite).
func Welch(a, b Moments, confidence float64) Difference {
	d := b.Mean - a.Mean
	out := Difference{Interval: Interval{Value: d}, P: 1}
	if a.N < 2 || b.N < 2 {
		return out
	}
	va, vb := a.Variance/a.N, b.Variance/b.N
	se := math.Sqrt(va + vb)
	if se == 0 { // constants: they differ, or they do not
		out.Low, out.High, out.Known = d, d, true
		if d != 0 {
			out.P = 0
		}
		return out
	}
	df := (va + vb) * (va + vb) / (va*va/(a.N-1) + vb*vb/(b.N-1))
	t := student(df)
	half := t.Quantile(0.5+confidence/2) * se
	out.Low, out.High, out.Known = d-half, d+half, true
	out.P = 2 * t.CDF(-math.Abs(d)/se)
	return out
}

func student(df float64) distuv.StudentsT { return distuv.StudentsT{Mu: 0, Sigma: 1, Nu: df} }
