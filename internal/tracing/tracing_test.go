package tracing

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/sluicehq/sluice/sdk/wire"
)

const (
	clientTrace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	unsampled   = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
)

// recorder is a Tracer whose spans stay in memory.
func recorder(t *testing.T) (*Tracer, *tracetest.InMemoryExporter) {
	t.Helper()
	out := tracetest.NewInMemoryExporter()
	p := sdktrace.NewTracerProvider(sdktrace.WithSyncer(out))
	return &Tracer{tracer: p.Tracer(scope), provider: p}, out
}

func TestWanted(t *testing.T) {
	const endpoint, traces = "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
	for _, c := range []struct {
		env   map[string]string
		on    bool
		fault string
	}{
		{nil, false, ""},
		{map[string]string{endpoint: "http://127.0.0.1:4318"}, true, ""},
		{map[string]string{traces: "https://example.com/v1/traces"}, true, ""},
		{map[string]string{"OTEL_TRACES_EXPORTER": "otlp"}, true, ""},
		{map[string]string{endpoint: "http://127.0.0.1:4318", "OTEL_TRACES_EXPORTER": "none"}, false, ""},
		{map[string]string{endpoint: "http://127.0.0.1:4318", "OTEL_SDK_DISABLED": "True"}, false, ""},
		{map[string]string{endpoint: "http://127.0.0.1:4318", "OTEL_TRACES_EXPORTER": "zipkin"}, false, "OTEL_TRACES_EXPORTER"},
	} {
		on, err := wanted(func(name string) string { return c.env[name] })
		if on != c.on || (err == nil) != (c.fault == "") || err != nil && !strings.Contains(err.Error(), c.fault) {
			t.Errorf("%v: %v, %v", c.env, on, err)
		}
	}
}

func TestStartIsOffUnlessAsked(t *testing.T) {
	for _, name := range []string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_TRACES_EXPORTER"} {
		t.Setenv(name, "")
	}
	tr, err := Start(t.Context(), slog.Default())
	if tr != nil || err != nil {
		t.Errorf("%v, %v", tr, err)
	}
	if err := tr.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}

// assignment is an attempt at a job that was submitted two seconds ago.
func assignment(parent string) *wire.Assignment {
	cost := wire.NanoUSD(42)
	return &wire.Assignment{
		Meta: wire.Meta{ID: "job-1", Tenant: "acme", Class: wire.Interactive, Endpoint: wire.ChatCompletions, Route: "chat", Trace: parent,
			SubmittedAt: time.Now().Add(-2 * time.Second).UnixNano()},
		Attempt: &wire.Attempt{N: 2, Pool: "p1", Provider: "gemini", Model: "m1", Strategy: "weighted", Cost: &cost, HTTP: 200, TTFTMS: 250,
			Status: wire.Succeeded, Usage: wire.Usage{Input: 10, CacheRead: 5, CacheWrite: 1, Output: 7, Reasoning: 3},
			Decision: &wire.Decision{Candidates: []wire.Candidate{{Pool: "p1"}, {Pool: "p2", Excluded: "full"}}}},
	}
}

// walk makes the spans of a request that is decided about and attempted.
func walk(t *Tracer, parent string, body []byte) (asg *wire.Assignment, provider string) {
	ctx := context.Background()
	req := t.Request(ctx, parent, "vendor=1", wire.ChatCompletions, time.Now())
	asg = assignment(req.Traceparent())
	d := t.Decision(ctx, &asg.Meta, time.Now())
	d.Decided(&asg.Meta, asg.Attempt)
	a := t.Attempt(ctx, asg)
	provider = a.Traceparent()
	a.Ended(asg.Attempt, body)
	req.Answered(Answered{Meta: &asg.Meta, HTTP: 200, Outcome: "succeeded"})
	return asg, provider
}

// found is the span with a name.
func found(t *testing.T, out *tracetest.InMemoryExporter, name string) tracetest.SpanStub {
	t.Helper()
	spans := out.GetSpans()
	i := slices.IndexFunc(spans, func(s tracetest.SpanStub) bool { return s.Name == name })
	if i < 0 {
		t.Fatalf("no span %q among %d", name, len(spans))
	}
	return spans[i]
}

func attributes(s tracetest.SpanStub) map[string]any {
	m := map[string]any{}
	for _, kv := range s.Attributes {
		m[string(kv.Key)] = kv.Value.AsInterface()
	}
	return m
}

// TestPast: an attempt that was ended in another's place has its span too, from
// the claim on; and each span says the trace's state.
func TestPast(t *testing.T) {
	tr, out := recorder(t)
	asg := assignment(clientTrace)
	asg.Meta.TraceState = "vendor=1,other=2"
	asg.Attempt.Status, asg.Attempt.ErrorCode = wire.Interrupted, wire.CodeInterrupted
	claimed := time.Now().Add(-time.Minute)
	tr.Past(t.Context(), &asg.Meta, asg.Attempt, claimed, nil)
	s := found(t, out, "chat m1")
	if s.Parent.SpanID().String() != "b7ad6b7169203331" || s.SpanKind != trace.SpanKindClient || !s.StartTime.Equal(claimed) || s.EndTime.Sub(claimed) < time.Minute {
		t.Errorf("%+v from %s to %s", s.Parent, s.StartTime, s.EndTime)
	}
	if a := attributes(s); a["error.type"] != "interrupted" || a["sluice.attempt"] != int64(2) || a["sluice.cost_nano_usd"] != int64(42) || s.Status.Code != codes.Error {
		t.Errorf("%v, %v", a, s.Status)
	}
	if got := s.SpanContext.TraceState().String(); got != asg.Meta.TraceState {
		t.Errorf("state %q", got)
	}
	tr.Past(t.Context(), &asg.Meta, asg.Attempt, time.Now().Add(time.Hour), nil) // a clock that is ahead
	if s := out.GetSpans()[1]; s.EndTime.Before(s.StartTime) {
		t.Errorf("from %s to %s", s.StartTime, s.EndTime)
	}
	(*Tracer)(nil).Past(t.Context(), &asg.Meta, asg.Attempt, claimed, nil)
}

func TestSpans(t *testing.T) {
	tr, out := recorder(t)
	answer := []byte(`{"object":"chat.completion","choices":[{"finish_reason":"stop","message":{"content":"a secret answer"}},{"finish_reason":"length"}]}`)
	_, provider := walk(tr, clientTrace, answer)
	request, queue, decision, attempt := found(t, out, "POST /v1/chat/completions"), found(t, out, "queue"), found(t, out, "decision"), found(t, out, "chat m1")
	if request.Parent.SpanID().String() != "b7ad6b7169203331" || request.SpanKind != trace.SpanKindServer || attempt.SpanKind != trace.SpanKindClient {
		t.Errorf("parent %v, kinds %v and %v", request.Parent, request.SpanKind, attempt.SpanKind)
	}
	for _, s := range []tracetest.SpanStub{queue, decision, attempt} {
		if s.Parent.SpanID() != request.SpanContext.SpanID() || s.SpanContext.TraceID().String() != "0af7651916cd43dd8448eb211c80319c" {
			t.Errorf("%s hangs below %v in trace %v", s.Name, s.Parent.SpanID(), s.SpanContext.TraceID())
		}
	}
	if want := "00-" + attempt.SpanContext.TraceID().String() + "-" + attempt.SpanContext.SpanID().String() + "-01"; provider != want {
		t.Errorf("the provider gets %s, want %s", provider, want)
	}
	if d := queue.EndTime.Sub(queue.StartTime); d < 2*time.Second || queue.EndTime.After(attempt.StartTime.Add(time.Second)) {
		t.Errorf("queued for %v until %v, attempt from %v", d, queue.EndTime, attempt.StartTime)
	}
	got := attributes(attempt)
	for name, want := range map[string]any{
		"gen_ai.operation.name": "chat", "gen_ai.provider.name": "gcp.gemini", "gen_ai.request.model": "m1", "gen_ai.request.stream": false,
		"gen_ai.usage.input_tokens": int64(16), "gen_ai.usage.output_tokens": int64(10), "gen_ai.usage.cache_read.input_tokens": int64(5),
		"gen_ai.usage.cache_creation.input_tokens": int64(1), "gen_ai.usage.reasoning.output_tokens": int64(3),
		"gen_ai.response.time_to_first_chunk": 0.25, "http.response.status_code": int64(200), "sluice.cost_nano_usd": int64(42),
		"sluice.pool": "p1", "sluice.job": "job-1", "sluice.tenant": "acme", "sluice.attempt": int64(2),
	} {
		if got[name] != want {
			t.Errorf("%s is %v, want %v", name, got[name], want)
		}
	}
	if r, _ := got["gen_ai.response.finish_reasons"].([]string); !slices.Equal(r, []string{"stop", "length"}) {
		t.Errorf("finish reasons %v", got["gen_ai.response.finish_reasons"])
	}
	if d := attributes(decision); d["sluice.candidates"] != int64(2) || d["sluice.candidates_excluded"] != int64(1) || d["sluice.strategy"] != "weighted" {
		t.Errorf("decision %v", d)
	}
	for _, s := range out.GetSpans() { // I2
		for k, v := range attributes(s) {
			if text, ok := v.(string); ok && strings.Contains(text, "secret") {
				t.Errorf("%s of %s tells the answer", k, s.Name)
			}
		}
	}
}

// A job without a traceparent has its trace begun by its first decision.
func TestDecisionBeginsATrace(t *testing.T) {
	tr, out := recorder(t)
	asg := assignment("")
	for range 2 { // decided about again after a failure
		d := tr.Decision(t.Context(), &asg.Meta, time.Now())
		d.Decided(&asg.Meta, asg.Attempt)
		tr.Attempt(t.Context(), asg).Ended(asg.Attempt, nil)
	}
	spans := out.GetSpans()
	root := spans[0]
	if len(spans) != 6 || root.Parent.IsValid() || !strings.Contains(asg.Meta.Trace, root.SpanContext.SpanID().String()) {
		t.Fatalf("%d spans; the first's parent is %v; the job's trace %s", len(spans), root.Parent, asg.Meta.Trace)
	}
	for _, s := range spans[1:] {
		if s.Parent.SpanID() != root.SpanContext.SpanID() {
			t.Errorf("%s hangs below %v", s.Name, s.Parent.SpanID())
		}
	}
}

// I4: what the client does not sample is passed on and recorded nowhere.
func TestUnsampled(t *testing.T) {
	tr, out := recorder(t)
	asg, provider := walk(tr, unsampled, nil)
	if n := len(out.GetSpans()); n != 0 {
		t.Errorf("%d spans", n)
	}
	for _, p := range []string{asg.Meta.Trace, provider} {
		if !strings.HasPrefix(p, "00-0af7651916cd43dd8448eb211c80319c-") || !strings.HasSuffix(p, "-00") {
			t.Errorf("passed on is %q", p)
		}
	}
}

// I2: a failure says its code and nothing else.
func TestFailures(t *testing.T) {
	tr, out := recorder(t)
	asg := assignment(clientTrace)
	asg.Attempt.Status, asg.Attempt.ErrorCode, asg.Attempt.HTTP = wire.Failed, wire.CodeProviderError, 500
	tr.Attempt(t.Context(), asg).Ended(asg.Attempt, nil)
	tr.Request(t.Context(), "nonsense", "", wire.Responses, time.Now()).Answered(Answered{HTTP: 502, Outcome: "failed", Failed: true})
	a, r := found(t, out, "chat m1"), found(t, out, "POST /v1/responses")
	if a.Status.Code != codes.Error || a.Status.Description != "" || attributes(a)["error.type"] != string(wire.CodeProviderError) {
		t.Errorf("attempt %v %v", a.Status, attributes(a))
	}
	if r.Status.Code != codes.Error || r.Parent.IsValid() || attributes(r)["sluice.outcome"] != "failed" {
		t.Errorf("request %v below %v", r.Status, r.Parent)
	}
}

func TestFinishReasons(t *testing.T) {
	for body, want := range map[string][]string{
		``:                           nil,
		`{"choices":[]}`:             nil,
		`{"stop_reason":"end_turn"}`: {"end_turn"},
		`{"stop_reason":null}`:       nil,
		`{"object":"response","status":"completed","output":[]}`:            {"completed"},
		`{"object":"list","status":"x"}`:                                    nil,
		`{"choices":[{"finish_reason":"` + strings.Repeat("x", 99) + `"}]}`: nil, // a text, not a word
	} {
		if got := finishReasons([]byte(body)); !slices.Equal(got, want) {
			t.Errorf("%.60s: %v, want %v", body, got, want)
		}
	}
}

// I1: off, nothing is allocated.
func TestOffIsFree(t *testing.T) {
	var off *Tracer
	if n := testing.AllocsPerRun(100, func() { _, _ = walkOff(off) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	asg, provider := walk(off, clientTrace, nil)
	if asg.Meta.Trace != "" || provider != "" || off.Stop(t.Context()) != nil {
		t.Errorf("%q, %q", asg.Meta.Trace, provider)
	}
}

var (
	someJob = assignment(clientTrace)
	now     = time.Now()
)

// walkOff is walk without what walk itself allocates.
func walkOff(t *Tracer) (string, error) {
	ctx := context.Background()
	req := t.Request(ctx, clientTrace, "", wire.ChatCompletions, now)
	t.Decision(ctx, &someJob.Meta, now).Decided(&someJob.Meta, someJob.Attempt)
	a := t.Attempt(ctx, someJob)
	a.Ended(someJob.Attempt, nil)
	req.Answered(Answered{Outcome: "succeeded"})
	if req.recording() {
		return "", errors.New("it records")
	}
	return a.Traceparent(), nil
}

// BenchmarkOff is what tracing costs a job where it is off.
func BenchmarkOff(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		_, _ = walkOff(nil)
	}
}

// BenchmarkOn is what it costs where each trace is recorded.
func BenchmarkOn(b *testing.B) {
	p := sdktrace.NewTracerProvider(sdktrace.WithBatcher(tracetest.NewNoopExporter()))
	t := &Tracer{tracer: p.Tracer(scope), provider: p}
	b.ReportAllocs()
	for b.Loop() {
		_, _ = walkOff(t)
	}
}
