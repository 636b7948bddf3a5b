package gateway

import (
	"context"
	"errors"
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

// TestFull: where no job can be stored, requests are refused at once and say
// why, and as soon as one can be they are taken.
func TestFull(t *testing.T) {
	b := newBroker(t, t.TempDir(), answer(completion("x")))
	full := errors.New("a stream's write error")
	f := b.newFront(func(c *Config) { c.Full = func() error { return full } })
	r := f.post("/v1/chat/completions", chatBody)
	if message, _, _, code := r.fault(t); r.status != 503 || code != "unavailable" || !strings.Contains(message, "disk") || r.header.Get("Retry-After") == "" {
		t.Errorf("%d %s %v", r.status, r.body, r.header)
	}
	if n := b.count(); n != 0 {
		t.Errorf("%d jobs were published", n)
	}
	full = nil
	if r := f.post("/v1/chat/completions", chatBody); r.status != 200 {
		t.Errorf("with room again: %d %s", r.status, r.body)
	}
}
