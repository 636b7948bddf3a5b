package tracing

import (
	"strings"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/sluicehq/sluice/sdk/wire"
)

// FuzzParent: whatever a client says of the trace that it is in, a request's
// span goes on with what a job may carry, and is one that a job may carry.
func FuzzParent(f *testing.F) {
	f.Add("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7")
	f.Add("00-00000000000000000000000000000000-b7ad6b7169203331-01", "")
	f.Add("ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x", "a=b,a=c")
	f.Add("01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-ff", strings.Repeat("a=b,", 200))
	f.Add("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-07", "") // flags of the future
	f.Add("", "\x00")
	p := sdktrace.NewTracerProvider()
	tracer := &Tracer{tracer: p.Tracer(scope), provider: p}
	f.Fuzz(func(t *testing.T, parent, state string) {
		header := map[string][]string{wire.HeaderTrace: {parent}, wire.HeaderState: {state}}
		job, fault := wire.ParseJob("acme", wire.Batch, header, []byte(`{"model":"chat","messages":[{"role":"user","content":"x"}]}`), 1, time.Unix(1_800_000_000, 0))
		s := tracer.Request(t.Context(), parent, state, wire.ChatCompletions, time.Unix(1_800_000_000, 0))
		s.Answered(Answered{Outcome: "ok", HTTP: 200})
		own := s.Traceparent()
		if fault == nil && job.Trace != "" && job.Trace != parent {
			t.Fatalf("%q becomes %q", parent, job.Trace)
		}
		if fault == nil && job.Trace != "" && !strings.Contains(parent, strings.Repeat("0", 16)) && !strings.Contains(own, parent[3:35]) {
			t.Fatalf("%q is gone on with by %q", parent, own)
		}
		header = map[string][]string{wire.HeaderTrace: {own}}
		if again, fault := wire.ParseJob("acme", wire.Batch, header, []byte(`{"model":"chat","messages":[{"role":"user","content":"x"}]}`), 1, time.Unix(1_800_000_000, 0)); fault != nil || again.Trace != own {
			t.Fatalf("%q: %v", own, fault)
		}
	})
}

// FuzzSettings: whatever the variables of OpenTelemetry hold, a fault names
// its variable and shows no key.
func FuzzSettings(f *testing.F) {
	f.Add("https://u:Geh3im@host/otel", "x-key=Geh3im, other=1,", "1500", "gzip", "http/protobuf")
	f.Add("http://no\x7f", "Geh3im", "1s", "zstd", "grpc")
	f.Add("", "a=%zzGeh3im", "-1", "", "")
	f.Fuzz(func(t *testing.T, endpoint, headers, timeout, compression, protocol string) {
		if strings.Contains(timeout+compression+protocol, "Geh3im") {
			return // they hold no key
		}
		env := map[string]string{"ENDPOINT": endpoint, "HEADERS": headers, "TIMEOUT": timeout, "COMPRESSION": compression, "PROTOCOL": protocol}
		c, err := newClient(func(name string) string { return env[strings.TrimPrefix(name, "OTEL_EXPORTER_OTLP_")] })
		if err != nil && (!strings.Contains(err.Error(), "OTEL_EXPORTER_OTLP_") || strings.Contains(err.Error(), "Geh3im")) {
			t.Fatal(err)
		}
		if err == nil && (c.http.Timeout <= 0 || !strings.HasPrefix(c.url, "http")) {
			t.Fatalf("%+v", c)
		}
	})
}
