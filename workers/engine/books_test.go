package engine_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/sluicehq/sluice/workers/engine"
	"github.com/sluicehq/sluice/workers/simulated"
)

// TestCostsEqualTheBooks makes many calls of every kind with faults among them
// and compares each with the provider's own books: for every answer that was
// given, usage and cost agree to the token and the nano-dollar.
func TestCostsEqualTheBooks(t *testing.T) {
	price := wire.Price{Input: 150_001, CacheRead: 75_003, CacheWrite: 1, Output: 600_007, Reasoning: 599_999}
	path := filepath.Join(t.TempDir(), "books")
	books, err := simulated.OpenBooks(path)
	if err != nil {
		t.Fatal(err)
	}
	e := simulate(t, simulated.Config{Seed: 5, ErrorShare: 0.2, CacheShare: 0.3, ReasoningShare: 0.2, Books: books,
		Prices: map[string]wire.Price{"": price}})
	const workers, each = 4, 250
	outcomes := make(map[string]*engine.Outcome)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), 7))
			for i := range each {
				c := anyCall(r, fmt.Sprintf("w%d-%d", w, i))
				o := e.Do(context.Background(), c)
				mu.Lock()
				outcomes[engine.IdempotencyKey(c.Meta.Tenant, c.Meta.ID, c.Attempt)] = o
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if err := books.Close(); err != nil {
		t.Fatal(err)
	}
	lines, _, err := simulated.ReadBooks(path)
	if err != nil || len(lines) != workers*each {
		t.Fatalf("%d lines, %v", len(lines), err)
	}
	seen := map[string]int{}
	for _, l := range lines {
		seen[l.Outcome]++
		compare(t, l, outcomes[l.Key], price)
	}
	for _, k := range []string{"ok", "refused", "dropped", "garbled"} {
		if seen[k] == 0 {
			t.Errorf("no call was %s: %v", k, seen)
		}
	}
}

// anyCall draws an endpoint, a length and whether to stream.
func anyCall(r *rand.Rand, id string) *engine.Call {
	endpoints := []wire.Endpoint{wire.ChatCompletions, wire.Completions, wire.Responses, wire.Embeddings}
	ep := endpoints[r.IntN(len(endpoints))]
	c := chatCall(bodies[ep])
	c.Meta.Endpoint, c.Meta.ID, c.Attempt = ep, id, 1+r.IntN(3)
	if r.IntN(2) == 0 {
		c.Emit = func([][]byte, bool) error { return nil }
	}
	return c
}

func compare(t *testing.T, l simulated.Line, o *engine.Outcome, price wire.Price) {
	t.Helper()
	if o == nil {
		t.Fatalf("the books have a call that nobody made: %+v", l)
	}
	if (l.Outcome == "ok") != (o.Status == wire.Succeeded) {
		t.Errorf("%s: booked as %s, ended as %s %v", l.Key, l.Outcome, o.Status, o.Err)
	}
	switch l.Outcome {
	case "ok":
		want := wire.Usage{Input: l.Input, CacheRead: l.CacheRead, CacheWrite: l.CacheWrite, Output: l.Output, Reasoning: l.Reasoning}
		if o.Usage != want || o.Source != wire.UsageFromProvider || int64(price.Cost(o.Usage)) != *l.Cost {
			t.Errorf("%s: usage %+v from %s costs %d, books %+v cost %d", l.Key, o.Usage, o.Source, price.Cost(o.Usage), want, *l.Cost)
		}
	case "refused":
		if o.Usage != (wire.Usage{}) || *l.Cost != 0 || o.HTTP != l.HTTP {
			t.Errorf("%s: refused with %+v, booked %+v", l.Key, o, l)
		}
	default:
		if o.Source != wire.UsageEstimated || o.Usage.Input == 0 {
			t.Errorf("%s: %s, but usage %+v from %s", l.Key, l.Outcome, o.Usage, o.Source)
		}
	}
}

// TestRepeatIsTheSame: the same attempt again gets the same answer, the next
// attempt another.
func TestRepeatIsTheSame(t *testing.T) {
	e := simulate(t, simulated.Config{})
	a, b := e.Do(context.Background(), chatCall(hello)), e.Do(context.Background(), chatCall(hello))
	c := chatCall(hello)
	c.Attempt = 2
	next := e.Do(context.Background(), c)
	if string(a.Body) != string(b.Body) || string(a.Body) == string(next.Body) {
		t.Errorf("%s\n%s\n%s", a.Body, b.Body, next.Body)
	}
}

// TestManyAtOnce: a provider's limit on concurrent calls comes out as a rate
// limit, for exactly those above it.
func TestManyAtOnce(t *testing.T) {
	e := simulate(t, simulated.Config{MaxConcurrent: 4, TimeToFirstToken: 200 * time.Millisecond})
	var mu sync.Mutex
	codes := map[wire.Code]int{}
	var wg sync.WaitGroup
	for i := range 10 {
		wg.Go(func() {
			c := chatCall(hello)
			c.Meta.ID = fmt.Sprint("job", i)
			o := e.Do(context.Background(), c)
			mu.Lock()
			defer mu.Unlock()
			if o.Err == nil {
				codes[""]++
			} else {
				codes[o.Err.Code]++
			}
		})
	}
	wg.Wait()
	if codes[""]+codes[wire.CodeRateLimited] != 10 || codes[""] < 4 {
		t.Errorf("%v", codes)
	}
}
