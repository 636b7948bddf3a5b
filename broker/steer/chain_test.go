package steer

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/router"
	"github.com/sluicehq/sluice/sdk/wire"
)

// table has the routes main (pools a and b), small (c) and tiny (d), each pool
// with one place for a batch job.
func table(t testing.TB) *router.Table {
	t.Helper()
	var pools []router.Pool
	cand := map[string]router.CandidateSpec{}
	for _, name := range []string{"a", "b", "c", "d"} {
		pools = append(pools, router.Pool{Name: name, Provider: "p", Region: "eu", Concurrency: 1})
		cand[name] = router.CandidateSpec{Pool: name, Model: "m-" + name, Weight: 1, Context: 2000, Price: &wire.Price{Version: "v"}}
	}
	c := cand["a"]
	c.Weight = 1000
	spec := func(name string, list ...router.CandidateSpec) router.RouteSpec {
		return router.RouteSpec{Name: name, Strategy: "least_connections", Candidates: list}
	}
	table, err := router.NewTable(pools, []router.RouteSpec{spec("main", c, cand["b"]), spec("small", cand["c"]), spec("tiny", cand["d"])})
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// state makes loads of a text such as "a:open b:full".
func state(t testing.TB, text string, now int64) []router.Load {
	t.Helper()
	loads := make([]router.Load, 4)
	for word := range strings.FieldsSeq(text) {
		pool, what, _ := strings.Cut(word, ":")
		l := &loads[strings.Index("abcd", pool)]
		switch what {
		case "open":
			l.Circuit, l.OpenUntil = router.Open, now+int64(20*time.Second)
		case "limited":
			l.LimitedUntil = now + int64(10*time.Second)
		case "full":
			l.Depth = 9
		case "down":
			l.Down = true
		default:
			t.Fatal(word)
		}
	}
	return loads
}

const submitted = int64(1_000_000) * int64(time.Second)

// TestChain: which step decides, when nothing does, and what is waited for.
func TestChain(t *testing.T) {
	small, tiny := Step{Route: "small"}, Step{Route: "tiny"}
	wait := func(d time.Duration) Step { return Step{Wait: d} }
	short := Step{MaxTokens: 50}
	for _, c := range []struct {
		name     string
		chain    []Step
		state    string
		waited   time.Duration
		progress wire.Progress
		body     int   // bytes
		max      int64 // tokens
		want     string
	}{
		{name: "no chain", want: "a step 0 left 0"},
		{name: "no chain, all down", state: "a:down b:down", want: "none full"},
		{name: "well", chain: []Step{small, tiny}, want: "a step 0 left 2 next"},
		{name: "one candidate left", chain: []Step{small}, state: "a:open", want: "b step 0 left 1 next"},
		{name: "unavailable", chain: []Step{small, tiny}, state: "a:open b:down", want: "c step 1 left 1 next"},
		{name: "limited is unavailable", chain: []Step{small, tiny}, state: "a:limited b:limited", want: "c step 1 left 1 next"},
		{name: "the step too", chain: []Step{small, tiny}, state: "a:open b:down c:open", want: "d step 2 left 0"},
		{name: "everything", chain: []Step{small, tiny}, state: "a:open b:down c:limited d:open", want: "none full until 10s"},
		{name: "full is waited for", chain: []Step{small}, state: "a:full b:full", want: "none full crowded"},
		{name: "full in part", chain: []Step{small}, state: "a:full b:open", want: "none full crowded until 20s"},
		{name: "a full step too", chain: []Step{small, tiny}, state: "a:open b:open c:full", want: "none full crowded until 20s"},
		{name: "wait first", chain: []Step{wait(30 * time.Second), small}, state: "a:open b:open", waited: 5 * time.Second, want: "none full until 20s"},
		{name: "wait ends before they open", chain: []Step{wait(30 * time.Second), small}, state: "a:open b:open", waited: 25 * time.Second, want: "none full until 5s"},
		{name: "waited", chain: []Step{wait(30 * time.Second), small}, state: "a:open b:open", waited: 30 * time.Second, want: "c step 2 left 0"},
		{name: "wait for room", chain: []Step{wait(30 * time.Second), small}, state: "a:full b:full", waited: 29 * time.Second, want: "none full crowded until 1s"},
		{name: "waited for room", chain: []Step{wait(30 * time.Second), small}, state: "a:full b:full", waited: 31 * time.Second, want: "c step 2 left 0"},
		{name: "second wait", chain: []Step{wait(time.Second), small, wait(time.Minute), tiny}, state: "a:open b:open c:down", waited: 45 * time.Second, want: "none full until 15s"},
		{name: "left behind a wait", chain: []Step{small, wait(time.Minute), tiny}, state: "a:open b:open", waited: time.Second, want: "c step 1 left 1"},
		{name: "shorter output fits", chain: []Step{short, small}, body: 7000, max: 1500, want: "a step 1 max 50 left 1 next"},
		{name: "shorter output does not help", chain: []Step{short, {Route: "small", MaxTokens: 60}}, body: 7000, max: 1500, state: "a:open b:open", want: "c step 2 max 60 left 0"},
		{name: "too long for all", chain: []Step{short, small}, body: 80_000, max: 1500, want: "none"},
		{name: "one failed", chain: []Step{small}, progress: wire.Progress{Attempts: 1, Tried: []string{"a"}}, want: "b step 0 left 1 next"},
		{name: "used up", chain: []Step{small, tiny}, progress: wire.Progress{Attempts: 2, Tried: []string{"a", "b"}}, want: "c step 1 left 1 next"},
		{name: "used up, and the step is open", chain: []Step{small}, state: "c:open", progress: wire.Progress{Attempts: 2, Tried: []string{"a", "b"}}, want: "a step 0 left 1 next"},
		{name: "used up, wait first", chain: []Step{wait(time.Minute), small}, progress: wire.Progress{Attempts: 2, Tried: []string{"a", "b"}}, want: "a step 0 left 1"},
		{name: "used up, shorter at the same pool", chain: []Step{short}, progress: wire.Progress{Attempts: 2, Tried: []string{"a", "b"}}, want: "a step 1 max 50 left 0"},
		{name: "used up without a chain", progress: wire.Progress{Attempts: 2, Tried: []string{"a", "b"}}, want: "a step 0 left 0"},
		{name: "failed at a step", chain: []Step{small, tiny}, progress: wire.Progress{Attempts: 3, Tried: []string{"a", "b", "c"}, Steps: 1}, want: "d step 2 left 0"},
		{name: "failed at the last step", chain: []Step{small, tiny}, progress: wire.Progress{Attempts: 4, Tried: []string{"a", "b", "c", "d"}, Steps: 2}, want: "d step 2 left 0"},
		{name: "sent behind its attempts", chain: []Step{small, tiny}, progress: wire.Progress{Attempts: 3, Steps: 1}, want: "c step 1 left 1 next"},
		{name: "sent behind them, wait first", chain: []Step{wait(time.Minute), small}, progress: wire.Progress{Attempts: 3, Steps: 1}, waited: time.Second, want: "none full until 59s"},
		{name: "sent behind them, waited", chain: []Step{wait(time.Minute), small}, progress: wire.Progress{Attempts: 3, Steps: 1}, waited: 61 * time.Second, want: "c step 2 left 0"},
		{name: "more steps than there are", chain: []Step{small}, progress: wire.Progress{Steps: 9}, want: "c step 1 left 0"},
		{name: "a step that is gone", chain: []Step{{Route: "gone"}, tiny}, state: "a:open b:open", want: "d step 2 left 0"},
	} {
		now := submitted + int64(c.waited)
		meta := &wire.Meta{Class: wire.Standard, Route: "main", SubmittedAt: submitted, MaxTokens: c.max, BodyBytes: c.body}
		before := *meta
		in := router.Input{Meta: meta, Progress: &c.progress, Now: now}
		p := New(Config{Fallbacks: map[string][]Step{"main": c.chain}})
		tab, loads := table(t), state(t, c.state, now)
		var ch Choice
		for round := range 2 { // I1, and buffers are used again
			p.Decide(tab, loads, &Course{Route: "main", Base: "main"}, in, func(string) uint64 { return 7 }, &ch)
			if got := describe(&ch, now); got != c.want {
				t.Errorf("%s, round %d: %s, want %s", c.name, round, got, c.want)
			}
			d := ch.Decision(loads)
			if d.Fallback != ch.Step || ch.Candidate() != nil && d.Pool == "" {
				t.Errorf("%s: decision %+v", c.name, d)
			}
		}
		if !reflect.DeepEqual(*meta, before) {
			t.Errorf("%s: the job was changed", c.name)
		}
	}
}

func describe(ch *Choice, now int64) string {
	text := "none"
	if c := ch.Candidate(); c != nil {
		text = fmt.Sprintf("%s step %d", c.PoolName, ch.Step)
		if ch.MaxTokens > 0 {
			text += fmt.Sprintf(" max %d", ch.MaxTokens)
		}
		text += fmt.Sprintf(" left %d", ch.Left)
		if ch.Next {
			text += " next"
		}
		return text
	}
	if ch.Full {
		text += " full"
	}
	if ch.Crowded {
		text += " crowded"
	}
	if ch.Until != 0 {
		text += " until " + time.Duration(ch.Until-now).String()
	}
	return text
}

// TestChainSafety: on random chains and loads, whatever is chosen is eligible,
// respects what is required, and a job that may wait is not refused.
func TestChainSafety(t *testing.T) {
	seed := rand.Uint64()
	rnd := rand.New(rand.NewPCG(seed, 1))
	tab := table(t)
	words := []string{"", ":open", ":limited", ":full", ":down"}
	steps := []Step{{Route: "small"}, {Route: "tiny"}, {MaxTokens: 10}, {Wait: time.Minute}, {Route: "small", MaxTokens: 5}, {Route: "gone"}}
	var ch Choice
	for i := range 20_000 {
		now := submitted + rnd.Int64N(int64(2*time.Minute))
		text := ""
		for _, p := range []string{"a", "b", "c", "d"} {
			if w := words[rnd.IntN(len(words))]; w != "" {
				text += p + w + " "
			}
		}
		var chain []Step
		for range rnd.IntN(5) {
			chain = append(chain, steps[rnd.IntN(len(steps))])
		}
		progress := wire.Progress{Steps: rnd.IntN(4)}
		for _, p := range []string{"a", "b", "c", "d"} {
			if rnd.IntN(3) == 0 {
				progress.Tried = append(progress.Tried, p)
			}
		}
		loads := state(t, text, now)
		in := router.Input{Meta: &wire.Meta{Class: wire.Standard, SubmittedAt: submitted}, Progress: &progress, Now: now, Random: rnd.Uint64()}
		New(Config{Fallbacks: map[string][]Step{"main": chain}}).Decide(tab, loads, &Course{Route: "main", Base: "main"}, in, func(string) uint64 { return uint64(i) }, &ch)
		c := ch.Candidate()
		if c == nil {
			if !ch.Full && text != "" && !ch.Crowded {
				// Only where every try had a reason that never passes: none here has.
				t.Fatalf("seed %d, round %d: %q with %+v of %+v is refused", seed, i, text, progress, chain)
			}
			continue
		}
		if strings.Contains(text, c.PoolName+":") {
			t.Fatalf("seed %d, round %d: %s was chosen with %q", seed, i, c.PoolName, text)
		}
		if ch.Step > 0 && (chain[ch.Step-1].Wait > 0 || ch.Step < min(progress.Steps, len(chain))) {
			t.Fatalf("seed %d, round %d: step %d of %+v, progress %+v", seed, i, ch.Step, chain, progress)
		}
		for _, s := range chain[min(max(progress.Steps-1, 0), ch.Step):ch.Step] {
			if s.Wait > 0 && now < submitted+int64(s.Wait) && ch.Step > progress.Steps {
				t.Fatalf("seed %d, round %d: step %d before its wait", seed, i, ch.Step)
			}
		}
	}
}
