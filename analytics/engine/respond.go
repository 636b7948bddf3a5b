package engine

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// answer writes one response: headers at the first byte, then the body through
// the client's compression.
type answer struct {
	w       http.ResponseWriter
	control *http.ResponseController
	req     *request
	idle    time.Duration
	start   time.Time

	format  string
	out     flusher
	started bool
	tag     string
}

// begin sends the headers. What counts says is final only if the statement is
// over by now.
func (a *answer) begin(counts progress) {
	if a.started {
		return
	}
	a.started = true
	a.tag = strings.ToLower(rand.Text()[:16])
	h := a.w.Header()
	h.Set("Content-Type", contentType(a.format))
	h.Set("X-ClickHouse-Format", a.format)
	h.Set("X-ClickHouse-Exception-Tag", a.tag)
	h.Set("X-ClickHouse-Summary", a.summary(counts))
	var sink io.Writer = deadlineWriter{a.w, a.control, a.idle}
	switch {
	case a.req.encoding != "":
		h.Set("Content-Encoding", a.req.encoding)
		h.Add("Vary", "Accept-Encoding")
		a.out = encode(sink, a.req.encoding)
	case a.req.compress:
		a.out = newBlockWriter(sink)
	default:
		a.out = plain{sink}
	}
	a.w.WriteHeader(http.StatusOK)
}

// Write sends a piece of the body. begin comes first.
func (a *answer) Write(p []byte) (int, error) { return a.out.Write(p) }

// end completes the body.
func (a *answer) end() error { return a.out.Close() }

// fail reports err: as a response of its own, or, when the body has begun, as
// ClickHouse does: an exception block in the body and a broken connection.
func (a *answer) fail(err error) {
	e := asException(err)
	if !a.started {
		writeException(a.w, e)
		return
	}
	text := e.Message
	fmt.Fprintf(a.out, "\r\n__exception__\r\n%s\r\n%s\n%d %s\r\n__exception__\r\n", a.tag, text, len(text)+1, a.tag)
	_ = a.out.Flush()
	_ = a.control.Flush()
	panic(http.ErrAbortHandler)
}

func (a *answer) summary(p progress) string {
	n := func(v uint64) string { return strconv.FormatUint(v, 10) }
	text, _ := json.Marshal(map[string]string{
		"read_rows": n(p.readRows), "read_bytes": n(p.readBytes),
		"written_rows": n(p.writtenRows), "written_bytes": n(p.writtenBytes),
		"total_rows_to_read": n(p.readRows), "result_rows": n(p.resultRows), "result_bytes": n(p.resultBytes),
		"elapsed_ns": n(uint64(time.Since(a.start).Nanoseconds())),
	})
	return string(text)
}

// writeException answers with a failure before anything else was written.
func writeException(w http.ResponseWriter, e *Exception) {
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=UTF-8")
	h.Set("X-ClickHouse-Exception-Code", strconv.Itoa(e.Code))
	if e.Code == codeRequiredPassword {
		h.Set("WWW-Authenticate", `Basic realm="ClickHouse server HTTP API"`)
	}
	w.WriteHeader(e.status())
	_, _ = io.WriteString(w, e.Message+"\n")
}

// deadlineWriter gives up on a client that reads nothing for idle.
type deadlineWriter struct {
	w       io.Writer
	control *http.ResponseController
	idle    time.Duration
}

// Write moves the deadline along with each piece.
func (d deadlineWriter) Write(p []byte) (int, error) {
	_ = d.control.SetWriteDeadline(time.Now().Add(d.idle))
	return d.w.Write(p)
}

// contentType is ClickHouse's for a format.
func contentType(format string) string {
	switch f := strings.ToLower(format); {
	case f == "json" || strings.HasPrefix(f, "jsoncompact") && !strings.Contains(f, "eachrow") ||
		f == "jsonstrings" || strings.HasPrefix(f, "jsoncolumns") || f == "jsonobjecteachrow":
		return "application/json; charset=UTF-8"
	case strings.Contains(f, "eachrow") || f == "jsonlines" || f == "ndjson":
		return "application/x-ndjson; charset=UTF-8"
	case strings.HasPrefix(f, "csvwithnames"):
		return "text/csv; charset=UTF-8; header=present"
	case f == "csv":
		return "text/csv; charset=UTF-8; header=absent"
	case strings.HasPrefix(f, "tabseparated"), strings.HasPrefix(f, "tsv"):
		return "text/tab-separated-values; charset=UTF-8"
	case f == "xml":
		return "application/xml; charset=UTF-8"
	case f == "html":
		return "text/html; charset=UTF-8"
	case f == "native", strings.HasPrefix(f, "rowbinary"), f == "parquet", f == "orc", f == "avro",
		strings.HasPrefix(f, "arrow"), f == "msgpack", f == "rawblob", f == "npy", f == "bsoneachrow",
		strings.HasPrefix(f, "protobuf"), f == "capnproto":
		return "application/octet-stream"
	}
	return "text/plain; charset=UTF-8"
}
