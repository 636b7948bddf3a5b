package tracing

import (
	"compress/gzip"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

func TestClientSettings(t *testing.T) {
	const p = "OTEL_EXPORTER_OTLP_"
	for _, c := range []struct {
		env    map[string]string
		url    string
		header string // of X-Key
		within time.Duration
	}{
		{nil, "http://localhost:4318/v1/traces", "", 10 * time.Second},
		{map[string]string{p + "ENDPOINT": "http://host:4318"}, "http://host:4318/v1/traces", "", 10 * time.Second},
		{map[string]string{p + "ENDPOINT": "https://host/otel/", p + "HEADERS": "x-key=a%20b, other=1,"}, "https://host/otel/v1/traces", "a b", 10 * time.Second},
		{map[string]string{p + "ENDPOINT": "http://no", p + "TRACES_ENDPOINT": "http://host/x", p + "TIMEOUT": "1500", p + "PROTOCOL": "http/protobuf"}, "http://host/x", "", 1500 * time.Millisecond},
	} {
		got, err := newClient(func(name string) string { return c.env[name] })
		if err != nil || got.url != c.url || got.header.Get("X-Key") != c.header || got.http.Timeout != c.within {
			t.Errorf("%v: %+v, %v", c.env, got, err)
		}
	}
	for env, want := range map[string]string{
		"ENDPOINT=user:secret@host": "ENDPOINT must", "ENDPOINT=ftp://host": "ENDPOINT must", "PROTOCOL=grpc": "PROTOCOL is",
		"COMPRESSION=zstd": "COMPRESSION is", "TIMEOUT=1s": "TIMEOUT is", "TRACES_TIMEOUT=0": "TRACES_TIMEOUT is",
		"HEADERS=secret": "HEADERS must", "CERTIFICATE=/ca.pem": "CERTIFICATE is",
	} {
		name, v, _ := strings.Cut(env, "=")
		_, err := newClient(func(n string) string {
			if n == p+name {
				return v
			}
			return ""
		})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", env, err)
		}
	}
	_, err := newClient(func(string) string { return "=" })
	for _, name := range []string{"ENDPOINT", "PROTOCOL", "COMPRESSION", "TIMEOUT", "HEADERS", "CLIENT_KEY"} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("not all faults at once: %v lacks %s", err, name)
		}
	}
}

// clientOf is a client of a server, with gzip.
func clientOf(t *testing.T, h http.HandlerFunc) *client {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	c, err := newClient(func(name string) string {
		return map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": srv.URL, "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip", "OTEL_EXPORTER_OTLP_HEADERS": "x-key=k"}[name]
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Stop(context.Background()) })
	return c
}

var oneSpan = []*tracepb.ResourceSpans{{ScopeSpans: []*tracepb.ScopeSpans{{Spans: []*tracepb.Span{{Name: "one"}}}}}}

// A collector that is busy is asked again, with the same spans.
func TestUploadTriesAgain(t *testing.T) {
	var n atomic.Int64
	c := clientOf(t, func(w http.ResponseWriter, r *http.Request) {
		if n.Add(1) == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		var got tracepb.TracesData
		z, err := gzip.NewReader(r.Body)
		if err != nil {
			t.Error(err)
			return
		}
		body, err := io.ReadAll(z)
		if err != nil || proto.Unmarshal(body, &got) != nil || got.ResourceSpans[0].ScopeSpans[0].Spans[0].Name != "one" ||
			r.URL.Path != "/v1/traces" || r.Header.Get("X-Key") != "k" || r.Header.Get("Content-Type") != "application/x-protobuf" {
			t.Errorf("%s %v: %v, %v", r.URL, r.Header, &got, err)
		}
	})
	if err := c.UploadTraces(t.Context(), oneSpan); err != nil || n.Load() != 2 {
		t.Errorf("%d requests, %v", n.Load(), err)
	}
}

// One that refuses is not, and one that sends elsewhere is not followed.
func TestUploadGivesUp(t *testing.T) {
	for _, status := range []int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusTemporaryRedirect} {
		var n atomic.Int64
		c := clientOf(t, func(w http.ResponseWriter, _ *http.Request) {
			n.Add(1)
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(status)
		})
		if err := c.UploadTraces(t.Context(), oneSpan); err == nil || n.Load() != 1 {
			t.Errorf("%d: %d requests, %v", status, n.Load(), err)
		}
	}
	c := clientOf(t, nil)
	c.url = "http://user:secret@127.0.0.1:1/v1/traces"
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := c.UploadTraces(ctx, oneSpan); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("a collector that is not there: %v", err)
	}
}
