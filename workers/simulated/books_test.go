package simulated

import (
	"context"
	"fmt"
	"io"
	"math/big"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
)

// TestI4CostAgrees compares the books' own arithmetic with the contract's, on
// random prices and counts, some of them huge.
func TestI4CostAgrees(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	r := rand.New(rand.NewPCG(seed, 1))
	rate := func() wire.Rate { return wire.Rate(r.Int64N(1 << r.IntN(30))) }
	count := func() int64 { return r.Int64N(1 << r.IntN(34)) }
	for range 2000 {
		price := wire.Price{Input: rate(), CacheRead: rate(), CacheWrite: rate(), Output: rate(), Reasoning: rate()}
		u := wire.Usage{Input: count(), CacheRead: count(), CacheWrite: count(), Output: count(), Reasoning: count()}
		c := call{p: &Provider{cfg: Config{Prices: map[string]wire.Price{"m": price}}}, line: Line{Model: "m",
			Input: u.Input, CacheRead: u.CacheRead, CacheWrite: u.CacheWrite, Output: u.Output, Reasoning: u.Reasoning}}
		got, ok := new(big.Int).SetString(c.cost(), 10)
		if want := int64(price.Cost(u)); !ok || got.Cmp(big.NewInt(want)) != 0 && want != 1<<63-1 {
			t.Fatalf("seed %d: %+v at %+v: books %s, contract %d", seed, u, price, c.cost(), want)
		}
	}
}

func TestPriceByModel(t *testing.T) {
	p, lines := provider(t, Config{MinTokens: 10, MaxTokens: 10, Prices: map[string]wire.Price{
		"dear": {Input: 3_000_000, Output: 15_000_000}, "": {Input: 100, Output: 100}}})
	none, noLines := provider(t, Config{Prices: map[string]wire.Price{"dear": {}}})
	for _, m := range []string{"dear", "cheap"} {
		_, _, _ = ask(t, p, "/chat/completions", m, `{"model":"`+m+`","messages":[{"role":"user","content":"a b"}]}`) // the books tell
	}
	_, _, _ = ask(t, none, "/chat/completions", "k", `{"model":"free","messages":[]}`) // as above
	got := lines()
	if len(got) != 2 || *got[0].Cost != 5*3000+10*15000 || *got[1].Cost != 2 { // 15 × 100 pico = 1.5 nano
		t.Errorf("%+v", got)
	}
	if total := Total(got); total.Int64() != 165002 {
		t.Errorf("total %s", total)
	}
	if l := noLines()[0]; l.Cost != nil {
		t.Errorf("a model without a price cost %d", *l.Cost)
	}
}

// TestI2BookedBeforeTheEnd reads a stream byte by byte: the line is there before
// the last byte is, and not before the last event begins.
func TestI2BookedBeforeTheEnd(t *testing.T) {
	for _, cfg := range []Config{{}, {ErrorShare: 1, Faults: []Fault{Drop}}, {ErrorShare: 1, Faults: []Fault{Garble}}} {
		p, lines := provider(t, cfg)
		resp, err := p.RoundTrip(request(context.Background(), "/chat/completions", "k", ping+`,"stream":true}`))
		if err != nil {
			t.Fatal(err)
		}
		if n := len(lines()); n != 0 {
			t.Fatalf("%d lines before anything was read", n)
		}
		booked := 0
		one := make([]byte, 1)
		for {
			_, err := resp.Body.Read(one)
			if err != nil {
				break
			}
			booked = len(lines())
		}
		if booked != 1 {
			t.Errorf("%+v: %d lines when the last byte was out", cfg.Faults, booked)
		}
		if err := resp.Body.Close(); err != nil || len(lines()) != 1 {
			t.Errorf("%d lines at the end (I3), %v", len(lines()), err)
		}
	}
}

// TestStreamFaults: what a broken stream hands out and what is booked.
func TestStreamFaults(t *testing.T) {
	for fault, want := range map[Fault]struct {
		outcome string
		err     error
	}{Drop: {"dropped", io.ErrUnexpectedEOF}, Garble: {"garbled", nil}} {
		for _, path := range []string{"/chat/completions", "/completions", "/responses"} {
			p, lines := provider(t, Config{ErrorShare: 1, Faults: []Fault{fault}})
			for i := range 10 {
				_, answer, err := ask(t, p, path, fmt.Sprint("k", i), `{"model":"m","stream":true,"messages":[],"prompt":"x","input":"x"}`)
				if err != want.err || strings.Contains(answer, "[DONE]") || strings.Contains(answer, "response.completed") {
					t.Errorf("%s %s: %v in\n%s", fault, path, err, answer)
				}
				l := lines()[i]
				deltas := int64(strings.Count(answer, `"content":"`)+strings.Count(answer, `"text":"`)+strings.Count(answer, `"delta":"`)) - 1
				if fault == Garble && path != "/chat/completions" {
					deltas-- // its broken event looks like a chat's
				}
				if path == "/completions" {
					deltas++ // has no opening event
				}
				if fault == Garble && path == "/chat/completions" {
					deltas--
				}
				if l.Outcome != want.outcome || l.Output != deltas || !l.Stream {
					t.Errorf("%s %s: %+v, %d deltas", fault, path, l, deltas)
				}
			}
		}
	}
}

func TestCutCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, lines := provider(t, Config{TokensPerSecond: 1, Fill: true, ReasoningShare: 0.1})
		body := ping + `,"max_tokens":10,"stream":true}`
		ctx, cancel := context.WithTimeout(context.Background(), 3500*time.Millisecond)
		defer cancel()
		resp, err := p.RoundTrip(request(ctx, "/chat/completions", "by the context", body))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(resp.Body); err != context.DeadlineExceeded {
			t.Errorf("read: %v", err)
		}
		resp, err = p.RoundTrip(request(context.Background(), "/chat/completions", "by close", body))
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close() // at once
		ctx, cancel2 := context.WithTimeout(context.Background(), time.Second)
		defer cancel2()
		if _, err := p.RoundTrip(request(ctx, "/chat/completions", "before the answer", ping+`,"max_tokens":10}`)); err != context.DeadlineExceeded {
			t.Errorf("whole: %v", err)
		}
		got := lines()
		if len(got) != 3 || p.Stats().Running != 0 {
			t.Fatalf("%+v, %+v", got, p.Stats())
		}
		for i, want := range []int64{4, 0, 2} { // of them one each is reasoning
			if l := got[i]; l.Outcome != "cut" || l.Output+l.Reasoning != want {
				t.Errorf("%+v, want %d tokens out", l, want)
			}
		}
	})
}

func TestBooksSurviveATear(t *testing.T) {
	path := filepath.Join(t.TempDir(), "books")
	if err := os.WriteFile(path, []byte(`{"key":"a","outcome":"ok"}`+"\n"+`{"key":"b","outc`), 0o600); err != nil {
		t.Fatal(err)
	}
	b, err := OpenBooks(path)
	if err != nil {
		t.Fatal(err)
	}
	p, err := New(Config{Books: b})
	if err != nil {
		t.Fatal(err)
	}
	_, _, _ = ask(t, p, "/chat/completions", `c"\`+"é", ping+"}") // the books tell
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	lines, torn, err := ReadBooks(path)
	if err != nil || torn != 1 || len(lines) != 2 || lines[0].Key != "a" || lines[1].Key != `c"\`+"é" {
		t.Errorf("%+v, %d torn, %v", lines, torn, err)
	}
	if _, _, err := ReadBooks(path + "x"); err == nil {
		t.Error("books that are not there were read")
	}
	if _, err := OpenBooks(filepath.Join(path, "x")); err == nil {
		t.Error("books below a file were opened")
	}
}

// TestOneLineEach: many calls at once, one whole line each.
func TestOneLineEach(t *testing.T) {
	p, lines := provider(t, Config{})
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 200 {
				stream := ""
				if i%2 == 0 {
					stream = `,"stream":true`
				}
				_, _, _ = ask(t, p, "/chat/completions", fmt.Sprintf("%d-%d", w, i), ping+stream+"}") // the books tell
			}
		})
	}
	wg.Wait()
	keys := map[string]bool{}
	for _, l := range lines() {
		keys[l.Key] = true
	}
	if len(keys) != 1600 || len(lines()) != 1600 {
		t.Errorf("%d keys in %d lines", len(keys), len(lines()))
	}
}

func TestWriteFailureIsTold(t *testing.T) {
	b, err := OpenBooks(filepath.Join(t.TempDir(), "books"))
	if err != nil {
		t.Fatal(err)
	}
	if err := b.file.Close(); err != nil {
		t.Fatal(err)
	}
	b.append([]byte("x\n"))
	if err := b.Close(); err == nil || !strings.Contains(err.Error(), "write to the simulated provider's books") {
		t.Errorf("close: %v", err)
	}
}
