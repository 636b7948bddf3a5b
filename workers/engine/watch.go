package engine

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// Causes that end a call from inside the engine.
var (
	errTimeout  = errors.New("call time-out")
	errHeader   = errors.New("response header time-out")
	errIdle     = errors.New("stream idle time-out")
	errDeadline = errors.New("job deadline")
)

// watch ends a call's context when a limit is passed. One timer serves them
// all: it is not moved at every read, but looks at the last progress when it
// fires.
type watch struct {
	cancel   context.CancelCauseFunc
	end      time.Time // of the call
	endCause error

	progress atomic.Int64 // nanoseconds from start to the last sign of life
	start    time.Time

	mu      sync.Mutex
	timer   *time.Timer
	silence time.Duration // longest allowed between signs of life, 0: any
	cause   error         // when that is passed
	stopped bool
}

// newWatch derives a context that ends at the job's deadline or the call's
// time-out, whichever is first. The caller must call stop.
func newWatch(parent context.Context, start time.Time, timeout time.Duration, deadline int64) (context.Context, *watch) {
	ctx, cancel := context.WithCancelCause(parent)
	w := &watch{cancel: cancel, start: start, end: start.Add(timeout), endCause: errTimeout}
	if at := time.Unix(0, deadline); deadline != 0 && at.Before(w.end) {
		w.end, w.endCause = at, errDeadline
	}
	w.timer = time.AfterFunc(w.end.Sub(start), w.fire)
	return ctx, w
}

// allow sets the longest silence from now on, and its cause.
func (w *watch) allow(silence time.Duration, cause error) {
	w.alive()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.silence, w.cause = silence, cause
	if !w.stopped {
		w.timer.Reset(min(silence, time.Until(w.end)))
	}
}

// alive notes a sign of life.
func (w *watch) alive() { w.progress.Store(int64(time.Since(w.start))) }

func (w *watch) fire() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stopped {
		return
	}
	now := time.Now()
	left := w.end.Sub(now)
	if left <= 0 {
		w.cancel(w.endCause)
		return
	}
	if w.silence > 0 {
		quiet := w.silence - (now.Sub(w.start) - time.Duration(w.progress.Load()))
		if quiet <= 0 {
			w.cancel(w.cause)
			return
		}
		left = min(left, quiet)
	}
	w.timer.Reset(left)
}

// stop releases the timer and the context.
func (w *watch) stop() {
	w.mu.Lock()
	w.stopped = true
	w.mu.Unlock()
	w.timer.Stop()
	w.cancel(nil)
}
