package app

import (
	"context"
	"time"

	"github.com/sluicehq/sluice/internal/tracing"
)

// traceTimeout bounds the export of the last spans.
const traceTimeout = 5 * time.Second

// startTracer starts tracing if the environment asks for it.
func (a *App) startTracer(ctx context.Context) (stop func(), err error) {
	if a.tracer, err = tracing.Start(ctx, a.log); err != nil {
		return nil, err
	}
	return func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), traceTimeout)
		defer cancel()
		if err := a.tracer.Stop(ctx); err != nil {
			a.log.Warn("stopped without its last spans", "err", err)
		}
	}, nil
}
