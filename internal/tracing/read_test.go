package tracing

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
)

// What is exported is read as it was.
func TestReadSpans(t *testing.T) {
	var got []Seen
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			got, err = ReadSpans(body)
		}
		if err != nil {
			t.Error(err)
		}
	}))
	defer srv.Close()
	c, err := newClient(func(name string) string {
		return map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": srv.URL}[name]
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Stop(context.Background()) }()
	job := &commonpb.KeyValue{Key: string(keyJob), Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: "j7"}}}
	if err := c.UploadTraces(t.Context(), []*tracepb.ResourceSpans{{ScopeSpans: []*tracepb.ScopeSpans{{Spans: []*tracepb.Span{
		{Name: "queue", StartTimeUnixNano: 5, EndTimeUnixNano: 8, Attributes: []*commonpb.KeyValue{job}}, {Name: "other"},
	}}}}}); err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || got[0] != (Seen{"queue", "j7", time.Unix(0, 5), time.Unix(0, 8)}) || got[1].Job != "" {
		t.Errorf("%+v", got)
	}
	if _, err := ReadSpans([]byte("no spans")); err == nil {
		t.Error("text is read as spans")
	}
}
