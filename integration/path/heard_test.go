package path

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
)

// TestRefusedRecordIsNotHeard: a plain subscriber hears what is stored, under
// the record's subject, and nothing that was refused.
func TestRefusedRecordIsNotHeard(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		r := start(t, setup{dir: dir, pools: []pool{{name: "a", provider: &script{}}}})
		sub, err := r.proc("reader").nc.SubscribeSync(r.subj.Records("acme", "x"))
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // the subscription is made
		meta := wire.Meta{ID: "x", Tenant: "acme", Seq: 1}
		first, err := r.led.Append(t.Context(), &wire.Record{Status: wire.Waiting, Entry: wire.Entry{Meta: meta}}, 0)
		if err != nil {
			t.Fatal(err)
		}
		_, err = r.led.Append(t.Context(), &wire.Record{Status: wire.Succeeded, Entry: wire.Entry{Meta: meta}}, 0)
		var c *ledger.Conflict
		if !errors.As(err, &c) || c.Last.Seq != first {
			t.Fatalf("a second first record: %v, want a conflict with %d", err, first)
		}
		if _, err := r.led.Append(t.Context(), &wire.Record{Status: wire.Failed, Entry: wire.Entry{Meta: meta}}, first); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second) // NextMsg's timers are pooled over bubbles
		defer cancel()
		for _, want := range []wire.Status{wire.Waiting, wire.Failed} {
			m, err := sub.NextMsgWithContext(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if got := wire.Status(m.Header.Get(wire.HeaderStatus)); got != want {
				t.Fatalf("heard %s, want %s", got, want)
			}
		}
		if m, err := sub.NextMsgWithContext(ctx); err == nil {
			t.Fatalf("heard %s too", m.Header.Get(wire.HeaderStatus))
		}
	})
}
