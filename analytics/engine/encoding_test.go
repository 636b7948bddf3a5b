package engine

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestEncodingsRoundTrip(t *testing.T) {
	want := strings.Repeat("abc\x00ü", 400_000)
	for _, name := range []string{"", "gzip", "deflate", "zstd", "lz4", "br"} {
		var b bytes.Buffer
		w := encode(&b, name)
		io.WriteString(w, want[:10])
		must(t, w.Flush())
		io.WriteString(w, want[10:])
		must(t, w.Close())
		r, err := decode(&b, name)
		must(t, err)
		if got, err := io.ReadAll(r); err != nil || string(got) != want {
			t.Errorf("%q: %d bytes, want %d: %v", name, len(got), len(want), err)
		}
	}
}

func TestChooseEncoding(t *testing.T) {
	for accept, want := range map[string]string{
		"": "", "identity": "", "gzip": "gzip", "zstd, gzip": "gzip", "ZSTD;q=1.0": "zstd",
		"gzip;q=0, br": "br", "snappy, lz4": "lz4", "deflate , x": "deflate",
	} {
		if got := chooseEncoding(accept); got != want {
			t.Errorf("%q: %q, want %q", accept, got, want)
		}
	}
}

func compressedBlocks(t testing.TB, data string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := newBlockWriter(&b)
	io.WriteString(w, data)
	must(t, w.Close())
	return b.Bytes()
}

// Blocks that are cut off anywhere are an error, never a shorter insert.
func TestCompressedBlocksCutOff(t *testing.T) {
	want := strings.Repeat("0123456789", 250_000)
	whole := compressedBlocks(t, want)
	if got, err := io.ReadAll(unblock(bytes.NewReader(whole))); err != nil || string(got) != want {
		t.Fatalf("%d bytes, want %d: %v", len(got), len(want), err)
	}
	ends := 0
	for n := range len(whole) {
		if n > 200 && n < len(whole)-200 && n%97 != 0 {
			continue
		}
		got, err := io.ReadAll(unblock(bytes.NewReader(whole[:n])))
		if err == nil {
			ends++
			if len(got)%blockSize != 0 {
				t.Errorf("cut at %d of %d: %d bytes and a clean end", n, len(whole), len(got))
			}
		}
	}
	if ends > 3 { // nothing at all, and between two blocks
		t.Errorf("%d cuts look like an end", ends)
	}
	broken := bytes.Clone(whole)
	broken[len(broken)/2] ^= 1
	var e *Exception
	if _, err := io.ReadAll(unblock(bytes.NewReader(broken))); !errors.As(err, &e) || e.Code != codeCannotDecompress {
		t.Errorf("a flipped bit: %v", err)
	}
}
