package ledger

import (
	"testing"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
)

func TestDbg(t *testing.T) {
	bubble(t, func(w *world) {
		kv, _ := w.js.KeyValue(w.t.Context(), w.s.Stream(wire.BucketNodes))
		for range 5 {
			n, err := kv.Put(w.t.Context(), "lost", []byte(`{"instance":"lost"}`))
			_, gerr := kv.Get(w.t.Context(), "lost")
			t.Log(time.Now(), n, err, gerr)
			for range 5 {
				time.Sleep(time.Second)
				_, gerr = kv.Get(w.t.Context(), "lost")
				t.Log(time.Now(), gerr)
			}
		}
	})
}
