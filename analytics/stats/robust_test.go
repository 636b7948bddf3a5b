package stats

import (
	"math"
	"math/rand/v2"
	"testing"
)

func TestMedian(t *testing.T) {
	for _, x := range []struct {
		want   float64
		values []float64
	}{{0, nil}, {3, []float64{3}}, {2.5, []float64{4, 1, 2, 3}}, {2, []float64{9, 1, 2}}} {
		if got := Median(x.values); got != x.want {
			t.Errorf("median of %v: %v", x.values, got)
		}
	}
}

// The example of Iglewicz and Hoaglin's label rule, worked by hand: median 5,
// MAD 1.
func TestShift(t *testing.T) {
	base := []float64{3, 4, 4, 5, 5, 6, 6, 7, 5, 900, 5}
	z, m := Shift(9, base, 0)
	if m != 5 || math.Abs(z-0.6745*4) > 1e-9 {
		t.Errorf("score %v, median %v", z, m)
	}
	if z, _ := Shift(5, []float64{5, 5, 5}, 0); z != 0 {
		t.Errorf("the same as ever: %v", z)
	}
	if z, _ := Shift(5.1, []float64{5, 5, 5}, 0); !math.IsInf(z, 1) {
		t.Errorf("without a floor a constant allows nothing: %v", z)
	}
	if z, _ := Shift(4.9, []float64{5, 5, 5}, 0); !math.IsInf(z, -1) {
		t.Errorf("without a floor a constant allows nothing: %v", z)
	}
	if z, _ := Shift(5.1, []float64{5, 5, 5}, 0.01); math.Abs(z-0.6745*2) > 1e-9 {
		t.Errorf("2 %% with a floor of 1 %%: %v", z)
	}
	// Whatever less than half of the baseline is, the score stays.
	r := rand.New(rand.NewPCG(1, 1))
	clean := make([]float64, 101)
	for i := range clean {
		clean[i] = 100 + r.NormFloat64()
	}
	want, _ := Shift(110, clean, 0)
	for i := range 20 {
		clean[i*5] = 1e6 * r.Float64()
	}
	if got, _ := Shift(110, clean, 0); got < want/2 {
		t.Errorf("a fifth of the baseline moved the score from %v to %v", want, got)
	}
}

// The chance is uniform where nothing is at work, and small where something is.
func TestChiSquare(t *testing.T) {
	if p := ChiSquare([]float64{44, 56}, []float64{50, 50}); math.Abs(p-0.2301393) > 1e-6 { // χ² = 1.44
		t.Errorf("44 and 56 of 50 each: %v", p)
	}
	if p := ChiSquare([]float64{5, 0}, []float64{5, 0}); p != 1 {
		t.Errorf("one cell: %v", p)
	}
	if p := ChiSquare([]float64{50, 3}, []float64{53, 0}); p != 0 {
		t.Errorf("what cannot be: %v", p)
	}
	if p := ChiSquare([]float64{2, 1, 97}, []float64{1, 2, 97}); p != 1 {
		t.Errorf("small cells are one: %v", p)
	}
	r := rand.New(rand.NewPCG(2, 2))
	small, rounds := 0, 4000
	for range rounds {
		o := make([]float64, 3)
		for range 300 {
			switch x := r.IntN(6); {
			case x < 1:
				o[0]++
			case x < 3:
				o[1]++
			default:
				o[2]++
			}
		}
		if ChiSquare(o, []float64{50, 100, 150}) < 0.05 {
			small++
		}
	}
	if share := float64(small) / float64(rounds); share < 0.035 || share > 0.065 {
		t.Errorf("%.3f of fair draws are below 5 %%", share)
	}
}
