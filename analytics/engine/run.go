package engine

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"time"

	chproto "github.com/ClickHouse/ch-go/proto"
)

// A statement longer than this is refused; data of an insert does not count.
const maxSQL = 8 << 20

// read takes the statement from the URL and the body. An insert's data stays
// in the returned reader.
func (req *request) read(body io.Reader) (string, statement, io.Reader, error) {
	src := body
	if req.sql != "" {
		src = io.MultiReader(strings.NewReader(req.sql+"\n"), body)
	}
	head := make([]byte, 0, 64<<10)
	for limit := 64 << 10; ; limit *= 16 {
		var full bool
		var err error
		if head, full, err = fill(head, src, min(limit, maxSQL+1)); err != nil {
			return "", statement{}, nil, err
		}
		// An insert's data may end in the middle of a character or a quote:
		// only the statement before it has to be complete.
		sql := string(head)
		st := scanStatement(sql)
		if st.kind == kindInsert && (!full || st.dataPos < len(sql)) {
			return sql[:st.dataPos], st, io.MultiReader(strings.NewReader(sql[st.dataPos:]), src), nil
		}
		if !full {
			return sql, st, nil, nil
		}
		if len(head) > maxSQL {
			return "", st, nil, exceptionf(codeQueryTooLarge, "The statement is longer than %d bytes", maxSQL)
		}
	}
}

// fill reads until buf holds n bytes, and tells whether it does.
func fill(buf []byte, src io.Reader, n int) ([]byte, bool, error) {
	have := len(buf)
	buf = append(buf, make([]byte, n-have)...)
	got, err := io.ReadFull(src, buf[have:])
	if err == nil {
		return buf, true, nil
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return buf[:have+got], false, nil
	}
	return nil, false, readError(err)
}

func readError(err error) error {
	var e *Exception
	if errors.As(err, &e) {
		return e
	}
	return exceptionf(codeUnexpectedEnd, "Cannot read the whole body: %v", err)
}

// check refuses what a ClickHouse server refuses on this interface too.
func (st statement) check() error {
	switch {
	case st.multiple:
		return exceptionf(codeSyntaxError, "Syntax error (Multi-statements are not allowed)")
	case st.files:
		return exceptionf(codeNotImplemented, "INTO OUTFILE and FROM INFILE belong to a client: send the data in the body, read it from the answer")
	case st.input && st.kind != kindSelect:
		return exceptionf(codeNotImplemented, "INSERT … SELECT … FROM input() is not available here: insert the rows as they are")
	}
	return nil
}

// run executes one statement and writes its answer.
func (h *handler) run(ctx context.Context, a *answer, body io.Reader) error {
	req := a.req
	sql, st, data, err := req.read(body)
	if err != nil {
		return err
	}
	if err := st.check(); err != nil {
		return err
	}
	if st.kind == kindInsert {
		a.format = req.format
		return h.insert(ctx, a, sql, st, data)
	}
	if st.end == 0 {
		return exceptionf(codeSyntaxError, "Syntax error: Empty query")
	}
	a.format = firstOf(st.format, req.format)
	sql = sql[:st.end]
	switch {
	case st.kind == kindSelect && strings.EqualFold(a.format, "Native"):
		err = h.stream(ctx, a, sql)
	case st.kind == kindSelect:
		err = h.outfile(ctx, a, sql, st)
	default:
		err = h.whole(ctx, a, sql)
	}
	return err
}

// insert hands the data over as a file: never in memory, and nothing of it is
// inserted unless all of it has arrived.
func (h *handler) insert(ctx context.Context, a *answer, sql string, st statement, data io.Reader) error {
	path := h.core.tempFile(a.req.id, "in")
	defer os.Remove(path)
	if err := h.upload(path, data); err != nil {
		return err
	}
	s, err := h.acquire(ctx, a)
	if err != nil {
		return err
	}
	defer h.core.release(s)
	text := sql[:st.filePos] + "\nFROM INFILE " + quoteString(path) + " COMPRESSION 'none' " +
		sql[st.filePos:st.formatPos] + " FORMAT " + st.format
	res := h.carryOut(ctx, a, s, text, "Null")
	defer res.free()
	if err := res.err(); err != nil {
		return err
	}
	a.begin(res.progress())
	return a.end()
}

// acquire waits for a session. The body has been read by now, so the client's
// connection is only watched from here on.
func (h *handler) acquire(ctx context.Context, a *answer) (*session, error) {
	_ = a.control.SetReadDeadline(time.Time{})
	return h.core.acquire(ctx, a.req.scope)
}

// carryOut runs a statement that changes something. Like a server's, it goes
// on when its client goes away; only the time-out and the end of the server
// kill it.
func (h *handler) carryOut(ctx context.Context, a *answer, s *session, sql, format string) *result {
	until, _ := ctx.Deadline()
	ctx, cancel := context.WithDeadline(h.work, until)
	defer cancel()
	var res *result
	h.core.during(ctx, a.req.id, func() { res = s.query(sql, format, a.req.params) })
	return res
}

func (h *handler) upload(path string, data io.Reader) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	n, err := io.Copy(f, io.LimitReader(data, h.cfg.MaxInsert+1))
	if cerr := f.Close(); err == nil && cerr != nil {
		return cerr
	}
	if err != nil {
		return readError(err)
	}
	if n > h.cfg.MaxInsert {
		return exceptionf(codeQueryTooLarge, "The data of one insert is longer than %d bytes: send it in parts", h.cfg.MaxInsert)
	}
	return nil
}

// stream sends a query's blocks as they come: Native has no beginning or end
// that spans them.
func (h *handler) stream(ctx context.Context, a *answer, sql string) error {
	s, err := h.acquire(ctx, a)
	if err != nil {
		return err
	}
	defer h.core.release(s)
	var failed error
	h.core.during(ctx, a.req.id, func() { failed = h.streamOn(s, a, sql) })
	return failed
}

func (h *handler) streamOn(s *session, a *answer, sql string) error {
	rows := s.stream(sql, "Native", a.req.params)
	defer rows.free()
	if err := rows.err(); err != nil {
		return err
	}
	var buf chproto.Buffer
	for {
		more, err := h.chunk(s, a, rows, &buf)
		if err != nil {
			s.cancel(rows)
			return err
		}
		if !more {
			a.begin(progress{})
			return a.end()
		}
	}
}

func (h *handler) chunk(s *session, a *answer, rows *result, buf *chproto.Buffer) (bool, error) {
	chunk := s.fetch(rows)
	defer chunk.free()
	if err := chunk.err(); err != nil {
		if strings.HasPrefix(err.Error(), streamOver) {
			return false, nil
		}
		return false, err
	}
	data := chunk.bytes()
	if len(data) == 0 {
		return false, nil
	}
	counts := chunk.progress()
	if a.req.revision >= revisionBlockInfo {
		if err := recode(buf, data, a.req.revision); err != nil {
			return false, err
		}
		data = buf.Buf
	}
	a.begin(counts)
	_, err := a.Write(data)
	return true, err
}

// streamOver is what the engine says after the last chunk of some streams,
// where others give an empty chunk.
const streamOver = "No active streaming query"

// outfile lets the engine write the answer to a file and sends that: any
// format, any size, and a failure is known before the first byte.
func (h *handler) outfile(ctx context.Context, a *answer, sql string, st statement) error {
	path := h.core.tempFile(a.req.id, "out")
	defer os.Remove(path)
	counts, err := h.writeOutfile(ctx, a, path, sql, st)
	if err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	a.begin(counts)
	if _, err := io.Copy(a, f); err != nil {
		return err
	}
	return a.end()
}

func (h *handler) writeOutfile(ctx context.Context, a *answer, path, sql string, st statement) (progress, error) {
	s, err := h.acquire(ctx, a)
	if err != nil {
		return progress{}, err
	}
	defer h.core.release(s)
	text := sql[:st.formatPos] + "\nINTO OUTFILE " + quoteString(path) + " FORMAT " + a.format +
		afterFormat(sql, st)
	var counts progress
	h.core.during(ctx, a.req.id, func() {
		res := s.query(text, "Null", a.req.params)
		defer res.free()
		if err = res.err(); err == nil {
			counts = res.progress()
		}
	})
	return counts, err
}

// afterFormat is the SETTINGS clause that may follow FORMAT.
func afterFormat(sql string, st statement) string {
	if st.format == "" {
		return ""
	}
	s := &scanner{src: sql, pos: st.formatPos}
	s.next()
	s.next()
	return sql[s.pos:]
}

// whole runs a statement whose answer is small.
func (h *handler) whole(ctx context.Context, a *answer, sql string) error {
	s, err := h.acquire(ctx, a)
	if err != nil {
		return err
	}
	defer h.core.release(s)
	res := h.carryOut(ctx, a, s, sql, a.format)
	defer res.free()
	if err := res.err(); err != nil {
		return err
	}
	data := res.bytes()
	if strings.EqualFold(a.format, "Native") && a.req.revision >= revisionBlockInfo {
		var buf chproto.Buffer
		if err := recode(&buf, data, a.req.revision); err != nil {
			return err
		}
		data = buf.Buf
	}
	a.begin(res.progress())
	if _, err := io.Copy(a, bytes.NewReader(data)); err != nil {
		return err
	}
	return a.end()
}
