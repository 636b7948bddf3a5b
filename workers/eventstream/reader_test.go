package eventstream

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
)

// all reads every message.
func all(src io.Reader, limit int) (out []Message, err error) {
	r := NewReader(src, limit)
	for {
		m, err := r.Next()
		if err != nil {
			return out, err
		}
		out = append(out, m)
	}
}

// frame makes a message of raw headers, with the right checksums.
func frame(headers, payload []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(16+len(headers)+len(payload)))
	b = binary.BigEndian.AppendUint32(b, uint32(len(headers)))
	b = binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
	b = append(append(b, headers...), payload...)
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
}

// TestKnownFrames reads the messages of AWS's own test vectors.
func TestKnownFrames(t *testing.T) {
	for _, c := range []struct {
		name, frame, payload string
		err                  error
	}{
		{"empty", "0000001000000000 05c248eb 7d98c8ff", "", nil},
		{"payload without headers", "0000001d00000000fd528c5a7b27666f6f273a27626172277dc3653936", "{'foo':'bar'}", nil},
		{"int32 header", "0000002d0000001041c424b80a6576656e742d74797065040000a00c7b27666f6f273a27626172277d36f480a0", "{'foo':'bar'}", nil},
		{"wrong prelude checksum", "0000001d00000000fd528c5b7b27666f6f273a27626172277dc3653936", "", ErrCorrupt},
		{"wrong message checksum", "0000001d00000000fd528c5a7b27666f6f273a27626172277dc3653937", "", ErrCorrupt},
		{"wrong payload", "0000001d00000000fd528c5a7c27666f6f273a27626172277dc3653936", "", ErrCorrupt},
	} {
		raw, err := hex.DecodeString(strings.ReplaceAll(c.frame, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		m, err := NewReader(bytes.NewReader(raw), 0).Next()
		if !errors.Is(err, c.err) || string(m.Payload) != c.payload && c.err == nil {
			t.Errorf("%s: %q, %v; want %q, %v", c.name, m.Payload, err, c.payload, c.err)
		}
	}
}

func TestI1Headers(t *testing.T) {
	header := func(name string, kind byte, value ...byte) []byte {
		return append(append(append([]byte{byte(len(name))}, name...), kind), value...)
	}
	str := func(s string) []byte { return append([]byte{0, byte(len(s))}, s...) }
	for _, c := range []struct {
		name    string
		headers []byte
		want    Message
		err     error
	}{
		{"every type", bytes.Join([][]byte{
			header("t", 0), header("f", 1), header("b", 2, 9), header("s", 3, 1, 2), header("i", 4, 1, 2, 3, 4), header("l", 5, 1, 2, 3, 4, 5, 6, 7, 8),
			header("y", 6, 0, 2, 1, 2), header("d", 8, 1, 2, 3, 4, 5, 6, 7, 8), header("u", 9, make([]byte, 16)...),
			header(":message-type", 7, str("exception")...), header(":exception-type", 7, str("throttlingException")...),
		}, nil), Message{Type: "exception", Name: "throttlingException"}, nil},
		{"an error", append(header(":message-type", 7, str("error")...), header(":error-code", 7, str("500")...)...), Message{Type: "error", Name: "500"}, nil},
		{"a type as bytes", header(":message-type", 6, str("event")...), Message{}, nil},
		{"no name", []byte{0, 0}, Message{}, ErrCorrupt},
		{"unknown type", header("x", 10), Message{}, ErrCorrupt},
		{"cut name", []byte{5, 'a'}, Message{}, ErrCorrupt},
		{"cut value", header("i", 4, 1, 2), Message{}, ErrCorrupt},
		{"cut length", header("s", 7, 1), Message{}, ErrCorrupt},
		{"length beyond", header("s", 7, 1, 0, 'a'), Message{}, ErrCorrupt},
	} {
		m, err := NewReader(bytes.NewReader(frame(c.headers, nil)), 0).Next()
		if c.want.Payload = []byte{}; !errors.Is(err, c.err) || err == nil && !reflect.DeepEqual(m, c.want) {
			t.Errorf("%s: %+v, %v; want %+v, %v", c.name, m, err, c.want, c.err)
		}
	}
}

func sample() (msgs []Message, raw []byte) {
	for _, m := range []Message{
		{"event", "messageStart", []byte(`{"role":"assistant"}`)}, {"event", "contentBlockDelta", []byte(strings.Repeat("x", 200_000))},
		{"exception", "throttlingException", []byte(`{"message":"slow"}`)}, {"error", "InternalError", []byte{}},
	} {
		msgs, raw = append(msgs, m), m.Append(raw)
	}
	return msgs, raw
}

// TestRoundTrip: what Append writes comes back, in whatever pieces it comes.
func TestRoundTrip(t *testing.T) {
	want, raw := sample()
	for name, src := range map[string]io.Reader{
		"at once": bytes.NewReader(raw), "by bytes": iotest.OneByteReader(bytes.NewReader(raw)),
		"by halves": iotest.HalfReader(bytes.NewReader(raw)), "with the error": iotest.DataErrReader(bytes.NewReader(raw)),
	} {
		if got, err := all(src, 0); err != io.EOF || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %d messages, %v", name, len(got), err)
		}
	}
}

// TestI3Cut: only between messages is the end clean.
func TestI3Cut(t *testing.T) {
	_, raw := sample()
	clean := map[int]bool{}
	for at := 0; at < len(raw); at += int(binary.BigEndian.Uint32(raw[at:])) {
		clean[at] = true
	}
	for n := 0; n < len(raw); n += 1 + n/500 {
		_, err := all(bytes.NewReader(raw[:n]), 0)
		if want := map[bool]error{true: io.EOF, false: io.ErrUnexpectedEOF}[clean[n]]; err != want {
			t.Fatalf("cut at %d: %v, want %v", n, err, want)
		}
	}
	broken := errors.New("broken")
	if _, err := all(io.MultiReader(bytes.NewReader(raw[:30]), iotest.ErrReader(broken)), 0); err != broken {
		t.Errorf("an error of the source: %v", err)
	}
}

// TestI1EveryBitCounts: a changed byte is found, wherever it is.
func TestI1EveryBitCounts(t *testing.T) {
	raw := Message{"event", "messageStop", []byte(`{"stopReason":"end_turn"}`)}.Append(nil)
	for i := range raw {
		for bit := range 8 {
			changed := bytes.Clone(raw)
			changed[i] ^= 1 << bit
			if _, err := NewReader(bytes.NewReader(changed), 0).Next(); err == nil {
				t.Errorf("byte %d bit %d: nobody noticed", i, bit)
			}
		}
	}
}

// TestI2Lengths: a length alone takes no memory.
func TestI2Lengths(t *testing.T) {
	head := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, 1<<31), 0)
	head = binary.BigEndian.AppendUint32(head, crc32.ChecksumIEEE(head))
	if _, err := NewReader(bytes.NewReader(head), 0).Next(); err != ErrTooLong {
		t.Errorf("2 GiB: %v", err)
	}
	r := NewReader(bytes.NewReader(head), 1<<31-1)
	if _, err := r.Next(); err != ErrTooLong {
		t.Errorf("above the limit: %v", err)
	}
	head = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, 15<<20), 0)
	head = binary.BigEndian.AppendUint32(head, crc32.ChecksumIEEE(head))
	if n := testing.AllocsPerRun(1, func() {
		if _, err := NewReader(bytes.NewReader(head), 0).Next(); err != io.ErrUnexpectedEOF {
			t.Errorf("15 MiB that do not come: %v", err)
		}
	}); n > 10 {
		t.Errorf("%v allocations", n)
	}
	for _, c := range [][2]uint32{{15, 0}, {16, 1}, {0, 0}, {20, 5}} {
		b := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, c[0]), c[1])
		b = append(binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b)), make([]byte, 32)...)
		if _, err := NewReader(bytes.NewReader(b), 0).Next(); err != ErrCorrupt {
			t.Errorf("lengths %v: %v", c, err)
		}
	}
}

func FuzzReader(f *testing.F) {
	_, raw := sample()
	f.Add(raw[:300])
	f.Add(frame([]byte{1, 'a', 7, 0, 1, 'b'}, []byte("{}")))
	f.Fuzz(func(t *testing.T, raw []byte) {
		got, err := all(bytes.NewReader(raw), 1<<20)
		if err == nil || len(got) > len(raw)/16 {
			t.Fatalf("%d messages of %d bytes, %v", len(got), len(raw), err)
		}
		r := rand.New(rand.NewPCG(1, uint64(len(raw))))
		if len(raw) > 0 {
			cut := r.IntN(len(raw))
			again, _ := all(io.MultiReader(bytes.NewReader(raw[:cut]), bytes.NewReader(raw[cut:])), 1<<20)
			if !reflect.DeepEqual(got, again) {
				t.Fatalf("read in two pieces, it is something else")
			}
		}
	})
}

func BenchmarkNext(b *testing.B) {
	raw := Message{"event", "contentBlockDelta", []byte(`{"contentBlockIndex":0,"delta":{"text":" word"},"p":"abcdefgh"}`)}.Append(nil)
	src := bytes.NewReader(raw)
	r := NewReader(src, 0)
	b.ReportAllocs()
	for b.Loop() {
		src.Reset(raw)
		if _, err := r.Next(); err != nil {
			b.Fatal(err)
		}
	}
}
