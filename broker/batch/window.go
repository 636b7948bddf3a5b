package batch

import (
	"context"
	"sync"

	"github.com/sluicehq/sluice/sdk/wire"
)

// entry is a line on its way.
type entry struct {
	id    string    // custom_id
	meta  wire.Meta // of its job; only with job
	job   bool      // it may have a job
	taken bool      // its result is known, not committed yet
}

// window holds the lines between their submission and the commit of their
// results (I2). It is safe for concurrent use.
type window struct {
	mu      sync.Mutex
	changed sync.Cond
	size    int
	lines   map[int64]*entry
	ended   bool // no line will be added any more
}

// placedWindow is how many times Config.Window the lines are that may be on
// their way where a provider's batch API takes up to a day for them.
const placedWindow = 8

// size is that of the window (I2).
func (r *run) size() int {
	if r.m.Placement == wire.AtProvider || r.m.Placement == wire.Auto {
		return placedWindow * r.s.cfg.Window
	}
	return r.s.cfg.Window
}

func newWindow(size int) *window {
	w := &window{size: size, lines: make(map[int64]*entry)}
	w.changed.L = &w.mu
	return w
}

// wait waits until ready, which is called with w.mu held, or ctx ends. It
// returns with w.mu held, and ctx's cause if that came first.
func (w *window) wait(ctx context.Context, ready func() bool) error {
	defer context.AfterFunc(ctx, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.changed.Broadcast()
	})()
	w.mu.Lock()
	for !ready() {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		w.changed.Wait()
	}
	return nil
}

// add waits for room and adds a line.
func (w *window) add(ctx context.Context, line int64, e entry) error {
	w.mu.Lock()
	if len(w.lines) >= w.size {
		w.mu.Unlock()
		if err := w.wait(ctx, func() bool { return len(w.lines) < w.size }); err != nil {
			w.mu.Unlock()
			return err
		}
	}
	defer w.mu.Unlock()
	w.lines[line] = &e
	w.changed.Broadcast()
	return nil
}

// end says that no line will be added any more.
func (w *window) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = true
	w.changed.Broadcast()
}

// take marks a line as having its result; ok is false if it is none of ours,
// or has one already. A line that was submitted by an earlier owner of the
// batch may still have to be added: it is among those that fit in (I2).
func (w *window) take(ctx context.Context, line int64) (e entry, ok bool, err error) {
	w.mu.Lock()
	found := w.lines[line]
	if found == nil && !w.ended && len(w.lines) < w.size {
		w.mu.Unlock()
		err = w.wait(ctx, func() bool { return w.lines[line] != nil || w.ended || len(w.lines) >= w.size })
		found = w.lines[line]
	}
	defer w.mu.Unlock()
	if err != nil || found == nil || found.taken {
		return entry{}, false, err
	}
	found.taken = true
	return *found, true, nil
}

// remove frees the places of lines whose results are committed.
func (w *window) remove(lines []int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, n := range lines {
		delete(w.lines, n)
	}
	w.changed.Broadcast()
}

// running are the jobs without a result.
func (w *window) running() []wire.Meta {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []wire.Meta
	for _, e := range w.lines {
		if e.job && !e.taken {
			out = append(out, e.meta)
		}
	}
	return out
}
