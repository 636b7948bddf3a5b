package bench

import (
	"context"
	"os"
	"testing"

	"github.com/sluicehq/sluice/analytics/engine"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "engine" {
		if err := engine.Main(context.Background(), os.Stdin, os.Stdout); err != nil {
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func TestHop(t *testing.T) {
	r, err := Hop(t.Context(), 50000)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("hop %.0f/s", r)
}

func TestPath(t *testing.T) {
	r, err := Path(t.Context(), 60000, 512)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("path %.0f/s", r)
}
