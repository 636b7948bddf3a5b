package ingest

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
)

// TestScores: what was reported of jobs is in the table once and in order, over
// restarts and while ClickHouse is away; what else is in the bucket is not.
func TestScores(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := startLedger(t)
		f := &fakeStore{}
		begin := func() *running {
			return start(t, Config{JS: l.js, Store: f, FlushInterval: 100 * time.Millisecond, LeaseTTL: 2 * time.Second, RetryMax: time.Second})
		}
		r := begin()
		time.Sleep(5 * time.Second) // there is no bucket yet
		kv, err := l.js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: subjects.Stream(wire.BucketQuality), LimitMarkerTTL: time.Minute})
		must(t, err)
		var want []string
		n := 0
		report := func(times int) {
			for range times {
				n++
				b, _ := json.Marshal(ledger.Score{Score: float64(n) / 10_000})
				_, err := kv.Create(t.Context(), ledger.ScoreKey("acme", fmt.Sprint("job-", n)), b, jetstream.KeyTTL(time.Hour))
				must(t, err)
				want = append(want, fmt.Sprintf("acme job-%d %g", n, float64(n)/10_000))
			}
		}
		check := func() {
			t.Helper()
			f.mu.Lock()
			defer f.mu.Unlock()
			var got []string
			for i, s := range f.scores {
				got = append(got, fmt.Sprintf("%s %s %g", s.Tenant, s.Job, s.Quality))
				if i > 0 && s.Seq <= f.scores[i-1].Seq || time.Since(s.TS) > time.Hour {
					t.Errorf("%d is %+v", i, s)
				}
			}
			if !slices.Equal(got, want) {
				t.Fatalf("%d reports, want %d: %q", len(got), len(want), got)
			}
		}
		report(3)
		time.Sleep(2 * time.Second)
		check()
		for key, value := range map[string]string{"job.acme.early": "", "job.acme.odd": `{"score":7}`, "job.acme.odder": "[", "model.p.m": `{"score":1}`} {
			_, err := kv.PutString(t.Context(), key, value)
			must(t, err)
		}
		must(t, kv.Delete(t.Context(), ledger.ScoreKey("acme", "job-1")))
		f.setDown(true)
		report(2500)
		time.Sleep(10 * time.Second)
		f.setDown(false)
		time.Sleep(5 * time.Second)
		check()
		r.stop()
		report(2)
		begin()
		time.Sleep(5 * time.Second)
		check()
	})
}
