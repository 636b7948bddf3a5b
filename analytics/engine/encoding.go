package engine

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"io"
	"strings"

	"github.com/ClickHouse/ch-go/compress"
	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// decode undoes an HTTP Content-Encoding.
func decode(r io.Reader, encoding string) (io.ReadCloser, error) {
	switch strings.ToLower(strings.TrimSpace(encoding)) {
	case "", "identity":
		return io.NopCloser(r), nil
	case "gzip", "x-gzip":
		zr, err := gzip.NewReader(r)
		if err != nil {
			return nil, exceptionf(codeCannotDecompress, "Cannot read the body as gzip: %v", err)
		}
		return zr, nil
	case "deflate":
		zr, err := zlib.NewReader(r)
		if err != nil {
			return nil, exceptionf(codeCannotDecompress, "Cannot read the body as deflate: %v", err)
		}
		return zr, nil
	case "zstd":
		zr, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(256<<20))
		if err != nil {
			return nil, exceptionf(codeCannotDecompress, "Cannot read the body as zstd: %v", err)
		}
		return zr.IOReadCloser(), nil
	case "lz4":
		return io.NopCloser(lz4.NewReader(r)), nil
	case "br":
		return io.NopCloser(brotli.NewReader(r)), nil
	}
	return nil, exceptionf(codeUnknownCompression, "Unknown compression method '%s': use gzip, deflate, zstd, lz4 or br", encoding)
}

// flusher is a compressor whose output so far can be forced out.
type flusher interface {
	io.WriteCloser
	Flush() error
}

// encode compresses for an HTTP Content-Encoding that chooseEncoding chose.
func encode(w io.Writer, encoding string) flusher {
	switch encoding {
	case "gzip":
		zw, _ := gzip.NewWriterLevel(w, gzip.BestSpeed)
		return zw
	case "deflate":
		zw, _ := zlib.NewWriterLevel(w, zlib.BestSpeed)
		return zw
	case "zstd":
		zw, _ := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest))
		return zw
	case "lz4":
		return lz4.NewWriter(w)
	case "br":
		return brotli.NewWriterLevel(w, brotli.BestSpeed)
	}
	return plain{w}
}

type plain struct{ io.Writer }

func (plain) Flush() error { return nil }
func (plain) Close() error { return nil }

// chooseEncoding is ClickHouse's choice among what the client accepts: by its
// own order of preference, weights ignored.
func chooseEncoding(accept string) string {
	offered := map[string]bool{}
	for part := range strings.SplitSeq(strings.ToLower(accept), ",") {
		name, weight, _ := strings.Cut(strings.TrimSpace(part), ";")
		if strings.ReplaceAll(weight, " ", "") != "q=0" {
			offered[strings.TrimSpace(name)] = true
		}
	}
	for _, name := range []string{"gzip", "deflate", "br", "zstd", "lz4"} {
		if offered[name] {
			return name
		}
	}
	return ""
}

// blockSize is how much ClickHouse puts into one compressed block.
const blockSize = 1 << 20

// blockWriter writes ClickHouse's own compressed blocks (compress=1).
type blockWriter struct {
	w   io.Writer
	buf bytes.Buffer
	enc *compress.Writer
}

func newBlockWriter(w io.Writer) *blockWriter {
	return &blockWriter{w: w, enc: compress.NewWriter(compress.LevelZero, compress.LZ4)}
}

// Write buffers p and passes on full blocks.
func (b *blockWriter) Write(p []byte) (int, error) {
	b.buf.Write(p)
	for b.buf.Len() >= blockSize {
		if err := b.block(b.buf.Next(blockSize)); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

func (b *blockWriter) block(data []byte) error {
	if err := b.enc.Compress(data); err != nil {
		return err
	}
	_, err := b.w.Write(b.enc.Data)
	return err
}

// Flush passes on what is buffered.
func (b *blockWriter) Flush() error {
	if b.buf.Len() == 0 {
		return nil
	}
	return b.block(b.buf.Next(b.buf.Len()))
}

// Close passes on what is buffered.
func (b *blockWriter) Close() error { return b.Flush() }

// blockReader reads ClickHouse's own compressed blocks (decompress=1).
type blockReader struct {
	src  countingReader
	dec  *compress.Reader
	mark int64 // bytes of src up to the end of the last whole block
}

func unblock(r io.Reader) io.Reader {
	b := &blockReader{src: countingReader{r: r}}
	b.dec = compress.NewReader(&b.src)
	return b
}

// Read tells the end of the data from a block that was cut off: the decoder
// reports both as an end.
func (b *blockReader) Read(p []byte) (int, error) {
	n, err := b.dec.Read(p)
	switch {
	case err == nil:
		b.mark = b.src.n
	case errors.Is(err, io.EOF) && b.src.n == b.mark:
		err = io.EOF
	case b.src.err != nil && !errors.Is(b.src.err, io.EOF):
		err = b.src.err
	default:
		err = exceptionf(codeCannotDecompress, "Cannot read the body as compressed blocks (decompress=1): %v", err)
	}
	return n, err
}

type countingReader struct {
	r   io.Reader
	n   int64
	err error
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n, c.err = c.n+int64(n), err
	return n, err
}
