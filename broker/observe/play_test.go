package observe

import (
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
)

// TestPlayKnowsTheSame: who plays attempts knows what an observer of their
// records does, at every moment.
func TestPlayKnowsTheSame(t *testing.T) {
	for _, limits := range []map[string]Limits{nil, {"a": {Requests: 50}, "b": {Tokens: 5000}}} {
		f := newTestFold(t, limits)
		p := NewPlay(f.setup)
		rng := rand.New(rand.NewPCG(3, 3))
		var last *Snapshot
		now := 1000 * second
		codes := []wire.Code{wire.CodeProviderError, wire.CodeRateLimited, wire.CodeTimeout}
		for i := range 3000 {
			now += rng.Int64N(second / 5)
			pool, job := []string{"a", "b", "c", "d", "gone"}[rng.IntN(5)], string(rune('a'+rng.IntN(20)))
			e := &wire.Entry{Meta: wire.Meta{ID: job, Tenant: "acme", BodyBytes: 400}, WorkSeq: uint64(i), Attempt: &wire.Attempt{N: 1, Pool: pool, Model: "m"}}
			rec := wire.Record{Status: wire.Running, Entry: *e}
			news := p.Began
			if rng.IntN(2) == 0 {
				a := e.Attempt
				a.Status, a.LatencyMS, a.TTFTMS, a.Usage = wire.Succeeded, 50+rng.Int64N(500), 20, wire.Usage{Input: 10, Output: 20}
				if rng.IntN(3) == 0 {
					failed(codes[rng.IntN(len(codes))])(a)
				}
				rec.Status, news = wire.Succeeded, p.Ended
			}
			if got, want := news(e, now), f.record(&ledger.Seen{Header: rec.Encode()}, now); got != want {
				t.Fatalf("record %d: news %v, want %v", i, got, want)
			}
			if i%5 == 0 {
				p.Judge(now)
				f.judge(now)
			}
			if i%7 == 0 {
				f.pools["a"].pace.look(now, i%4)
				p.Depth("a", i%4, now)
			}
			f.unseen = false
			last = f.snapshot(now, last)
			if got := p.Snapshot(now); !sameSnapshot(got, last) {
				t.Fatalf("record %d:\n got %+v\nwant %+v", i, got, last)
			}
		}
	}
}

// sameSnapshot compares all but the order of what runs, which means nothing.
func sameSnapshot(a, b *Snapshot) bool {
	if !reflect.DeepEqual(a.Stats, b.Stats) || a.Routers != b.Routers || a.Rank != b.Rank {
		return false
	}
	for i := range a.Pools {
		x, y := a.Pools[i], b.Pools[i]
		if len(x.Running) != len(y.Running) {
			return false
		}
		x.Running, y.Running = nil, nil
		if !reflect.DeepEqual(x, y) {
			return false
		}
	}
	return true
}
