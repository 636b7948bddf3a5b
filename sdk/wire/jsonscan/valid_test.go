package jsonscan

import (
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

var odd = []string{
	``, ` `, `1`, `-`, `-1`, `01`, `1.`, `.5`, `1.5`, `1e`, `1e5`, `1E+5`, `1e-`, `1e5.5`, `--1`, `+1`, `0`, `-0`, `00`, `0.0e0`, `Infinity`, `NaN`,
	`"`, `""`, `"\"`, `"\\"`, `"\x"`, `"\u12"`, `"\u12G4"`, `"\u12aF"`, "\"\n\"", "\"\x7f\"", "\"\xff\"", `"a" "b"`,
	`true`, `tru`, `truex`, `True`, `null`, `nul`, `false`, `fals`,
	`[]`, `[`, `]`, `[1]`, `[1,]`, `[,1]`, `[1 2]`, `[[]]`, `[[]`, `[]]`, ` [ 1 , 2 ] `,
	`{}`, `{`, `}`, `{"a"}`, `{"a":}`, `{"a":1}`, `{"a":1,}`, `{,}`, `{a:1}`, `{"a":1 "b":2}`, `{"a":{"b":[{}]}}`, `{"a":1}}`, `{1:2}`, `{ "a" : 1 }`,
	"\xef\xbb\xbf{}", "{}\x00", "\u00a0{}", `[1]//`, `'a'`,
}

// TestValidAgrees compares with json.Valid: odd values, random ones, random
// ones with one byte changed, and depth.
func TestValidAgrees(t *testing.T) {
	check := func(s string) {
		t.Helper()
		if got, want := Valid([]byte(s)), json.Valid([]byte(s)); got != want {
			t.Errorf("%.200q: %v, json.Valid says %v", s, got, want)
		}
	}
	for _, s := range append(odd, objects...) {
		check(s)
	}
	for _, n := range []int{1, 9999, 10000, 10001, 20000} {
		check(strings.Repeat("[", n) + strings.Repeat("]", n))
		check(strings.Repeat(`{"a":`, n) + "1" + strings.Repeat("}", n))
	}
	r := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 5))
	for range 3000 {
		s := value(r, 4)
		check(s)
		b := []byte(s)
		b[r.IntN(len(b))] = `{}[]",:\0 e.-u`[r.IntN(14)]
		check(string(b))
		check(s[:r.IntN(len(s))])
	}
}

func FuzzValid(f *testing.F) {
	for _, s := range odd {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if Valid(b) != json.Valid(b) {
			t.Fatalf("%q: %v, json.Valid says %v", b, Valid(b), json.Valid(b))
		}
	})
}

func BenchmarkValid1KiB(b *testing.B) {
	raw := []byte(`{"model":"chat","max_tokens":64,"messages":[{"role":"user","content":"` + strings.Repeat("lorem ipsum ", 80) + `"}]}`)
	for name, valid := range map[string]func([]byte) bool{"ours": Valid, "encoding": json.Valid} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(raw)))
			for b.Loop() {
				valid(raw)
			}
		})
	}
}
