package jsonscan

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

// decode is the oracle: the walk's answer as encoding/json would give it.
func decode(t testing.TB, raw []byte) (map[string]json.RawMessage, bool) {
	t.Helper()
	got := map[string]json.RawMessage{}
	o := NewObject(raw)
	for m, ok := o.Next(); ok; m, ok = o.Next() {
		got[string(m.Key)] = json.RawMessage(m.Value)
	}
	return got, o.OK()
}

var objects = []string{
	`{}`, ` { } `, `{"a":1}`, `{"a":"b","c":[1,2,{"d":"}"}],"e":{"f":"\""}}`,
	"{\n \"a\" : null ,\t\"b\":true}\r\n", `{"a\u0062":"x","ab":"last"}`, `{"a":"\\\\","b":"\\\""}`,
	`{"s":-1.5e+7,"t":false,"":0}`, `{"a":1,"a":2}`, `{"é":"漢字 \ud83d\ude00"}`,
	`{"deep":[[[[{"x":[]}]]]],"after":"y"}`,
}

// TestI2SameMembers compares the walk with encoding/json.
func TestI2SameMembers(t *testing.T) {
	for _, s := range objects {
		var want map[string]json.RawMessage
		if err := json.Unmarshal([]byte(s), &want); err != nil {
			t.Fatal(s, err)
		}
		got, ok := decode(t, []byte(s))
		if !ok || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %q ok %v, want %q", s, got, ok, want)
		}
	}
}

func TestBroken(t *testing.T) {
	for _, s := range []string{
		``, ` `, `null`, `[]`, `"x"`, `{`, `{"a"`, `{"a":`, `{"a":1`, `{"a":1,`, `{"a" 1}`, `{a:1}`,
		`{"a":1 "b":2}`, `{"a":"x}`, `{"a":[1}`, `{"a":1}x`, `{"\x":1}`, `{"a":,}`, `{,}`, `{"a":"\`,
	} {
		o := NewObject([]byte(s))
		for i := 0; ; i++ {
			if _, ok := o.Next(); !ok {
				break
			}
			if i > len(s) {
				t.Fatalf("%s: the walk does not end", s)
			}
		}
		if o.OK() {
			t.Errorf("%s: passed as a whole object", s)
		}
		if _, ok := o.Next(); ok {
			t.Errorf("%s: goes on after the end", s)
		}
	}
}

func TestSpan(t *testing.T) {
	o := NewObject([]byte(`{ "a" :  [1, 2] , "b":"c"}`))
	m, _ := o.Next()
	if string(m.Span) != `"a" :  [1, 2]` || string(m.Value) != `[1, 2]` {
		t.Errorf("span %q value %q", m.Span, m.Value)
	}
	if cap(m.Value) != len(m.Value) || cap(m.Span) != len(m.Span) {
		t.Error("an append to a range would write into the input")
	}
}

func TestArray(t *testing.T) {
	for in, want := range map[string]string{
		`[]`: ``, `[1]`: `1`, ` [ "a,b" , {"c":[1,2]} ,[ ] ]`: `"a,b"|{"c":[1,2]}|[ ]`,
	} {
		var got []string
		a := NewArray([]byte(in))
		for v, ok := a.Next(); ok; v, ok = a.Next() {
			got = append(got, string(v))
		}
		if !a.OK() || strings.Join(got, "|") != want {
			t.Errorf("%s: got %q ok %v", in, got, a.OK())
		}
	}
	for _, in := range []string{``, `{}`, `[`, `[1`, `[1 2]`, `[1,`, `[,]`, `["a]`} {
		a := NewArray([]byte(in))
		for _, ok := a.Next(); ok; _, ok = a.Next() {
		}
		if a.OK() {
			t.Errorf("%s: passed as a whole array", in)
		}
	}
}

func TestValues(t *testing.T) {
	if got := Get([]byte(`{"a":1,"b":{"a":2},"a":3}`), "a"); string(got) != "3" {
		t.Errorf("Get: %s", got)
	}
	if got := Get([]byte(`{"a":1}`), "z"); got != nil || !Null(got) || !Null([]byte("null")) || Null([]byte("0")) {
		t.Errorf("absent and null: %s", got)
	}
	for in, want := range map[string]int64{`7`: 7, `-7`: 0, `7.9`: 7, `1e3`: 1000, `"7"`: 0, ``: 0, `null`: 0, `1e300`: 1 << 53, `1e999`: 1 << 53, `-`: 0} {
		if got := Int([]byte(in)); got != want {
			t.Errorf("Int(%s) = %d, want %d", in, got, want)
		}
	}
	for in, want := range map[string]string{`"a\nb"`: "a\nb", `"x"`: "x", `5`: "", ``: "", `"`: ""} {
		if got := String([]byte(in)); got != want {
			t.Errorf("String(%s) = %q, want %q", in, got, want)
		}
	}
	for in, want := range map[string]int{`abc`: 3, `a\nb`: 3, `\u4e2d`: 3, `\\u`: 2, `é`: 2, `x\`: 2} {
		if got := TextLen([]byte(in)); got != want {
			t.Errorf("TextLen(%s) = %d, want %d", in, got, want)
		}
	}
	for in, want := range map[string]byte{`{`: '{', `-1`: '0', `9`: '0', `"`: '"', `null`: 'n', ``: 0} {
		if got := Kind([]byte(in)); got != want {
			t.Errorf("Kind(%s) = %c, want %c", in, got, want)
		}
	}
	if Inner([]byte(`x`)) != nil || string(Inner([]byte(`"x\n"`))) != `x\n` {
		t.Error("Inner")
	}
}

// FuzzI1NoPanic walks anything; on valid objects it also checks I2.
func FuzzI1NoPanic(f *testing.F) {
	for _, s := range objects {
		f.Add([]byte(s))
	}
	f.Add([]byte(`{"a":"\`))
	f.Add([]byte(`[1,"x",{"a":[]}]`))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, ok := decode(t, b)
		a := NewArray(b)
		for v, ok := a.Next(); ok; v, ok = a.Next() {
			Int(v)
			TextLen(Inner(v))
		}
		var want map[string]json.RawMessage
		if !utf8.Valid(b) || json.Unmarshal(b, &want) != nil || want == nil {
			return
		}
		if !ok || len(got) != len(want) {
			t.Fatalf("%q: got %q, want %q", b, got, want)
		}
		for k, v := range want {
			if string(got[k]) != string(v) {
				t.Fatalf("%q: %s is %q, want %q", b, k, got[k], v)
			}
		}
	})
}

func BenchmarkObject1KiB(b *testing.B) {
	raw := []byte(`{"model":"chat","max_tokens":64,"messages":[{"role":"user","content":"` + strings.Repeat("lorem ipsum ", 80) + `"}]}`)
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		o := NewObject(raw)
		for _, ok := o.Next(); ok; _, ok = o.Next() {
		}
	}
}
