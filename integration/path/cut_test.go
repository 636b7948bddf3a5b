package path

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker/budget/account"
	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/sluicehq/sluice/workers/simulated"
)

// TestCancelWhole: a call for an answer that is not streamed is cut by a cancel,
// or by the job's deadline. The provider has begun to generate, and books it;
// nobody here heard a word of it. The row says what is known: the prompt, as an
// estimate. The budget, which is for what the provider charges, keeps the worst
// case, and is not below its books.
func TestCancelWhole(t *testing.T) {
	const body = `{"model":"chat","max_tokens":50,"messages":[{"role":"user","content":"one two three four five six"}]}`
	for name, c := range map[string]struct {
		header []string
		cut    bool // cancelled after 3.5 s
		status wire.Status
	}{
		"cancel":   {nil, true, wire.Cancelled},
		"deadline": {[]string{wire.HeaderDeadline, "3500ms"}, false, wire.Expired},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, dir string) {
				path := filepath.Join(t.TempDir(), "books")
				books, err := simulated.OpenBooks(path)
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = books.Close() }() // each line was written when it was booked
				p, err := simulated.New(simulated.Config{Fill: true, TimeToFirstToken: time.Second, TokensPerSecond: 10, Books: books,
					Prices: map[string]wire.Price{"": *testPrice}})
				if err != nil {
					t.Fatal(err)
				}
				def := account.Definition{Scope: "tenant:acme", LimitUSD: dollars(1e9)}
				r := start(t, setup{dir: dir, bare: true, pools: []pool{{name: "a", provider: p}}})
				r.payer("r1", def)
				r.worker("w1")
				time.Sleep(time.Second)
				id := r.publish(body, c.header...)
				if c.cut {
					time.Sleep(3500 * time.Millisecond)
					if a := r.cancelJob(id); a.Status != wire.Cancelled || a.Cost == nil || *a.Cost == 0 {
						t.Errorf("cancel answers %+v", a)
					}
				}
				res := r.result(id)
				at := res.Entry.Attempt
				if res.Status != c.status || at == nil || at.Status != c.status {
					t.Fatalf("%s, attempt %+v", res.Status, at)
				}
				lines, _, err := simulated.ReadBooks(path)
				if err != nil || len(lines) != 1 {
					t.Fatalf("%+v, %v", lines, err)
				}
				l := lines[0]
				if l.Outcome != "cut" || l.Output < 20 || l.Output > 30 || l.Input == 0 {
					t.Errorf("the provider books %+v, want a cut call of about 26 tokens", l)
				}
				prompt := wire.EstimateTokens(len(body))
				if at.Source != wire.UsageEstimated || at.Usage != (wire.Usage{Input: prompt}) || prompt < l.Input || at.Cost == nil || *at.Cost != testPrice.Cost(at.Usage) {
					t.Errorf("the row has %+v of %s for %v, want an estimate of the prompt, %d tokens", at.Usage, at.Source, at.Cost, prompt)
				}
				worst := int64(len(body))*1000 + 50*2000
				time.Sleep(20 * time.Second)
				for _, s := range r.standing(def) {
					if s.Spent != worst || s.Held != 0 || s.Spent < *l.Cost {
						t.Errorf("%d spent and %d held, want the worst case, %d; the books have %d", s.Spent, s.Held, worst, *l.Cost)
					}
				}
				r.empty()
			})
		})
	}
}
