package wire

import (
	"encoding/json"
	"math/rand"
	"reflect"
	"testing"
	"testing/quick"
	"time"
)

// randomEntry has every field of this package set at some time.
func randomEntry(t *testing.T, rnd *rand.Rand) Entry {
	t.Helper()
	v, ok := quick.Value(reflect.TypeFor[Entry](), rnd)
	if !ok {
		t.Fatal("no random entry")
	}
	e := v.Interface().(Entry)
	if e.Attempt != nil {
		e.Attempt.Folded = "" // stands for Decision, not beside it
		// So deep, quick makes few; of its own it is drawn whole.
		if rnd.Intn(20) == 0 {
			d, ok := quick.Value(reflect.TypeFor[Decision](), rnd)
			if !ok {
				t.Fatal("no random decision")
			}
			v := d.Interface().(Decision)
			e.Attempt.Decision = &v
		}
	}
	return e
}

// TestDecodeLikeJSON: on random entries the fast ways of reading and writing
// give what encoding/json gives.
func TestDecodeLikeJSON(t *testing.T) {
	seed := time.Now().UnixNano()
	rnd := rand.New(rand.NewSource(seed))
	for i := range 3000 {
		e := randomEntry(t, rnd)
		want, err := json.Marshal(&e)
		if err != nil {
			t.Fatal(err)
		}
		if got := appendEntry(nil, &e); string(got) != string(want) {
			t.Fatalf("seed %d, entry %d written:\n got %s\nwant %s", seed, i, got, want)
		}
		var slow, fast Entry
		if err := json.Unmarshal(want, &slow); err != nil {
			t.Fatal(err)
		}
		if err := decodeEntry(string(want), &fast); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(fast, slow) {
			t.Fatalf("seed %d, entry %d read:\n got %+v\nwant %+v\nfrom %s", seed, i, fast, slow, want)
		}
	}
}

// TestDecodeFast: an ordinary record takes the fast way, so it must know every
// field that this package writes.
func TestDecodeFast(t *testing.T) {
	rnd := rand.New(rand.NewSource(1))
	for range 500 {
		e := randomEntry(t, rnd)
		unlisted := func(d *Decision) bool { return d != nil && d.Candidates == nil }
		if unlisted(e.Decision) || e.Attempt != nil && unlisted(e.Attempt.Decision) {
			continue // written as null: rare, and left to encoding/json
		}
		s := scanner{text: string(appendEntry(nil, &e))}
		var got Entry
		if s.entry(&got) != nil || s.end() != nil {
			t.Fatalf("read slowly from byte %d: %s", s.at, s.text)
		}
	}
}

// TestAssignmentLikeJSON is TestDecodeLikeJSON for assignments.
func TestAssignmentLikeJSON(t *testing.T) {
	rnd := rand.New(rand.NewSource(2))
	for range 1000 {
		e := randomEntry(t, rnd)
		a := Assignment{Meta: e.Meta, Progress: e.Progress, Attempt: e.Attempt}
		want, err := json.Marshal(&a)
		if err != nil {
			t.Fatal(err)
		}
		if got := appendAssignment(nil, &a); string(got) != string(want) {
			t.Fatalf("written:\n got %s\nwant %s", got, want)
		}
		var slow, fast Assignment
		if err := json.Unmarshal(want, &slow); err != nil {
			t.Fatal(err)
		}
		if err := decodeAssignment(string(want), &fast); err != nil || !reflect.DeepEqual(fast, slow) {
			t.Fatalf("read:\n got %+v, %v\nwant %+v", fast, err, slow)
		}
	}
}

// TestDecodeWork: what a worker reads and writes again is what was there, and
// the decision is what it was once it is unfolded.
func TestDecodeWork(t *testing.T) {
	rnd := rand.New(rand.NewSource(3))
	folded := 0
	for range 1000 {
		e := randomEntry(t, rnd)
		h := EncodeAssignment(&Assignment{Meta: e.Meta, Progress: e.Progress, Attempt: e.Attempt})
		want, err := DecodeAssignment(h)
		if err != nil {
			t.Fatal(err)
		}
		got, err := DecodeWork(h)
		if err != nil {
			t.Fatal(err)
		}
		if again := EncodeAssignment(&got)[HeaderAssignment][0]; again != h[HeaderAssignment][0] {
			t.Fatalf("written again:\n got %s\nwant %s", again, h[HeaderAssignment][0])
		}
		if a := got.Attempt; a != nil {
			if a.Folded != "" {
				folded++
			}
			if err := a.Unfold(); err != nil {
				t.Fatal(err)
			}
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("read:\n got %+v\nwant %+v", got, want)
		}
	}
	if folded == 0 {
		t.Error("no decision was left folded")
	}
	for _, bad := range []string{`{"a":{"d":{"c":[`, `{"a":{"d":{"r":"x}}`, `{"a":{"d":[}]}}`, `{"a":{"d":{}`} {
		if _, err := DecodeWork(map[string][]string{HeaderAssignment: {bad}}); err == nil {
			t.Errorf("%s was read", bad)
		}
	}
	a, err := DecodeWork(map[string][]string{HeaderAssignment: {`{"a":{"d":{"c":7}}}`}})
	if err != nil || a.Attempt.Unfold() == nil {
		t.Errorf("a decision that is none was unfolded (%v)", err)
	}
}

func FuzzDecodeEntry(f *testing.F) {
	for _, s := range []string{
		`{}`, `null`, `{"j":{"id":"a\"\u00e9"}}`, `{"a":{"c":-0}}`, `{"a":{"d":{"c":null}}}`,
		` {"j" : {} }`, `{"J":{"ID":"x"}}`, `{"e":"x"}}`, `{"p":{"n":1,"n":2}}`, `{"p":{"n":01}}`, `{"p":{"n":1.0}}`, `{"a":{"d":{"c":[{"s":+1}]}}}`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var want, got Entry
		err := json.Unmarshal([]byte(text), &want)
		err2 := decodeEntry(text, &got)
		if err == nil && (err2 != nil || !reflect.DeepEqual(got, want)) {
			t.Errorf("%q: got %+v, %v; want %+v", text, got, err2, want)
		}
	})
}

func benchEntry() Entry {
	cost := NanoUSD(16000)
	return Entry{Meta: Meta{ID: "01a20541-d523-7e90-8e19-60755be9140a", Tenant: "bench", Class: Standard, Seq: 123456, SubmittedAt: 1790000000000000000,
		Endpoint: ChatCompletions, Route: "chat", MaxTokens: 16, BodyBytes: 1024, BodyHash: 1234567890123456789},
		Attempt: &Attempt{N: 1, Pool: "fast", Provider: "simulated", Model: "m", Strategy: "least_connections",
			Price: &Price{Version: "config", Input: 1000000, Output: 2000000}, Status: Succeeded, HTTP: 200, Usage: Usage{Input: 10, Output: 16},
			Source: UsageFromProvider, Cost: &cost, Decision: &Decision{Route: "chat", Strategy: "least_connections", Pool: "fast", Model: "m",
				Candidates: []Candidate{{Pool: "fast", Model: "m", Weight: 1, Depth: 12, Score: 12.5}}}}}
}

func BenchmarkDecodeEntry(b *testing.B) {
	e := benchEntry()
	text := string(appendEntry(nil, &e))
	for b.Loop() {
		var got Entry
		if err := decodeEntry(text, &got); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendEntry(b *testing.B) {
	e := benchEntry()
	var buf []byte
	for b.Loop() {
		buf = appendEntry(buf[:0], &e)
	}
}
