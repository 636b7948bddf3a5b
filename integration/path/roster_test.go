package path

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker/roster"
	"github.com/sluicehq/sluice/sdk/wire"
)

// TestRoster: every process sees what was added; a pool that is being removed
// stays until its attempts have ended, and one that was added again meanwhile
// stays for good.
func TestRoster(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		a := always(reply{delay: time.Minute})
		r := start(t, setup{dir: dir, pools: []pool{{name: "a", provider: a}}})
		here, there := roster.New(r.js, r.subj), r.proc("other")
		var seen atomic.Pointer[roster.State]
		var last roster.State
		there.goRun(r, roster.New(there.jetstream(t), r.subj).Sweep)
		there.goRun(r, func(ctx context.Context) error {
			return roster.New(there.jetstream(t), r.subj).Follow(ctx, func(s roster.State) { seen.Store(&s) })
		})
		names := func() (out []string) {
			time.Sleep(5 * time.Second)
			last = *seen.Load()
			for _, p := range last.Pools {
				out = append(out, p.Name)
			}
			return out
		}
		if names() != nil {
			t.Errorf("%+v", last)
		}
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		for _, p := range []string{"b", "a", "c"} {
			must(here.Add(t.Context(), roster.Pool{Name: p, Text: "text of " + p}))
		}
		must(here.SetModels(t.Context(), "b", []string{"y", "x"}))
		if got := names(); !slices.Equal(got, []string{"a", "b", "c"}) || last.Pools[1].Text != "text of b" || !slices.Equal(last.Models["b"], []string{"x", "y"}) {
			t.Errorf("%+v", last)
		}
		id := r.publish(chat)
		r.reached(id, wire.Running)
		for _, p := range []string{"a", "b"} {
			must(here.Remove(t.Context(), p))
		}
		if got := names(); !slices.Equal(got, []string{"a", "c"}) || !last.Pools[0].Removing || len(last.Models) != 0 {
			t.Errorf("while an attempt runs: %+v", last)
		}
		r.allSucceed([]string{id})
		if got := names(); !slices.Equal(got, []string{"c"}) {
			t.Errorf("after it: %+v", last)
		}
		must(here.Remove(t.Context(), "c"))
		must(here.Add(t.Context(), roster.Pool{Name: "c", Text: "again"}))
		if got := names(); !slices.Equal(got, []string{"c"}) || last.Pools[0].Removing {
			t.Errorf("added again: %+v", last)
		}
		if err := here.Remove(t.Context(), "nobody"); !errors.Is(err, roster.ErrUnknown) {
			t.Errorf("%v", err)
		}
		s, err := here.Read(t.Context())
		if err != nil || len(s.Pools) != 1 {
			t.Errorf("%+v, %v", s, err)
		}
	})
}
