package gateway

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicehq/sluice/sdk"
	"github.com/sluicehq/sluice/sdk/wire"
)

// TestAcks: silence of NATS is a reason not to be ready, until a job was
// acknowledged, or it is time to try one; what else refuses jobs is none.
func TestAcks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var text strings.Builder
		log := slog.New(slog.NewTextHandler(&text, nil))
		silent := fmt.Errorf("publish: %w", context.DeadlineExceeded)
		away := &sdk.Error{Code: wire.CodeUnavailable}
		var a acks
		for i, c := range []struct {
			err   error
			ready bool
		}{
			{silent, true}, {away, true}, {nil, true}, {silent, true}, {away, true},
			{&sdk.Error{Code: wire.CodeBacklogFull}, true}, {context.Canceled, true},
			{silent, false}, {silent, false}, {context.Canceled, false}, {nil, true}, {silent, true},
		} {
			if a.note(c.err, log); (a.fault() == nil) != c.ready {
				t.Errorf("%d, after %v: %v", i, c.err, a.fault())
			}
		}
		a.note(silent, log)
		a.note(silent, log)
		time.Sleep(unackedFor - 1)
		if a.fault() == nil {
			t.Error("too early")
		}
		time.Sleep(time.Nanosecond)
		if err := a.fault(); err != nil {
			t.Error(err)
		}
		if n := strings.Count(text.String(), "acknowledges no jobs"); n != 2 || strings.Count(text.String(), "jobs again") != 1 {
			t.Error(text.String())
		}
	})
}
