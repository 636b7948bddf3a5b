package path

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/sluicehq/sluice/broker/natsd"
	"github.com/sluicehq/sluice/broker/topology"
	"github.com/sluicehq/sluice/sdk/wire"
)

// TestStoreFull: when the store is full of jobs, submissions are refused with a
// code; what was accepted runs and is answered, since there is room left for
// that; then submissions are accepted again. A restart changes none of it.
func TestStoreFull(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		p := always(reply{delay: 100 * time.Millisecond, body: answer(strings.Repeat("x", 100_000))})
		s := setup{dir: dir, store: 32 << 20, pools: []pool{{name: "a", concurrency: 4, provider: p}}}
		r := start(t, s)
		big := `{"model":"chat","messages":["` + strings.Repeat("x", 100_000) + `"]}`
		var ids []string
		fill := func(name string) {
			for n := 0; ; n++ {
				id := fmt.Sprint(name, "-", n)
				_, err := r.send(r.subj.Jobs("acme", wire.Batch), big, wire.HeaderJobID, id)
				if err == nil {
					ids = append(ids, id)
					continue
				}
				var api *jetstream.APIError
				if !errors.As(err, &api) || api.ErrorCode != 10077 {
					t.Fatalf("refused with %v, want code 10077", err)
				}
				return
			}
		}
		fill("first")
		if n := len(ids); n < 90 || n > 200 {
			t.Errorf("%d jobs of 100 kB were accepted, want about half of 32 MiB less some", n)
		}
		r.stop()
		r = start(t, s)
		time.Sleep(time.Minute)
		before := len(ids)
		fill("second") // some have run
		if len(ids) == before {
			t.Error("none is accepted though some have run")
		}
		for _, id := range ids[:100] {
			if res := r.result(id); res.Status != wire.Succeeded {
				t.Errorf("%s: %s", id, res.Status)
			}
		}
	})
}

// TestStoreDefault: without a bound the store has room for what is there and
// for most of what is free.
func TestStoreDefault(t *testing.T) {
	srv, err := natsd.Start(natsd.Config{DataDir: t.TempDir(), Sync: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Stop()
	c := topology.Config{}.Share(srv.MaxStore())
	if srv.MaxStore() < 1<<20 || c.JobsMax < srv.MaxStore()/4 || c.JobsMax+c.ChunksMax+c.CapturesMax > srv.MaxStore() {
		t.Errorf("of %d bytes jobs have %d, chunks %d, captures %d", srv.MaxStore(), c.JobsMax, c.ChunksMax, c.CapturesMax)
	}
}
