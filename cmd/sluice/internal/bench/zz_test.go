package bench

import "testing"

func TestZZPath(t *testing.T) {
	r, err := Path(t.Context(), 60000, 256)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("path %.0f/s cpu %v engine %v peak %d MiB", r.Rate, r.CPU, r.Engine, peakMemory()>>20)
}
