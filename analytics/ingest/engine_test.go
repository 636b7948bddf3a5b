package ingest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/sluicehq/sluice/analytics/store"
	"github.com/sluicehq/sluice/analytics/store/storetest"
	"github.com/sluicehq/sluice/sdk/wire"
)

// On the real ClickHouse, with kill -9 of the engine, loss of the active
// ingester's connection and restarts at random moments: every record that
// needs a row has exactly one, and the money is right to the nano-dollar.
func TestExactOnEngine(t *testing.T) {
	dsn := storetest.DSN(t)
	open := func() *store.Store {
		s, err := store.Open(store.Config{DSN: dsn, DialTimeout: time.Second})
		must(t, err)
		t.Cleanup(func() { _ = s.Close() })
		return s
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	l := startLedger(t)
	quick := Config{FlushInterval: 20 * time.Millisecond, MaxRows: 500, LeaseTTL: 2 * time.Second, RetryMax: 200 * time.Millisecond}
	begin := func(name string) (stop func()) {
		cfg := quick
		nc, js := l.connect()
		cfg.JS, cfg.Store, cfg.Instance = js, open(), name
		r := start(t, cfg)
		if rnd.IntN(2) == 0 {
			return r.stop
		}
		return func() { nc.Close(); r.stop() }
	}
	const jobs, rounds = 4000, 12
	attempts := 0
	var spent wire.NanoUSD
	stop := begin("i0")
	for i := range rounds {
		for j := range jobs / rounds {
			n := 1 + rnd.IntN(3)
			l.job(fmt.Sprintf("%d-%d", i, j), n)
			attempts += n
			spent += wire.NanoUSD(n) * 20
		}
		time.Sleep(time.Duration(rnd.Int64N(int64(300 * time.Millisecond))))
		switch i % 3 {
		case 0:
			storetest.Kill(t)
		case 1:
			next := begin(fmt.Sprint("i", i)) // a stand-by, and then the active one
			stop()
			stop = next
		}
	}
	stop()
	cfg := quick
	cfg.JS, cfg.Store, cfg.Instance = l.js, open(), "last"
	start(t, cfg).caughtUp(t, l)

	n := jobs / rounds * rounds
	for sql, want := range map[string]string{
		"SELECT count(), uniqExact(seq), uniqExact(job_id, attempt), sum(cost_nano_usd) FROM attempts": fmt.Sprint([]any{attempts, attempts, attempts, int64(spent)}),
		"SELECT count(), uniqExact(seq), uniqExact(job_id), sum(cost_nano_usd) FROM jobs":              fmt.Sprint([]any{n, n, n, int64(spent)}),
	} {
		rows, err := open().Query(context.Background(), sql)
		must(t, err)
		rows.Next()
		if got := fmt.Sprint(rows.Values()); got != want {
			t.Errorf("%s: %s, want %s", sql, got, want)
		}
		must(t, rows.Err())
		must(t, rows.Close())
	}
}
