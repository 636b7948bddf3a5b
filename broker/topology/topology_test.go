package topology

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/sluicehq/sluice/broker/natsd/natstest"
	"github.com/sluicehq/sluice/sdk/wire"
)

func TestMain(m *testing.M) { natstest.Main(m) }

// What was made is as wanted, so a second process changes nothing; what differs
// is seen.
func TestEnsureTwiceChangesNothing(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		js := natstest.JetStream(t, dir)
		if err := Ensure(t.Context(), js, Config{}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // what the first one is told of has come
		changes := 0
		for _, subject := range []string{"$JS.EVENT.ADVISORY.STREAM.CREATED.*", "$JS.EVENT.ADVISORY.STREAM.UPDATED.*"} {
			if _, err := js.Conn().Subscribe(subject, func(*nats.Msg) { changes++ }); err != nil {
				t.Fatal(err)
			}
		}
		if err := Ensure(t.Context(), js, Config{}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if changes != 0 {
			t.Errorf("%d changes by the second Ensure", changes)
		}
		if err := Ensure(t.Context(), js, Config{ChunksAge: 7 * time.Minute}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		s, err := js.Stream(t.Context(), wire.Subjects{}.Stream(wire.StreamChunks))
		if err != nil {
			t.Fatal(err)
		}
		if got := s.CachedInfo().Config.MaxAge; changes != 1 || got != 7*time.Minute {
			t.Errorf("%d changes by another configuration, chunks kept for %s", changes, got)
		}
	})
}

// A cluster without a leader is asked again; a configuration that is refused
// is not.
func TestPersist(t *testing.T) {
	refused := &jetstream.APIError{Code: 400, ErrorCode: 10052, Description: "invalid configuration"}
	for _, tc := range []struct {
		name  string
		err   error
		calls int // until it works
		want  error
		after time.Duration
	}{
		{"at once", nil, 1, nil, 0},
		{"no leader yet", &jetstream.APIError{Code: 503, ErrorCode: 10008}, 4, nil, 3 * persistGap},
		{"no peers yet", &jetstream.APIError{Code: 400, ErrorCode: codeNoPeers}, 2, nil, persistGap},
		{"another process was faster", jetstream.ErrStreamNameAlreadyInUse.APIError(), 2, nil, persistGap},
		{"nobody listens", nats.ErrNoResponders, 3, nil, 2 * persistGap},
		{"no leader ever", nats.ErrTimeout, 1_000_000, nats.ErrTimeout, persistFor + persistGap},
		{"refused", refused, 9, refused, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begin, calls := time.Now(), 0
				err := Persist(t.Context(), func(context.Context) error {
					if calls++; calls >= tc.calls {
						return nil
					}
					return tc.err
				})
				if !errors.Is(err, tc.want) || time.Since(begin) != tc.after {
					t.Errorf("%v after %s and %d calls, want %v after %s", err, time.Since(begin), calls, tc.want, tc.after)
				}
			})
		})
	}
	synctest.Test(t, func(t *testing.T) { // a request that is never answered ends by itself
		calls := 0
		err := Persist(t.Context(), func(ctx context.Context) error {
			calls++
			<-ctx.Done()
			return ctx.Err()
		})
		if !errors.Is(err, context.DeadlineExceeded) || calls < 5 {
			t.Errorf("%v after %d calls", err, calls)
		}
	})
}
