package ingest

import (
	"math/rand"
	"reflect"
	"testing"
	"testing/quick"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
)

// TestDecodeLikeWire: on random records, with every field of package wire set
// at some time, the fast way gives what the slow one gives.
func TestDecodeLikeWire(t *testing.T) {
	seed := time.Now().UnixNano()
	rnd := rand.New(rand.NewSource(seed))
	for i := range 3000 {
		v, ok := quick.Value(reflect.TypeFor[wire.Entry](), rnd)
		if !ok {
			t.Fatal("no random entry")
		}
		rec := wire.Record{Status: wire.Succeeded, Entry: v.Interface().(wire.Entry)}
		h, err := rec.Encode()
		must(t, err)
		want, err := wire.DecodeRecord(h, nil)
		must(t, err)
		got, err := decodeRecord(h)
		must(t, err)
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("seed %d, record %d:\n got %+v\nwant %+v\nfrom %s", seed, i, got, want, h[wire.HeaderEntry])
		}
	}
}

// TestDecodeFast: an ordinary record takes the fast way, so it must know every
// field that package wire writes.
func TestDecodeFast(t *testing.T) {
	rnd := rand.New(rand.NewSource(1))
	for range 500 {
		v, _ := quick.Value(reflect.TypeFor[wire.Entry](), rnd)
		e := v.Interface().(wire.Entry)
		if e.Attempt != nil && e.Attempt.Decision != nil && e.Attempt.Decision.Candidates == nil {
			continue // written as null: rare, and left to encoding/json
		}
		rec := wire.Record{Status: wire.Failed, Entry: e}
		h, err := rec.Encode()
		must(t, err)
		s := scanner{text: first(h, wire.HeaderEntry)}
		var got wire.Entry
		if s.entry(&got) != nil || s.end() != nil {
			t.Fatalf("read slowly from byte %d: %s", s.at, s.text)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, s := range []string{
		first(benchRecord(f).header, wire.HeaderEntry), `{}`, `null`, `{"j":{"id":"a\"\u00e9"}}`, `{"a":{"c":-0}}`, `{"a":{"d":{"c":null}}}`,
		` {"j" : {} }`, `{"J":{"ID":"x"}}`, `{"e":"x"}}`, `{"p":{"n":1,"n":2}}`, `{"p":{"n":01}}`, `{"p":{"n":1.0}}`, `{"a":{"d":{"c":[{"s":+1}]}}}`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, entry string) {
		h := map[string][]string{wire.HeaderStatus: {"failed"}, wire.HeaderEntry: {entry}}
		want, err := wire.DecodeRecord(h, nil)
		got, err2 := decodeRecord(h)
		if err == nil && (err2 != nil || !reflect.DeepEqual(got, want)) {
			t.Errorf("%q: got %+v, %v; want %+v", entry, got, err2, want)
		}
	})
}
