package demo

import (
	"bytes"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/sdk"
	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/sluicehq/sluice/workers/simulated"
)

func record(status wire.Status, job string, n int, pool string, end wire.Status, cost wire.NanoUSD) *wire.Record {
	a := &wire.Attempt{N: n, Pool: pool, Status: end}
	if end != "" {
		a.Cost = &cost
	}
	return &wire.Record{Status: status, Entry: wire.Entry{Meta: wire.Meta{Tenant: "t", ID: job}, Attempt: a}}
}

// TestBoard: an attempt counts once, whatever is heard how often and of which
// pool.
func TestBoard(t *testing.T) {
	now := time.Unix(0, 0)
	b := newBoard([]string{"a", "b"}, 4, now)
	for range 2 {
		b.record(record(wire.Running, "j1", 1, "a", "", 0))
	}
	b.record(record(wire.Running, "j2", 1, "b", "", 0))
	b.record(record(wire.Running, "j3", 1, "elsewhere", "", 0))
	b.record(&wire.Record{Status: wire.Waiting})
	for range 2 {
		b.record(record(wire.Waiting, "j1", 1, "a", wire.Failed, 5))
	}
	b.record(record(wire.Running, "j1", 2, "b", "", 0))
	b.record(record(wire.Succeeded, "j1", 2, "b", wire.Succeeded, 7))
	b.result(&sdk.Result{Attempts: 2, Cost: 12})
	b.result(&sdk.Result{Attempts: 1, Cost: 1, Err: new(sdk.Error)})
	if a, c := b.pools[0], b.pools[1]; *a != (poolLine{"a", 0, 1, 0, 5}) || *c != (poolLine{"b", 1, 0, 1, 7}) {
		t.Errorf("pools: %+v %+v", *a, *c)
	}
	if b.succeeded != 1 || b.failed != 1 || b.rescued != 1 || b.spent != 13 {
		t.Errorf("jobs: %+v", b)
	}
	var out bytes.Buffer
	b.draw(&out, now.Add(2*time.Second), false)
	if got, want := out.String(), "   2.0 s    2 of 4 jobs done, 1 failed, 1/s, $0.000000013  (a 0, b 1)\n"; got != want {
		t.Errorf("plain:\n%q\n%q", got, want)
	}
	out.Reset()
	b.draw(&out, now.Add(2*time.Second), true)
	b.draw(&out, now.Add(2*time.Second), true)
	if got := out.String(); strings.Count(got, "\x1b[3A\x1b[J") != 1 || strings.Count(got, "\n") != 6 || !strings.Contains(got, "██████████░░░░░░░░░░   2 of 4") {
		t.Errorf("on a terminal:\n%s", got)
	}
}

func TestBar(t *testing.T) {
	for _, c := range [][2]int{{0, 0}, {0, 10}, {10, 10}, {20, 10}} {
		if n := len([]rune(bar(c[0], c[1]))); n != 20 {
			t.Errorf("bar of %v has %d characters", c, n)
		}
	}
}

// TestCompare: every difference between ClickHouse and books is found.
func TestCompare(t *testing.T) {
	cost := func(n int64) *int64 { return &n }
	booked := map[string]simulated.Line{
		"same": {Cost: cost(7), Output: 3}, "other": {Cost: cost(8), Output: 3}, "cut": {Cost: cost(9), Output: 3},
		"refused": {Cost: cost(0)}, "unpriced": {Output: 1},
	}
	var c comparison
	c.add("same", wire.UsageFromProvider, "7", booked)
	c.add("cut", wire.UsageEstimated, "11", booked)
	c.add("refused", wire.UsageEstimated, "0", booked)
	if err := c.err(); err != nil || c.cut != 1 || c.estimated.Int64() != 11 || c.truly.Int64() != 9 || c.costs.Cmp(big.NewInt(7)) != 0 {
		t.Errorf("%v %+v", err, &c)
	}
	c.add("other", wire.UsageFromProvider, "7", booked)
	c.add("unknown", wire.UsageFromProvider, "7", booked)
	c.add("unpriced", wire.UsageFromProvider, "0", booked)
	c.add("same", wire.UsageFromProvider, "", booked)
	if len(c.unmatched) != 4 || c.err() == nil || errors.Is(c.err(), nil) {
		t.Errorf("%q", c.unmatched)
	}
}
