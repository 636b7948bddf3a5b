package cli

import (
	"strings"
	"testing"

	"github.com/sluicehq/sluice/sdk/wire"
)

func TestHistoryTellsWaits(t *testing.T) {
	spent := wire.NanoUSD(1_500)
	steps := []wire.Step{
		{At: "2026-03-14T09:00:00.250Z", Status: wire.Running, Attempt: 1, Pool: "a", Model: "m",
			Decision: &wire.Decision{Route: "chat", Strategy: "weighted", Pool: "a", Model: "m", Candidates: []wire.Candidate{
				{Pool: "a", Model: "m", Weight: 3, Score: 0.5}, {Pool: "b", Model: "n", Weight: 1, Excluded: "circuit_open"}}}},
		{At: "2026-03-14T09:00:01.250Z", Status: wire.Waiting, Reason: "retry", Attempt: 1, Pool: "a", Model: "m", Outcome: wire.Failed, Error: wire.CodeProviderError,
			Usage: &wire.Usage{Input: 7}},
		{At: "2026-03-14T09:00:03.250Z", Status: wire.Running, Attempt: 2, Pool: "b", Model: "n"},
		{At: "2026-03-14T09:00:03.750Z", Status: wire.Succeeded, Attempt: 2, Pool: "b", Model: "n", Outcome: wire.Succeeded, Latency: 480, TTFTMS: 90,
			Usage: &wire.Usage{Input: 7, CacheRead: 3, Output: 20, Reasoning: 2}, Cost: &spent},
	}
	var b strings.Builder
	if err := printHistory(&b, "2026-03-14T09:00:00Z", steps); err != nil {
		t.Fatal(err)
	}
	wants(t, b.String(), "attempt 1 at a/m · after 250ms", "circuit_open", "provider_error", "unknown", "attempt 2 at b/n · after 2s",
		"480 ms, first token after 90 ms · 10 tokens in, 22 out", "0.000001500", "waited 2.25s, in attempts 1.5s")
	b.Reset()
	if err := printHistory(&b, "", steps[:1]); err != nil || strings.Contains(b.String(), "after") || strings.Contains(b.String(), "waited") {
		t.Errorf("a wait that is not known is told: %v\n%s", err, b.String())
	}
	b.Reset() // clocks of two machines
	if err := printHistory(&b, "2026-03-14T09:00:01Z", steps[:1]); err != nil || !strings.Contains(b.String(), "after 0s") {
		t.Errorf("%v\n%s", err, b.String())
	}
}
