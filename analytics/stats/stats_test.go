package stats

import (
	"math"
	"math/rand/v2"
	"testing"
)

func near(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if math.IsNaN(got) || math.Abs(got-want) > tolerance {
		t.Errorf("%s: %.6f, want %.6f", what, got, want)
	}
}

// TestWilson: values of Newcombe, "Two-sided confidence intervals for the
// single proportion" (Statistics in Medicine, 1998), table I, method 3.
func TestWilson(t *testing.T) {
	for _, c := range []struct{ k, n, low, high float64 }{
		{81, 263, 0.2553, 0.3662}, {15, 148, 0.0624, 0.1605}, {0, 20, 0, 0.1611}, {1, 29, 0.0061, 0.1718},
	} {
		w := Wilson(Count{c.k, c.n}, 0.95)
		near(t, "low", w.Low, c.low, 5e-5)
		near(t, "high", w.High, c.high, 5e-5)
		near(t, "share", w.Value, c.k/c.n, 1e-12)
	}
	if w := Wilson(Count{}, 0.95); w.Known || w.Low != 0 || w.High != 1 {
		t.Errorf("of nothing: %+v", w)
	}
	if w := Wilson(Count{10, 10}, 0.99); w.High != 1 || w.Low > 0.7 || !w.Known {
		t.Errorf("of all: %+v", w)
	}
}

// TestNewcombe: examples of Newcombe, "Interval estimation for the difference
// between independent proportions" (Statistics in Medicine, 1998), method 10.
func TestNewcombe(t *testing.T) {
	for _, c := range []struct{ k1, n1, k2, n2, low, high float64 }{
		{56, 70, 48, 80, 0.0524, 0.3339}, {9, 10, 3, 10, 0.1705, 0.8090}, {10, 10, 0, 10, 0.6075, 1}, {5, 56, 0, 29, -0.0381, 0.1926},
	} {
		d := Newcombe(Count{c.k2, c.n2}, Count{c.k1, c.n1}, 0.95)
		near(t, "low", d.Low, c.low, 5e-5)
		near(t, "high", d.High, c.high, 5e-5)
	}
	// z = 0.2 / sqrt(pq(1/70+1/80)) with p = 104/150: 2.651; two-sided 0.0080.
	near(t, "p", Newcombe(Count{48, 80}, Count{56, 70}, 0.95).P, 0.0080, 1e-4)
	if d := Newcombe(Count{0, 5}, Count{0, 9}, 0.95); d.P != 1 || d.Sure() || d.Value != 0 {
		t.Errorf("%+v", d)
	}
	if d := Newcombe(Count{}, Count{1, 2}, 0.95); d.Known || d.Sure() {
		t.Errorf("%+v", d)
	}
}

// TestWelch: the three examples of Wikipedia's article on Welch's t-test, from
// its data.
func TestWelch(t *testing.T) {
	for i, c := range []struct {
		a, b []float64
		p    float64
	}{
		{[]float64{27.5, 21.0, 19.0, 23.6, 17.0, 17.9, 16.9, 20.1, 21.9, 22.6, 23.1, 19.6, 19.0, 21.7, 21.4},
			[]float64{27.1, 22.0, 20.8, 23.4, 23.4, 23.5, 25.8, 22.0, 24.8, 20.2, 21.9, 22.1, 22.9, 20.5, 24.4}, 0.021},
		{[]float64{17.2, 20.9, 22.6, 18.1, 21.7, 21.4, 23.5, 24.2, 14.7, 21.8},
			[]float64{21.5, 22.8, 21.0, 23.0, 21.6, 23.6, 22.5, 20.7, 23.4, 21.8, 20.7, 21.7, 21.5, 22.5, 23.6, 21.5, 22.5, 23.5, 21.5, 21.8}, 0.149},
		{[]float64{19.8, 20.4, 19.6, 17.8, 18.5, 18.9, 18.3, 18.9, 19.5, 22.0},
			[]float64{28.2, 26.6, 20.1, 23.3, 25.2, 22.1, 17.7, 27.6, 20.6, 13.7, 23.2, 17.5, 20.6, 18.0, 23.9, 21.6, 24.3, 20.4, 24.0, 13.2}, 0.036},
	} {
		d := Welch(MomentsOf(c.a), MomentsOf(c.b), 0.95)
		near(t, "p", d.P, c.p, 6e-4)
		if d.Sure() != (c.p < 0.05) || !d.Known {
			t.Errorf("example %d: %+v", i, d)
		}
	}
	if d := Welch(Moments{N: 1, Mean: 3}, Moments{N: 50, Mean: 4, Variance: 1}, 0.95); d.Known || d.Sure() || d.P != 1 || d.Value != 1 {
		t.Errorf("of one value: %+v", d)
	}
	if d := Welch(Moments{N: 5, Mean: 3}, Moments{N: 5, Mean: 3}, 0.95); !d.Known || d.Sure() || d.P != 1 {
		t.Errorf("of equal constants: %+v", d)
	}
	if d := Welch(Moments{N: 5, Mean: 3}, Moments{N: 5, Mean: 4}, 0.95); !d.Sure() || d.P != 0 {
		t.Errorf("of two constants: %+v", d)
	}
}

// TestMeanInterval: t(9) at 97.5 % is 2.262157, t(99) at 99.5 % is 2.626405.
func TestMeanInterval(t *testing.T) {
	i := MeanInterval(Moments{N: 10, Mean: 5, Variance: 4}, 0.95)
	near(t, "high", i.High, 5+2.262157*2/math.Sqrt(10), 1e-5)
	near(t, "low", i.Low, 5-2.262157*2/math.Sqrt(10), 1e-5)
	near(t, "99 %", MeanInterval(Moments{N: 100, Mean: 0, Variance: 1}, 0.99).High, 0.2626405, 1e-6)
	if i := MeanInterval(Moments{N: 1, Mean: 5}, 0.95); i.Known || i.Value != 5 {
		t.Errorf("of one value: %+v", i)
	}
	m := MomentsOf([]float64{1e9 + 4, 1e9 + 7, 1e9 + 13, 1e9 + 16})
	near(t, "variance", m.Variance, 30, 1e-6)
	near(t, "mean", m.Mean, 1e9+10, 1e-6)
}

// TestCoverage: an interval holds the true difference about as often as it
// says, also for skewed values, and grows with the confidence (I1).
func TestCoverage(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	const rounds = 1000
	share, mean := 0, 0
	for range rounds {
		var a, b Count
		var x, y []float64
		for range 200 {
			a.N, b.N = a.N+1, b.N+1
			if rnd.Float64() < 0.9 {
				a.K++
			}
			if rnd.Float64() < 0.95 {
				b.K++
			}
			x, y = append(x, rnd.ExpFloat64()), append(y, 2*rnd.ExpFloat64())
		}
		n, w := Newcombe(a, b, 0.9), Welch(MomentsOf(x), MomentsOf(y), 0.9)
		if n.Low <= 0.05 && 0.05 <= n.High {
			share++
		}
		if w.Low <= 1 && 1 <= w.High {
			mean++
		}
		if wide := Welch(MomentsOf(x), MomentsOf(y), 0.99); wide.Low > w.Low || wide.High < w.High || w.Value < w.Low || w.Value > w.High {
			t.Fatalf("%+v and %+v", w, wide)
		}
	}
	near(t, "coverage of shares", float64(share)/rounds, 0.9, 0.03)
	near(t, "coverage of means", float64(mean)/rounds, 0.9, 0.03)
}
