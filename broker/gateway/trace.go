package gateway

import (
	"net/http"
	"strings"

	"github.com/sluicehq/sluice/internal/tracing"
)

// statusWriter keeps the status of an answer, for its span.
type statusWriter struct {
	http.ResponseWriter
	status int
}

// WriteHeader implements http.ResponseWriter.
func (w *statusWriter) WriteHeader(status int) {
	if w.status == 0 && status >= http.StatusOK {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap is what http.ResponseController looks for.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// trace begins the request's span, below the client's own if it names one.
func (c *call) trace() http.ResponseWriter {
	c.span = c.g.cfg.Tracer.Request(c.r.Context(), c.r.Header.Get("Traceparent"), strings.Join(c.r.Header["Tracestate"], ","), c.endpoint, c.start)
	c.w = &statusWriter{ResponseWriter: c.w}
	return c.w
}

// traced ends the request's span.
func (c *call) traced() {
	a := tracing.Answered{Outcome: string(c.outcome), HTTP: c.w.(*statusWriter).status}
	if c.req != nil {
		a.Meta = &c.req.meta
	}
	switch {
	case c.outcome == gone: // nobody saw a status
		a.HTTP = 0
	case a.HTTP >= http.StatusInternalServerError, c.outcome == broken, c.outcome == stopped:
		a.Failed = true
	}
	c.span.Answered(a)
}
