package tracing

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.41.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/sluicehq/sluice/sdk/wire/jsonscan"
)

// Attributes beside those of OpenTelemetry's conventions.
const (
	keyJob        = attribute.Key("sluice.job")
	keyTenant     = attribute.Key("sluice.tenant")
	keyClass      = attribute.Key("sluice.class")
	keyRoute      = attribute.Key("sluice.route")
	keyOutcome    = attribute.Key("sluice.outcome")
	keyAttempt    = attribute.Key("sluice.attempt")
	keyPool       = attribute.Key("sluice.pool")
	keyStrategy   = attribute.Key("sluice.strategy")
	keyCandidates = attribute.Key("sluice.candidates")
	keyExcluded   = attribute.Key("sluice.candidates_excluded")
	keyCost       = attribute.Key("sluice.cost_nano_usd")
	keyShadow     = attribute.Key("sluice.shadow")
)

// Request begins the span of a client's request that came at a time, with a
// traceparent and tracestate ("": none).
func (t *Tracer) Request(ctx context.Context, parent, state string, e wire.Endpoint, at time.Time) Span {
	if t == nil {
		return Span{}
	}
	s := t.start(ctx, parent, state, "POST "+string(e), trace.SpanKindServer, at)
	if s.recording() {
		s.span.SetAttributes(semconv.HTTPRequestMethodPost, semconv.HTTPRoute(string(e)))
	}
	return s
}

// Answered is how a request went.
type Answered struct {
	Meta    *wire.Meta // of its job; nil: none came of it
	HTTP    int        // status of the answer, 0: none
	Outcome string     // as the gateway's metrics count it
	Failed  bool       // for a reason that is not the client's
}

// Answered ends a request's span.
func (s Span) Answered(a Answered) {
	if s.span == nil {
		return
	}
	if s.recording() {
		s.span.SetAttributes(keyOutcome.String(a.Outcome))
		if m := a.Meta; m != nil {
			s.span.SetAttributes(jobOf(m)...)
		}
		if a.HTTP != 0 {
			s.span.SetAttributes(semconv.HTTPResponseStatusCode(a.HTTP))
		}
		if a.Failed {
			s.fail(a.Outcome)
		}
	}
	s.span.End()
}

// Decision begins the span of a router's decision about a job. A job without
// a traceparent gets the span's.
func (t *Tracer) Decision(ctx context.Context, m *wire.Meta, at time.Time) Span {
	if t == nil {
		return Span{}
	}
	s := t.start(ctx, m.Trace, m.TraceState, "decision", trace.SpanKindInternal, at)
	if m.Trace == "" {
		m.Trace = s.Traceparent()
	}
	return s
}

// Decided ends a decision's span with the attempt that it led to.
func (s Span) Decided(m *wire.Meta, a *wire.Attempt) {
	if s.span == nil {
		return
	}
	if s.recording() {
		s.span.SetAttributes(jobOf(m)...)
		s.span.SetAttributes(keyAttempt.Int(a.N), keyPool.String(a.Pool), keyStrategy.String(a.Strategy), semconv.GenAIRequestModel(a.Model))
		if d := a.Decision; d != nil {
			excluded := 0
			for i := range d.Candidates {
				if d.Candidates[i].Excluded != "" {
					excluded++
				}
			}
			s.span.SetAttributes(keyCandidates.Int(len(d.Candidates)), keyExcluded.Int(excluded))
		}
	}
	s.span.End()
}

// Attempt tells of the wait in the queues of an attempt that was just claimed,
// and begins the span of its call.
func (t *Tracer) Attempt(ctx context.Context, asg *wire.Assignment) Span {
	if t == nil {
		return Span{}
	}
	m, a, claimed := &asg.Meta, asg.Attempt, time.Now()
	since := time.Unix(0, max(asg.Progress.ReadyAt, m.SubmittedAt))
	if since.After(claimed) {
		since = claimed // the server's clock is ahead of this one
	}
	queue := t.start(ctx, m.Trace, m.TraceState, "queue", trace.SpanKindInternal, since)
	if queue.recording() {
		queue.span.SetAttributes(jobOf(m)...)
		queue.span.SetAttributes(keyAttempt.Int(a.N), keyPool.String(a.Pool))
	}
	queue.span.End(trace.WithTimestamp(claimed))
	return t.call(ctx, m, a, claimed)
}

// Past tells of an attempt that somebody else has claimed, and that has just
// been ended in his place: a worker that vanished, or a bundle. body is the
// answer, if there is one.
func (t *Tracer) Past(ctx context.Context, m *wire.Meta, a *wire.Attempt, claimed time.Time, body []byte) {
	if t == nil {
		return
	}
	if now := time.Now(); claimed.After(now) {
		claimed = now // the server's clock is ahead of this one
	}
	t.call(ctx, m, a, claimed).Ended(a, body)
}

// call begins the span of an attempt's call.
func (t *Tracer) call(ctx context.Context, m *wire.Meta, a *wire.Attempt, at time.Time) Span {
	s := t.start(ctx, m.Trace, m.TraceState, operation(m.Endpoint)+" "+a.Model, trace.SpanKindClient, at)
	if s.recording() {
		s.span.SetAttributes(jobOf(m)...)
		s.span.SetAttributes(semconv.GenAIOperationNameKey.String(operation(m.Endpoint)), semconv.GenAIProviderNameKey.String(provider(a.Provider)),
			semconv.GenAIRequestModel(a.Model), semconv.GenAIRequestStreamKey.Bool(m.Stream), keyAttempt.Int(a.N), keyPool.String(a.Pool))
	}
	return s
}

// Ended ends an attempt's span; body is the answer, of which only the finish
// reasons are taken (I2).
func (s Span) Ended(a *wire.Attempt, body []byte) {
	if s.span == nil {
		return
	}
	if s.recording() {
		u := &a.Usage
		s.span.SetAttributes(semconv.GenAIUsageInputTokens(int(u.Input+u.CacheRead+u.CacheWrite)), semconv.GenAIUsageOutputTokens(int(u.Output+u.Reasoning)))
		count := func(key attribute.Key, n int64) {
			if n > 0 {
				s.span.SetAttributes(key.Int64(n))
			}
		}
		count(semconv.GenAIUsageCacheReadInputTokensKey, u.CacheRead)
		count(semconv.GenAIUsageCacheCreationInputTokensKey, u.CacheWrite)
		count(semconv.GenAIUsageReasoningOutputTokensKey, u.Reasoning)
		count(semconv.HTTPResponseStatusCodeKey, int64(a.HTTP))
		if a.TTFTMS > 0 {
			s.span.SetAttributes(semconv.GenAIResponseTimeToFirstChunkKey.Float64(float64(a.TTFTMS) / 1000))
		}
		if a.Cost != nil {
			s.span.SetAttributes(keyCost.Int64(int64(*a.Cost)))
		}
		if r := finishReasons(body); len(r) > 0 {
			s.span.SetAttributes(semconv.GenAIResponseFinishReasons(r...))
		}
		if a.Status != wire.Succeeded {
			s.fail(string(a.ErrorCode))
		}
	}
	s.span.End()
}

// fail marks the span with a code; never with a text (I2).
func (s Span) fail(code string) {
	s.span.SetAttributes(semconv.ErrorTypeKey.String(code))
	s.span.SetStatus(codes.Error, "")
}

// jobOf is what every span says of its job.
func jobOf(m *wire.Meta) []attribute.KeyValue {
	kv := append(make([]attribute.KeyValue, 0, 5), keyTenant.String(m.Tenant), keyClass.String(string(m.Class)), keyRoute.String(m.Route))
	if m.ID != "" {
		kv = append(kv, keyJob.String(m.ID))
	}
	if m.Shadow != "" {
		kv = append(kv, keyShadow.String(m.Shadow))
	}
	return kv
}

// operation is the convention's word for an endpoint.
func operation(e wire.Endpoint) string {
	switch e {
	case wire.Embeddings:
		return "embeddings"
	case wire.Completions:
		return "text_completion"
	}
	return "chat"
}

// provider is the convention's word for a provider that it knows.
func provider(name string) string {
	switch name {
	case "gemini":
		return "gcp.gemini"
	case "bedrock":
		return "aws.bedrock"
	case "azure":
		return "azure.ai.openai"
	case "mistral":
		return "mistral_ai"
	case "xai":
		return "x_ai"
	}
	return name
}

// maxReason bounds what counts as a finish reason: a word, not a text.
const maxReason = 32

// finishReasons are an answer's, in the words of its endpoint.
func finishReasons(body []byte) (out []string) {
	add := func(raw []byte) {
		if r := jsonscan.String(raw); r != "" && len(r) <= maxReason {
			out = append(out, r)
		}
	}
	if choices := jsonscan.Get(body, "choices"); len(choices) > 0 {
		list := jsonscan.NewArray(choices)
		for c, ok := list.Next(); ok; c, ok = list.Next() {
			add(jsonscan.Get(c, "finish_reason"))
		}
		return out
	}
	add(jsonscan.Get(body, "stop_reason")) // messages
	if jsonscan.String(jsonscan.Get(body, "object")) == "response" {
		add(jsonscan.Get(body, "status"))
	}
	return out
}
