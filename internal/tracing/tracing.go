package tracing

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Tracer makes spans. Nil is one that is off: all its methods may be called
// and do nothing. It is safe for concurrent use.
type Tracer struct {
	tracer   trace.Tracer
	provider *sdktrace.TracerProvider
}

// scope names this library in what is exported.
const scope = "github.com/sluicehq/sluice"

// Start makes a Tracer as OpenTelemetry's standard variables say (OTEL_…). It
// is nil, and tracing off, unless they name an OTLP endpoint, or otlp as the
// exporter of traces. An error names the variable that cannot be followed. It
// does no I/O.
func Start(ctx context.Context, log *slog.Logger) (*Tracer, error) {
	on, err := wanted(os.Getenv)
	if err == nil && !on {
		return nil, nil
	}
	to, fault := newClient(os.Getenv)
	if err = errors.Join(err, fault); err != nil {
		return nil, fmt.Errorf("tracing: %w", err)
	}
	exporter, err := otlptrace.New(ctx, to)
	if err != nil {
		return nil, fmt.Errorf("tracing: %w", err)
	}
	host, _ := os.Hostname() // only for people
	about, err := resource.New(ctx, resource.WithAttributes(attribute.String("service.name", "sluice"), attribute.String("host.name", host)),
		resource.WithTelemetrySDK(), resource.WithFromEnv()) // the later win
	if err != nil {
		return nil, fmt.Errorf("tracing: OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Warn("spans are not exported", "err", err) }))
	p := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(about))
	return &Tracer{tracer: p.Tracer(scope), provider: p}, nil
}

// wanted reports whether the environment asks for traces.
func wanted(getenv func(string) string) (bool, error) {
	if strings.EqualFold(getenv("OTEL_SDK_DISABLED"), "true") {
		return false, nil
	}
	exporter := getenv("OTEL_TRACES_EXPORTER")
	_, endpoint := setting(getenv, "ENDPOINT")
	switch {
	case exporter == "none", exporter == "" && endpoint == "":
		return false, nil
	case exporter != "" && exporter != "otlp":
		return false, fmt.Errorf("OTEL_TRACES_EXPORTER is %.40q: only otlp (or none) is known", exporter)
	}
	return true, nil
}

// Stop exports what is left, until ctx ends, and ends the Tracer.
func (t *Tracer) Stop(ctx context.Context) error {
	if t == nil {
		return nil
	}
	if err := t.provider.Shutdown(ctx); err != nil {
		return fmt.Errorf("tracing: the last spans are not exported: %w", err)
	}
	return nil
}

// Span is a step of a job's way. The zero value is one that nobody records;
// all its methods do nothing. It belongs to one goroutine.
type Span struct{ span trace.Span }

// Traceparent is the W3C trace context of the span, for what it causes; "" for
// the zero Span.
func (s Span) Traceparent() string {
	if s.span == nil {
		return ""
	}
	c := s.span.SpanContext()
	return "00-" + c.TraceID().String() + "-" + c.SpanID().String() + "-" + c.TraceFlags().String()
}

// recording reports whether what the span is given goes anywhere.
func (s Span) recording() bool { return s.span != nil && s.span.IsRecording() }

// known clears the flags that version 00 of a traceparent does not define: for
// those the library would drop the whole of it.
func known(parent string) string {
	const flags = len("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-")
	if len(parent) != flags+2 || parent[:3] != "00-" {
		return parent
	}
	n, err := strconv.ParseUint(parent[flags:], 16, 8)
	if err != nil || n <= 3 {
		return parent
	}
	return fmt.Sprintf("%s%02x", parent[:flags], n&3)
}

// start begins a span below the one that a traceparent names, or a new trace.
func (t *Tracer) start(ctx context.Context, parent, state, name string, kind trace.SpanKind, at time.Time) Span {
	ctx = trace.ContextWithSpanContext(ctx, trace.SpanContext{}) // the parent is what the job says
	if parent != "" {
		ctx = propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{"traceparent": known(parent), "tracestate": state})
	}
	_, span := t.tracer.Start(ctx, name, trace.WithSpanKind(kind), trace.WithTimestamp(at))
	return Span{span}
}
