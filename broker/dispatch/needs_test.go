package dispatch

import (
	"testing"

	"github.com/sluicehq/sluice/router"
	"github.com/sluicehq/sluice/sdk/wire"
)

// TestNeedsAreCapabilities: the bits of both mean the same.
func TestNeedsAreCapabilities(t *testing.T) {
	for need, want := range map[wire.Needs]router.Capability{
		wire.NeedTools: router.Tools, wire.NeedVision: router.Vision, wire.NeedAudio: router.Audio,
		wire.NeedJSONSchema: router.JSONSchema, wire.NeedThinking: router.Thinking,
	} {
		if router.Capability(need) != want {
			t.Errorf("need %b is capability %b", need, want)
		}
	}
}
