package engine

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

func TestAnswerHeaders(t *testing.T) {
	_, addr := startEngine(t)
	r := call{body: "SELECT number FROM numbers(10) FORMAT JSON", values: []string{"query_id", "mine-1"}}.do(t, addr)
	for name, want := range map[string]string{
		"X-ClickHouse-Query-Id": "mine-1", "X-ClickHouse-Format": "JSON",
		"Content-Type": "application/json; charset=UTF-8",
	} {
		if got := r.header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	for _, name := range []string{"X-ClickHouse-Timezone", "X-ClickHouse-Server-Display-Name"} {
		if r.header.Get(name) == "" {
			t.Errorf("%s is missing", name)
		}
	}
	var sum map[string]string
	if err := json.Unmarshal([]byte(r.header.Get("X-ClickHouse-Summary")), &sum); err != nil || sum["read_rows"] != "10" || sum["result_rows"] != "10" {
		t.Errorf("summary %v: %v", sum, err)
	}
	var answer struct {
		Rows int `json:"rows"`
	}
	if err := json.Unmarshal([]byte(r.body), &answer); err != nil || answer.Rows != 10 {
		t.Errorf("body %s: %v", r.body, err)
	}
}

func TestAnswerCompression(t *testing.T) {
	_, addr := startEngine(t)
	query := "SELECT repeat('x', 100) FROM numbers(1000)"
	want := sql(t, addr, query)
	for _, encoding := range []string{"gzip", "deflate", "br", "zstd", "lz4"} {
		r := call{body: query, values: []string{"enable_http_compression", "1"}, header: []string{"Accept-Encoding", encoding + ", identity"}}.do(t, addr)
		if r.header.Get("Content-Encoding") != encoding {
			t.Errorf("%s: encoded as %q", encoding, r.header.Get("Content-Encoding"))
			continue
		}
		body, err := decode(strings.NewReader(r.body), encoding)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(body)
		if err != nil || string(got) != want || len(r.body) > len(want)/10 {
			t.Errorf("%s: %d bytes from %d, want %d: %v", encoding, len(got), len(r.body), len(want), err)
		}
	}
	r := call{body: query, header: []string{"Accept-Encoding", "gzip"}}.do(t, addr)
	if r.header.Get("Content-Encoding") != "" || r.body != want {
		t.Error("compressed though enable_http_compression is off")
	}
	r = call{body: query, values: []string{"compress", "1"}}.do(t, addr)
	if got, err := io.ReadAll(unblock(strings.NewReader(r.body))); err != nil || string(got) != want {
		t.Errorf("compress=1: %d bytes, want %d: %v", len(got), len(want), err)
	}
	var z bytes.Buffer
	zw, _ := zstd.NewWriter(&z)
	io.WriteString(zw, "SELECT 3")
	zw.Close()
	if r := (call{body: z.String(), header: []string{"Content-Encoding", "zstd"}}).do(t, addr); r.body != "3\n" {
		t.Errorf("zstd request: %d %s", r.status, r.body)
	}
}
