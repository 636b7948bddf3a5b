package lease

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats-server/v2/server/ats"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/nats-io/nats-server/v2/server"
)

func TestMain(m *testing.M) {
	ats.Register() // outside any bubble, or fake time stands still
	code := m.Run()
	ats.Unregister()
	os.Exit(code)
}

// inBubble gives f connections to a server under fake time.
func inBubble(t *testing.T, f func(t *testing.T, dial func() Config)) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		srv, err := server.NewServer(&server.Options{JetStream: true, StoreDir: dir, DontListen: true, NoSigs: true})
		if err != nil {
			t.Fatal(err)
		}
		srv.Start()
		t.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
		f(t, func() Config {
			nc, err := nats.Connect("", nats.InProcessServer(srv))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(nc.Close)
			js, err := jetstream.New(nc)
			if err != nil {
				t.Fatal(err)
			}
			return Config{JS: js, Key: "batch.a-1", TTL: 10 * time.Second}
		})
	})
}

func (c Config) as(instance string) Config { c.Instance = instance; return c }

// A lease is one holder's for as long as that renews it, and the next one's
// when it is given back, or a TTL after the holder died.
func TestOneHolder(t *testing.T) {
	inBubble(t, func(t *testing.T, dial func() Config) {
		a, b := dial().as("a"), dial().as("b")
		l, err := Try(t.Context(), a)
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancelCause(t.Context())
		var kept sync.WaitGroup
		kept.Go(func() { l.Keep(ctx, stop) })
		time.Sleep(time.Hour + time.Second) // between two renewals
		if _, err := Try(t.Context(), b); !errors.Is(err, ErrHeld) || l.Check() != nil || ctx.Err() != nil {
			t.Fatalf("after an hour: %v, %v, %v", err, l.Check(), context.Cause(ctx))
		}
		stop(nil)
		kept.Wait()
		if err := l.Release(); err != nil {
			t.Fatal(err)
		}
		if l, err = Try(t.Context(), b); err != nil {
			t.Fatalf("a lease that was given back: %v", err)
		}
		began := time.Now() // b dies
		if _, err = Take(t.Context(), a); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(began); d < 10*time.Second || d > 15*time.Second {
			t.Errorf("a dead holder's lease was free after %s, want its 10s", d)
		}
		if !errors.Is(l.Check(), ErrLost) {
			t.Error("the dead holder believes that it has the lease")
		}
	})
}

// A holder whose lease another has taken learns it from its next renewal.
func TestLost(t *testing.T) {
	inBubble(t, func(t *testing.T, dial func() Config) {
		a, b := dial().as("a"), dial().as("b")
		l, err := Try(t.Context(), a)
		if err != nil {
			t.Fatal(err)
		}
		if err := Forget(t.Context(), b.JS, b.Subjects, func(i string) bool { return i == "a" }); err != nil {
			t.Fatal(err)
		}
		if _, err := Try(t.Context(), b); err != nil {
			t.Fatalf("a forgotten lease: %v", err)
		}
		ctx, stop := context.WithCancelCause(t.Context())
		l.Keep(ctx, stop) // returns by itself
		if !errors.Is(context.Cause(ctx), ErrLost) {
			t.Errorf("the loss shows as %v", context.Cause(ctx))
		}
	})
}

// Of many that try at once one wins, whoever holds a name takes its own back,
// and Forget leaves the living alone.
func TestRace(t *testing.T) {
	inBubble(t, func(t *testing.T, dial func() Config) {
		var mu sync.Mutex
		var winners []string
		var all sync.WaitGroup
		for _, name := range strings.Fields("a b c d e f g h") {
			cfg := dial().as(name)
			all.Go(func() {
				if _, err := Try(t.Context(), cfg); err == nil {
					mu.Lock()
					defer mu.Unlock()
					winners = append(winners, name)
				} else if !errors.Is(err, ErrHeld) {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if len(winners) != 1 {
			t.Fatalf("winners: %v", winners)
		}
		again := dial().as(winners[0])
		if _, err := Try(t.Context(), again); err != nil {
			t.Errorf("the holder's own lease: %v", err)
		}
		if err := Forget(t.Context(), again.JS, again.Subjects, func(string) bool { return false }); err != nil {
			t.Error(err)
		}
		if _, err := Try(t.Context(), dial().as("z")); !errors.Is(err, ErrHeld) {
			t.Errorf("after nobody was forgotten: %v", err)
		}
	})
}
