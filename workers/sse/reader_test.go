package sse

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// all reads every event of a stream as one line each, and the last error.
func all(src io.Reader, limit int) (string, error) {
	r := NewReader(src, limit)
	var b strings.Builder
	for {
		ev, err := r.Next()
		if err != nil {
			return b.String(), err
		}
		fmt.Fprintf(&b, "%s|%s", ev.Name, ev.Data)
		if ev.Partial {
			b.WriteString("|partial")
		}
		b.WriteString("\n")
	}
}

var streams = []struct{ name, in, want string }{
	{"plain", "data: a\n\ndata: b\n\n", "|a\n|b\n"},
	{"crlf", "data: a\r\n\r\ndata: b\r\n\r\n", "|a\n|b\n"},
	{"cr", "data: a\r\rdata: b\r\r", "|a\n|b\n"},
	{"mixed endings", "data: a\r\n\ndata: b\n\r\n", "|a\n|b\n"},
	{"comments", ": ping\n\n:\n\ndata: a\n: inside\n\n", "|a\n"},
	{"several lines", "data: a\ndata: b\ndata\n\n", "|a\nb\n\n"},
	{"name", "event: message_start\ndata: {}\n\ndata: 2\n\n", "message_start|{}\n|2\n"},
	{"no space", "data:a\n\ndata:  b\n\n", "|a\n| b\n"},
	{"other fields", "id: 7\nretry: 10\nfoo\ndata: a\n\n", "|a\n"},
	{"empty data is no event", "data:\n\ndata: \n\nevent: x\n\ndata: a\n\n", "|a\n"},
	{"byte order mark", "\xef\xbb\xbfdata: a\n\n", "|a\n"},
	{"mark only at the start", "\n\xef\xbb\xbfdata: a\n\ndata: b\n\n", "|b\n"},
	{"many blank lines", "\n\n\ndata: a\n\n\n\n", "|a\n"},
	{"no blank line at the end", "data: a\n\ndata: [DONE]\n", "|a\n|[DONE]|partial\n"},
	{"no line ending at the end", "data: a\n\ndata: [DO", "|a\n|[DO|partial\n"},
	{"ends in a name", "data: a\n\neve", "|a\n"},
	{"nothing", "", ""},
}

func TestNext(t *testing.T) {
	for _, c := range streams {
		got, err := all(strings.NewReader(c.in), 0)
		if got != c.want || err != io.EOF {
			t.Errorf("%s: got %q, %v; want %q", c.name, got, err, c.want)
		}
	}
}

// TestI3AnyCut reads every stream byte by byte, in halves, and with the error
// beside the last bytes.
func TestI3AnyCut(t *testing.T) {
	for _, c := range streams {
		for i, src := range []io.Reader{
			iotest.OneByteReader(strings.NewReader(c.in)),
			iotest.HalfReader(strings.NewReader(c.in)),
			iotest.DataErrReader(strings.NewReader(c.in)),
		} {
			if got, err := all(src, 0); got != c.want || err != io.EOF {
				t.Errorf("%s, reader %d: got %q, %v; want %q", c.name, i, got, err, c.want)
			}
		}
	}
}

// TestI1DataIsTheCallers keeps every event and looks at them at the end.
func TestI1DataIsTheCallers(t *testing.T) {
	var in strings.Builder
	for i := range 2000 {
		fmt.Fprintf(&in, "data: event %d %s\n\n", i, strings.Repeat("x", i%97))
	}
	r := NewReader(strings.NewReader(in.String()), 0)
	var kept [][]byte
	for {
		ev, err := r.Next()
		if err != nil {
			break
		}
		kept = append(kept, ev.Data)
	}
	if len(kept) != 2000 {
		t.Fatalf("%d events", len(kept))
	}
	for i, d := range kept {
		if want := fmt.Sprintf("event %d %s", i, strings.Repeat("x", i%97)); string(d) != want {
			t.Fatalf("event %d became %q", i, d)
		}
	}
}

func TestLargeEvent(t *testing.T) {
	big := strings.Repeat("y", 3<<20)
	got, err := all(strings.NewReader("data: "+big+"\n\ndata: a\n\n"), 0)
	if err != io.EOF || got != "|"+big+"\n|a\n" {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// endless is a line that never ends.
type endless struct{ read int }

func (e *endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'z'
	}
	e.read += len(p)
	return len(p), nil
}

func TestI2TooLong(t *testing.T) {
	src := &endless{}
	r := NewReader(src, 64<<10)
	if _, err := r.Next(); !errors.Is(err, ErrTooLong) {
		t.Errorf("endless line: %v", err)
	}
	if src.read > 256<<10 {
		t.Errorf("read %d bytes for a limit of 64 KiB", src.read)
	}
	if _, err := r.Next(); !errors.Is(err, ErrTooLong) {
		t.Errorf("after the error: %v", err)
	}
	many := strings.Repeat("data: 0123456789\n", 100)
	if _, err := all(strings.NewReader(many+"\n"), 1000); !errors.Is(err, ErrTooLong) {
		t.Errorf("many lines: %v", err)
	}
	if got, err := all(strings.NewReader(strings.Repeat("data: 0123456789\n\n", 100)), 100); err != io.EOF || strings.Count(got, "\n") != 100 {
		t.Errorf("many small events: %q %v", got, err)
	}
}

func TestSourceError(t *testing.T) {
	broken := errors.New("reset")
	got, err := all(io.MultiReader(strings.NewReader("data: a\n\ndata: b"), iotest.ErrReader(broken)), 0)
	if got != "|a\n" || err != broken {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := all(stuck{}, 0); err != io.ErrNoProgress {
		t.Errorf("a source without progress: %v", err)
	}
}

type stuck struct{}

func (stuck) Read([]byte) (int, error) { return 0, nil }

// FuzzI3AnyCut compares one big read with single bytes on any input.
func FuzzI3AnyCut(f *testing.F) {
	for _, c := range streams {
		f.Add([]byte(c.in))
	}
	f.Add([]byte("\xef\n\xef\xbb\xbfdata: x\n\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		one, err1 := all(bytes.NewReader(in), 4096)
		two, err2 := all(iotest.OneByteReader(bytes.NewReader(in)), 4096)
		if one != two || err1 != err2 {
			t.Fatalf("%q: whole %q %v, byte by byte %q %v", in, one, err1, two, err2)
		}
	})
}

func BenchmarkNext(b *testing.B) {
	in := strings.Repeat(`data: {"id":"chatcmpl-1","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":" word"}}]}`+"\n\n", 64)
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		r := NewReader(strings.NewReader(in), 0)
		for {
			if _, err := r.Next(); err != nil {
				break
			}
		}
	}
}
