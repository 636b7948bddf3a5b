package jsonscan

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"
)

// value draws a JSON value with white space in odd places.
func value(r *rand.Rand, depth int) string {
	pad := func() string { return []string{"", "", " ", "\n", "\t ", "\r\n"}[r.IntN(6)] }
	texts := []string{"", "a", `\"`, `\\`, `\\\"`, "{}", "[,]", `\u0041`, "é", `\ud83d\ude00`, "long text with: , and } in it"}
	quoted := func() string { return `"` + texts[r.IntN(len(texts))] + `"` }
	switch k := r.IntN(8); {
	case k == 0 && depth > 0:
		var parts []string
		for range r.IntN(4) {
			parts = append(parts, pad()+quoted()+pad()+":"+pad()+value(r, depth-1)+pad())
		}
		return "{" + strings.Join(parts, ",") + pad() + "}"
	case k == 1 && depth > 0:
		var parts []string
		for range r.IntN(4) {
			parts = append(parts, pad()+value(r, depth-1)+pad())
		}
		return "[" + strings.Join(parts, ",") + pad() + "]"
	case k == 2:
		return []string{"true", "false", "null"}[r.IntN(3)]
	case k == 3:
		return []string{"0", "-1", "12.5e-3", "1E9", "123456789012345678901234567890"}[r.IntN(5)]
	}
	return quoted()
}

// TestI2Random walks random values all the way down and rebuilds them.
func TestI2Random(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	r := rand.New(rand.NewPCG(seed, 4))
	for range 3000 {
		in := value(r, 5)
		var want any
		d := json.NewDecoder(strings.NewReader(in))
		d.UseNumber()
		if err := d.Decode(&want); err != nil {
			t.Fatalf("seed %d: %v in %s", seed, err, in)
		}
		if got := rebuild(t, []byte(in)); !reflect.DeepEqual(got, want) {
			t.Fatalf("seed %d: %s\ngot  %v\nwant %v", seed, in, got, want)
		}
	}
}

func rebuild(t *testing.T, raw []byte) any {
	switch Kind(raw) {
	case '{':
		out := map[string]any{}
		o := NewObject(raw)
		for m, ok := o.Next(); ok; m, ok = o.Next() {
			out[string(m.Key)] = rebuild(t, m.Value)
		}
		if !o.OK() {
			t.Fatalf("%s is no object", raw)
		}
		return out
	case '[':
		out := []any{}
		a := NewArray(raw)
		for v, ok := a.Next(); ok; v, ok = a.Next() {
			out = append(out, rebuild(t, v))
		}
		if !a.OK() {
			t.Fatalf("%s is no array", raw)
		}
		return out
	case '"':
		return String(raw)
	case '0':
		return json.Number(raw)
	case 't', 'f':
		return raw[0] == 't'
	}
	return nil
}

// TestI1CutAnywhere cuts random values after every byte: the walk ends, and no
// cut object passes as a whole one.
func TestI1CutAnywhere(t *testing.T) {
	for _, s := range objects {
		s = strings.TrimSpace(s)
		for n := range len(s) {
			o := NewObject([]byte(s[:n]))
			for _, ok := o.Next(); ok; _, ok = o.Next() {
			}
			if o.OK() {
				t.Errorf("%q passes as a whole object", s[:n])
			}
		}
	}
}

func ExampleObject() {
	o := NewObject([]byte(`{"model": "chat", "messages": [{"role":"user"}], "n": 1}`))
	for m, ok := o.Next(); ok; m, ok = o.Next() {
		fmt.Printf("%s = %s\n", m.Key, m.Value)
	}
	fmt.Println("whole:", o.OK())
	// Output:
	// model = "chat"
	// messages = [{"role":"user"}]
	// n = 1
	// whole: true
}
