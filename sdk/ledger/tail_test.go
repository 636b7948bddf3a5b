package ledger

import (
	"context"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
)

// Followers hear every record once and in order, over the loss of the
// consumer, and know what each continues.
func TestTail(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		job := func(id string) func(*wire.Record) { return func(r *wire.Record) { r.Entry.Meta.ID = id } }
		w.append(record(wire.Running, job("too-old")), 0)
		time.Sleep(time.Hour)
		w.append(record(wire.Running, job("old")), 0)
		tail := NewTail(w.js, w.s, time.Minute, slog.New(slog.DiscardHandler))
		var all, some []uint64
		var broken int
		tail.Follow(func(m *Seen) {
			if m.Prev != m.Seq-1 {
				broken++
			}
			all = append(all, m.Seq)
		})
		stop := tail.Follow(func(m *Seen) { some = append(some, m.Seq) })
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- tail.Run(ctx) }()
		w.append(record(wire.Running, job("a")), 0)
		synctest.Wait()
		stop()
		s, err := w.js.Stream(t.Context(), w.s.Stream(wire.StreamLedger))
		if err != nil {
			t.Fatal(err)
		}
		for name := range s.ConsumerNames(t.Context()).Name() {
			if err := s.DeleteConsumer(t.Context(), name); err != nil {
				t.Fatal(err)
			}
		}
		w.append(record(wire.Running, job("b")), 0)
		time.Sleep(2 * time.Second)
		w.append(record(wire.Running, job("c")), 0)
		synctest.Wait()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if !slices.Equal(all, []uint64{2, 3, 4, 5}) || !slices.Equal(some, []uint64{2, 3}) || broken != 1 {
			t.Errorf("heard %v and %v, %d without what came before; want [2 3 4 5], [2 3], 1", all, some, broken)
		}
	})
}
