package sse

import (
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// oracle reads a whole stream the way the standard puts it: split into lines,
// collect fields, dispatch at blank lines.
func oracle(in string) string {
	in = strings.TrimPrefix(in, "\xef\xbb\xbf")
	in = strings.ReplaceAll(strings.ReplaceAll(in, "\r\n", "\n"), "\r", "\n")
	lines := strings.Split(in, "\n")
	var out strings.Builder
	var name string
	var data []string
	dispatch := func(partial bool) {
		if joined := strings.Join(data, "\n"); joined != "" {
			fmt.Fprintf(&out, "%s|%s", name, joined)
			if partial {
				out.WriteString("|partial")
			}
			out.WriteString("\n")
		}
		name, data = "", nil
	}
	for i, line := range lines {
		if line == "" && i < len(lines)-1 {
			dispatch(false)
			continue
		}
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "data":
			data = append(data, value)
		case "event":
			name = value
		}
	}
	dispatch(true)
	return out.String()
}

// TestAgainstOracle compares random streams, cut at random.
func TestAgainstOracle(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	r := rand.New(rand.NewPCG(seed, 3))
	pieces := []string{"data: x\n", "data:y\r\n", "data\r", "event: e\n", "\n", "\n\n", "\r\n\r\n", "\r", ": c\n", "id: 1\n",
		"data: a:b\n", "data:  two\n", "junk\n", "da", "ta: z", ":", " ", "data: é漢\n", "\xef\xbb\xbf"}
	for range 5000 {
		var b strings.Builder
		for range r.IntN(20) {
			b.WriteString(pieces[r.IntN(len(pieces))])
		}
		in := b.String()
		got, err := all(&ragged{r: strings.NewReader(in), n: 1 + r.IntN(9)}, 0)
		if want := oracle(in); got != want || err != io.EOF {
			t.Fatalf("seed %d: %q\ngot  %q, %v\nwant %q", seed, in, got, err, want)
		}
	}
}

// ragged reads at most n bytes at once.
type ragged struct {
	r io.Reader
	n int
}

func (r *ragged) Read(p []byte) (int, error) { return r.r.Read(p[:min(len(p), r.n)]) }

// TestCutIsPartialOrGone cuts a stream everywhere: what comes out before the
// cut is whole, and at most one partial event follows.
func TestCutIsPartialOrGone(t *testing.T) {
	in := "event: a\ndata: one\n\n: c\n\ndata: two\ndata: lines\r\n\r\ndata: three\n\n"
	whole, _ := all(strings.NewReader(in), 0)
	for n := range len(in) {
		got, err := all(iotest.OneByteReader(strings.NewReader(in[:n])), 0)
		if err != io.EOF {
			t.Fatalf("cut at %d: %v", n, err)
		}
		kept, partial, _ := strings.Cut(got, "|partial\n")
		if partial != "" {
			t.Errorf("cut at %d: something follows the partial event: %q", n, got)
		}
		if !strings.Contains(got, "|partial") && !strings.HasPrefix(whole, kept) {
			t.Errorf("cut at %d: %q is no beginning of %q", n, kept, whole)
		}
	}
}

func ExampleReader_Next() {
	stream := ": keep-alive\n\nevent: greeting\ndata: {\"hello\":\ndata: \"world\"}\n\ndata: [DONE]\n\n"
	r := NewReader(strings.NewReader(stream), 0)
	for {
		ev, err := r.Next()
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%q %q\n", ev.Name, ev.Data)
	}
	// Output:
	// "greeting" "{\"hello\":\n\"world\"}"
	// "" "[DONE]"
	// EOF
}
