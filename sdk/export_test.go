package sdk

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
)

// exampleTB is what the test broker needs of a test, for runnable examples.
type exampleTB struct {
	testing.TB
	cleanups []func()
	dir      string
}

func (e *exampleTB) Helper()                  {}
func (e *exampleTB) Context() context.Context { return context.Background() }
func (e *exampleTB) Cleanup(f func())         { e.cleanups = append(e.cleanups, f) }
func (e *exampleTB) TempDir() string          { return e.dir }
func (e *exampleTB) Error(args ...any)        { panic(fmt.Sprint(args...)) }
func (e *exampleTB) Errorf(f string, a ...any) {
	panic(fmt.Sprintf(f, a...))
}
func (e *exampleTB) Fatal(args ...any) { panic(fmt.Sprint(args...)) }

func (e *exampleTB) close() {
	for i := len(e.cleanups) - 1; i >= 0; i-- {
		e.cleanups[i]()
	}
	_ = os.RemoveAll(e.dir)
}

// StartExampleBroker starts a broker that answers every job with text, one
// chunk a word, and returns its URL and what stops it. Jobs of the route
// "slow" never end by themselves; those of "nowhere" fail.
func StartExampleBroker(words ...string) (url string, stop func()) {
	dir, err := os.MkdirTemp("", "sluice-example")
	if err != nil {
		panic(err)
	}
	e := &exampleTB{dir: dir}
	b := newServer(e, listening(serverOptions(e)))
	b.streams()
	b.serve()
	b.play(func(b *testBroker, job wire.Job) {
		switch job.Route {
		case "slow":
			b.claim(job, 1)
			return
		case "nowhere":
			b.end(job, Failed, nil, wire.CodeUnknownRoute, wire.Errorf(wire.CodeUnknownRoute, "model", "no route nowhere").Body())
			return
		}
		b.claim(job, 1)
		text := ""
		for i, w := range words {
			text += w
			if job.Stream {
				b.chunk(job, 1, i, w, i == len(words)-1)
				time.Sleep(time.Millisecond)
			}
		}
		b.end(job, Succeeded, ended(1, Succeeded, ""), "", completion(text))
	})
	return b.srv.ClientURL(), e.close
}
