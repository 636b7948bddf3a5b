package dispatch

import (
	"sync"
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker/natsd/natstest"
	"github.com/sluicehq/sluice/broker/topology"
	"github.com/sluicehq/sluice/sdk/wire"
)

// A queue that is removed while a pull is open, or between two, is gone: the
// intake then makes it anew.
func TestPullFromAQueueThatIsGone(t *testing.T) {
	js := natstest.JetStream(t, t.TempDir())
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
		p := newPuller(js.Conn(), s, src.Consumer)
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
