package engine

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	chproto "github.com/ClickHouse/ch-go/proto"
	"github.com/ClickHouse/clickhouse-go/v2/lib/column"
	"github.com/ClickHouse/clickhouse-go/v2/lib/proto"
)

// FuzzRequest: whatever a client of the HTTP interface sends, it is refused
// with a code of ClickHouse's, or what goes to the engine beside its statement
// is names, and values that stay within their quotes. Nobody gets in without
// the password.
func FuzzRequest(f *testing.F) {
	for _, seed := range []string{
		"query=SELECT+1&database=sluice&default_format=JSONEachRow&max_threads=2&readonly=1&compress=1",
		"param_a=41&param_s=tab%5There+%27q%27&param_l=%5B%27x%27%5D&client_protocol_version=54460&enable_http_compression=1",
		"session_id=1", "role=admin", "user=default&password=x&query_id=q&wait_end_of_query=1&buffer_size=1",
		"log_comment=a%27%5C&max_query_size=1000000&decompress=true", "a%3D1%2C+b=2", marker + "=x", "client_protocol_version=-1&default_format=a%20b",
	} {
		f.Add(seed, "zstd, gzip;q=0", "d", "SELECT 1 FORMAT CSV")
	}
	f.Add("query=INSERT+INTO+t+FORMAT+CSV", "br", "a`b", "1,2\n")
	statement := regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	f.Fuzz(func(t *testing.T, query, accept, database, body string) {
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
		r.URL = &url.URL{Path: "/", RawQuery: query}
		r.Header.Set("Accept-Encoding", accept)
		r.Header.Set("X-ClickHouse-Database", database)
		if authenticate(r, testPassword) == nil && r.URL.Query().Get("password") != testPassword {
			t.Fatalf("%q needs no password", query)
		}
		req, err := parseRequest(r)
		var e *Exception
		if err != nil {
			if !errors.As(err, &e) || e.Code == 0 || e.status() >= 500 && e.Code != codeNotImplemented {
				t.Fatalf("%q: %v", query, err)
			}
			return
		}
		if !statement.MatchString(req.format) || req.encoding != "" && !strings.Contains(strings.ToLower(accept), req.encoding) {
			t.Fatalf("%q: format %q, encoding %q", query, req.format, req.encoding)
		}
		for _, s := range req.settings {
			if !statement.MatchString(s.name) || reserved[s.name] || s.name == marker || s.name == "readonly" {
				t.Fatalf("%q: the setting %q", query, s.name)
			}
			if text := "SELECT " + quoteString(s.value); scanStatement(text).end != len(text) {
				t.Fatalf("%q: the value of %s ends its quotes", query, s.name)
			}
		}
		sql, st, data, err := req.read(strings.NewReader(body))
		if err != nil {
			t.Fatalf("read: %v", err)
		}
		whole := body
		if req.sql != "" {
			whole = req.sql + "\n" + body
		}
		rest := ""
		if data != nil {
			b, err := io.ReadAll(data)
			if err != nil {
				t.Fatal(err)
			}
			rest = string(b)
		}
		if sql+rest != whole || st.end > len(sql) || (data != nil) != (st.kind == kindInsert) {
			t.Fatalf("of %q there is a statement %q and data %q: %+v", whole, sql, rest, st)
		}
	})
}

// FuzzBody: a body in any encoding, in ClickHouse's blocks or not, is read to
// its end or refused; what we compress is read back as it was.
func FuzzBody(f *testing.F) {
	names := []string{"", "gzip", "deflate", "zstd", "lz4", "br", "snappy"}
	for i, name := range names[:6] {
		var b bytes.Buffer
		w := encode(&b, name)
		io.WriteString(w, "INSERT INTO t FORMAT CSV\n1,2\n")
		must(f, w.Close())
		f.Add(uint8(i), false, b.Bytes())
	}
	f.Add(uint8(0), true, compressedBlocks(f, "SELECT 1"))
	const most = 1 << 20
	f.Fuzz(func(t *testing.T, encoding uint8, blocks bool, data []byte) {
		name := names[int(encoding)%len(names)]
		read := func(data []byte) ([]byte, error) {
			r, err := decode(bytes.NewReader(data), name)
			if err != nil {
				return nil, err
			}
			defer r.Close()
			var src io.Reader = r
			if blocks {
				src = unblock(r)
			}
			return io.ReadAll(io.LimitReader(src, most))
		}
		if got, err := read(data); len(got) > most || name == "snappy" && err == nil {
			t.Fatalf("%s: %d bytes: %v", name, len(got), err)
		}
		if name == "snappy" {
			return
		}
		var b bytes.Buffer
		w := encode(&b, name)
		out := io.Writer(w)
		var block *blockWriter
		if blocks {
			block = newBlockWriter(w)
			out = block
		}
		_, _ = out.Write(data)
		if block != nil {
			must(t, block.Close())
		}
		must(t, w.Close())
		if got, err := read(b.Bytes()); err != nil || !bytes.Equal(got, data) {
			t.Fatalf("%s, blocks %v: %d of %d bytes come back: %v", name, blocks, len(got), len(data), err)
		}
	})
}

// FuzzRecode: a result of any values is the same in the revision that a client
// asks for.
func FuzzRecode(f *testing.F) {
	f.Add(uint64(54460-revisionBlockInfo), "a", int64(-1), true, uint8(3))
	f.Add(uint64(0), "", int64(0), false, uint8(0))
	f.Add(uint64(revisionSerialization-revisionBlockInfo), "\x00ü\xff", int64(1<<40), true, uint8(200))
	types := map[string]func(s string, n int64, null bool) any{
		"s String": func(s string, _ int64, _ bool) any { return s },
		"n Int64":  func(_ string, n int64, _ bool) any { return n },
		"o Nullable(String)": func(s string, _ int64, null bool) any {
			if null {
				return nil
			}
			return s
		},
		"l LowCardinality(String)":              func(s string, _ int64, _ bool) any { return s },
		"a Array(Int64)":                        func(_ string, n int64, _ bool) any { return []int64{n, n} },
		"m Map(LowCardinality(String), String)": func(s string, _ int64, _ bool) any { return map[string]string{s: s} },
	}
	f.Fuzz(func(t *testing.T, revision uint64, s string, n int64, null bool, rows uint8) {
		revision = revisionBlockInfo + revision%(54460-revisionBlockInfo+1)
		for what, value := range types {
			name, kind, _ := strings.Cut(what, " ")
			block := proto.NewBlock()
			must(t, block.AddColumn(name, column.Type(kind)))
			for range int(rows) + 1 { // the engine writes no block without rows
				must(t, block.Append(value(s, n, null)))
			}
			var plain, out, again chproto.Buffer
			must(t, block.Encode(&plain, 0))
			must(t, recode(&out, plain.Buf, revision))
			got := proto.NewBlock()
			must(t, got.Decode(chproto.NewReader(bytes.NewReader(out.Buf)), revision))
			must(t, got.Encode(&again, 0))
			if !bytes.Equal(again.Buf, plain.Buf) {
				t.Fatalf("%s at revision %d: %q becomes %q", what, revision, plain.Buf, again.Buf)
			}
		}
	})
}
