package stats

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/stat/distuv"
)

// Outlier is the modified z-score above which a value is called an outlier, as
// Iglewicz and Hoaglin advise (How to Detect and Handle Outliers, 1993).
const Outlier = 3.5

// Median is the middle of some values, or the mean of the two in the middle; 0
// of none.
func Median(values []float64) float64 {
	n := len(values)
	if n == 0 {
		return 0
	}
	s := slices.Clone(values)
	slices.Sort(s)
	return (s[(n-1)/2] + s[n/2]) / 2
}

// Shift is how far a value lies from the middle of a baseline: Iglewicz and
// Hoaglin's modified z-score, 0.6745·(x − median)/MAD, where MAD is the median of
// the absolute deviations from the median. Up to half of the baseline may be
// anything without moving it. The MAD counts as at least floor times the median,
// since a baseline that hardly moves makes everything an outlier.
func Shift(x float64, baseline []float64, floor float64) (score, median float64) {
	median = Median(baseline)
	deviations := make([]float64, len(baseline))
	for i, v := range baseline {
		deviations[i] = math.Abs(v - median)
	}
	mad := max(Median(deviations), floor*math.Abs(median))
	switch {
	case mad > 0:
		return 0.6745 * (x - median) / mad, median
	case x == median:
		return 0, median
	}
	return math.Inf(int(math.Copysign(1, x-median))), median
}

// ChiSquare is the chance of counts as far from what was expected as these, if
// nothing but chance were at work: Pearson's test (1900) with one degree of
// freedom less than there are cells. Cells where less than 5 are expected are
// taken together. 1 where there is nothing to test.
func ChiSquare(observed, expected []float64) float64 {
	var sum, restO, restE float64
	cells := 0
	add := func(o, e float64) {
		sum += (o - e) * (o - e) / e
		cells++
	}
	for i, e := range expected {
		if e < 5 {
			restO, restE = restO+observed[i], restE+e
			continue
		}
		add(observed[i], e)
	}
	if restE > 0 {
		add(restO, restE)
	} else if restO > 0 {
		return 0 // what cannot be has been
	}
	if cells < 2 {
		return 1
	}
	return distuv.ChiSquared{K: float64(cells - 1)}.Survival(sum)
}
