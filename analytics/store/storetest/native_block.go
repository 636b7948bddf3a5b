package storetest

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/ClickHouse/ch-go/compress"
	chproto "github.com/ClickHouse/ch-go/proto"
	"github.com/ClickHouse/clickhouse-go/v2/lib/column"
)

// block is a block of the Native format with the bytes of its columns.
type block struct {
	rows    int
	columns []rawColumn
}

type rawColumn struct {
	name, typ string
	data      []byte
}

// header is the block without its rows.
func (b *block) header() *block {
	h := &block{}
	for _, c := range b.columns {
		h.columns = append(h.columns, rawColumn{name: c.name, typ: c.typ})
	}
	return h
}

// encode appends the block as the revision has it.
func (b *block) encode(out *chproto.Buffer, revision int) {
	if chproto.FeatureBlockInfo.In(revision) {
		chproto.BlockInfo{BucketNum: -1}.Encode(out)
	}
	out.PutInt(len(b.columns))
	out.PutInt(b.rows)
	for _, c := range b.columns {
		out.PutString(c.name)
		out.PutString(c.typ)
		if chproto.FeatureCustomSerialization.In(revision) {
			out.PutBool(false)
		}
		out.PutRaw(c.data)
	}
}

// source reads packets and blocks, and knows which bytes it has used.
type source struct {
	*chproto.Reader
	buf *bufio.Reader
	tap *tap
}

// tap keeps what was read since the last block.
type tap struct {
	src  io.Reader
	seen []byte
}

// Read reads from the source.
func (t *tap) Read(p []byte) (int, error) {
	n, err := t.src.Read(p)
	t.seen = append(t.seen, p[:n]...)
	return n, err
}

func newSource(r io.Reader) *source {
	t := &tap{src: r}
	buf := bufio.NewReaderSize(t, 128<<10) // what chproto.NewReader takes as it is
	return &source{Reader: chproto.NewReader(buf), buf: buf, tap: t}
}

// trim forgets what was used.
func (s *source) trim() { s.tap.seen = append(s.tap.seen[:0], s.tap.seen[s.at():]...) }

func (s *source) at() int { return len(s.tap.seen) - s.buf.Buffered() }

// block reads the next block; io.EOF is a proper end before it. The decoder
// only finds where columns end.
func (s *source) block(revision int) (*block, error) {
	s.trim()
	if chproto.FeatureBlockInfo.In(revision) {
		var info chproto.BlockInfo
		if err := info.Decode(s.Reader); err != nil {
			return nil, err
		}
	}
	columns, err := s.UVarInt()
	if err != nil {
		return nil, err
	}
	rows, err := s.Int()
	if err != nil {
		return nil, err
	}
	b := &block{rows: rows}
	for range columns {
		c, err := s.column(rows, revision)
		if err != nil {
			return nil, errors.Join(io.ErrUnexpectedEOF, err)
		}
		b.columns = append(b.columns, c)
	}
	return b, nil
}

func (s *source) column(rows, revision int) (c rawColumn, err error) {
	if c.name, err = s.Str(); err != nil {
		return c, err
	}
	if c.typ, err = s.Str(); err != nil {
		return c, err
	}
	if chproto.FeatureCustomSerialization.In(revision) {
		if custom, err := s.Bool(); err != nil || custom {
			return c, errors.Join(err, errors.New("a column in a serialization of its own"))
		}
	}
	if rows == 0 {
		return c, nil
	}
	decoder, err := column.Type(c.typ).Column(c.name, &column.ServerContext{Timezone: time.UTC})
	if err != nil {
		return c, err
	}
	from := s.at()
	if prefix, ok := decoder.(column.CustomSerialization); ok {
		if err := prefix.ReadStatePrefix(s.Reader); err != nil {
			return c, err
		}
	}
	if err := decoder.Decode(s.Reader, rows); err != nil {
		return c, err
	}
	c.data = bytes.Clone(s.tap.seen[from:s.at()])
	return c, nil
}

var midway = []byte("\r\n__exception__\r\n")

// failure is an exception that the engine met after the first block.
func (s *source) failure() error {
	if head, _ := s.buf.Peek(len(midway)); !bytes.Equal(head, midway) {
		return nil
	}
	text, _ := io.ReadAll(s.buf) // the connection is broken off behind it
	_, rest, _ := strings.Cut(string(text[len(midway):]), "\r\n")
	if i := strings.LastIndex(rest, "\r\n__exception__"); i >= 0 {
		rest = rest[:i]
	}
	if i := strings.LastIndexByte(rest, '\n'); i >= 0 {
		rest = rest[:i]
	}
	return asException("", rest)
}

// pack appends data as compressed blocks of up to a mebibyte, as a server does.
func pack(out *chproto.Buffer, data []byte) error {
	w := compress.NewWriter(compress.LevelZero, compress.LZ4)
	for len(data) > 0 {
		n := min(len(data), 1<<20)
		if err := w.Compress(data[:n]); err != nil {
			return err
		}
		out.PutRaw(w.Data)
		data = data[n:]
	}
	return nil
}

// exception is a failure as the native protocol reports it.
type exception struct {
	code    int
	message string
}

// Error is ClickHouse's text.
func (e *exception) Error() string { return e.message }

var (
	codeAtStart = regexp.MustCompile(`^Code: (\d+)\. `)
	nameAtEnd   = regexp.MustCompile(`\s*\([A-Z0-9_]+\)\s*(\(version [^()]*(\([^()]*\))?\)\s*)?$`)
)

// asException takes the code and its name, which HTTP has in the text, out of it.
func asException(code, text string) *exception {
	e := &exception{message: text}
	if m := codeAtStart.FindStringSubmatch(text); m != nil {
		e.message = text[len(m[0]):]
		if code == "" {
			code = m[1]
		}
	}
	e.code, _ = strconv.Atoi(code) // 0: none is known
	e.message = nameAtEnd.ReplaceAllString(e.message, "")
	return e
}
