package dispatch

import (
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/sluicehq/sluice/broker/natsd"
	"github.com/sluicehq/sluice/broker/topology"
	"github.com/sluicehq/sluice/sdk/wire"
)

// A queue that is removed while a pull is open, or between two, is gone: the
// intake then makes it anew.
func TestPullFromAQueueThatIsGone(t *testing.T) {
	srv, err := natsd.Start(natsd.Config{DataDir: t.TempDir(), Sync: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Stop)
	nc, err := srv.Connect("test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	var s wire.Subjects
	if err := topology.Ensure(t.Context(), js, topology.Config{Subjects: s}); err != nil {
		t.Fatal(err)
	}
	sources, err := topology.Sources(t.Context(), js, s)
	if err != nil {
		t.Fatal(err)
	}
	for name, open := range map[string]bool{"between two pulls": false, "while one is open": true} {
		src := sources[0]
		if src, err = src.Renew(t.Context(), js); err != nil {
			t.Fatal(err)
		}
		p := newPuller(nc, src.Consumer)
		remove := func() {
			info := src.Consumer.CachedInfo()
			if err := js.DeleteConsumer(t.Context(), info.Stream, info.Name); err != nil {
				t.Error(err)
			}
		}
		var removed sync.WaitGroup
		if removed.Go(func() {
			if open {
				time.Sleep(50 * time.Millisecond)
			}
			remove()
		}); !open {
			removed.Wait()
		}
		if _, err := p.fetch(t.Context(), 1, 10*time.Second, func(*delivery) {}); !gone(err) {
			t.Errorf("%s: %v", name, err)
		}
		removed.Wait()
		p.close()
	}
}
