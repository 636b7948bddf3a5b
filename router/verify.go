package router

import (
	"fmt"
	"math"

	"github.com/sluicehq/sluice/sdk/wire"
)

// Verify decides again what was captured and compares the result with the
// decision that was recorded, bit for bit. It returns what differs, a line
// each; an error says that the capture cannot be decided at all.
func Verify(c *Capture, recorded *wire.Decision) (replayed *wire.Decision, differs []string, err error) {
	_, replayed, err = Replay(c)
	if err != nil {
		return nil, nil, err
	}
	check := func(what string, got, want any) {
		if got != want {
			differs = append(differs, fmt.Sprintf("%s is %v, was %v", what, got, want))
		}
	}
	check("route", replayed.Route, recorded.Route)
	check("strategy", replayed.Strategy, recorded.Strategy)
	check("pool", replayed.Pool, recorded.Pool)
	check("model", replayed.Model, recorded.Model)
	check("sequence", replayed.Sequence, recorded.Sequence)
	check("number of candidates", len(replayed.Candidates), len(recorded.Candidates))
	for i := range min(len(replayed.Candidates), len(recorded.Candidates)) {
		got, want := replayed.Candidates[i], recorded.Candidates[i]
		name := want.Pool + "/" + want.Model
		check("score of "+name, math.Float64bits(got.Score), math.Float64bits(want.Score))
		got.Score, want.Score = 0, 0
		check("candidate "+name, got, want)
	}
	return replayed, differs, nil
}
