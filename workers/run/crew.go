package run

import (
	"sync"
	"sync/atomic"

	"github.com/nats-io/nats.go/jetstream"
)

// crew handles messages, each in a goroutine. A goroutine that is done stays
// for the next message, with the stack that it has grown: growing one for each
// message took a twentieth of a worker's CPU.
type crew struct {
	handle func(jetstream.Msg)
	calls  sync.WaitGroup // messages under way
	hands  sync.WaitGroup // goroutines
	next   chan jetstream.Msg
	idle   atomic.Int32
}

// maxIdle is how many goroutines of a crew may wait for a message.
const maxIdle = 64

func newCrew(handle func(jetstream.Msg)) *crew {
	return &crew{handle: handle, next: make(chan jetstream.Msg)}
}

// take handles a message beside the others.
func (c *crew) take(m jetstream.Msg) {
	c.calls.Add(1)
	select {
	case c.next <- m: // somebody waits
	default:
		c.hands.Go(func() { c.work(m) })
	}
}

func (c *crew) work(m jetstream.Msg) {
	for ok := true; ok; {
		c.handle(m)
		c.calls.Done()
		if c.idle.Add(1) > maxIdle {
			c.idle.Add(-1)
			return
		}
		m, ok = <-c.next
		c.idle.Add(-1)
	}
}

// wait returns when all messages are handled and all goroutines gone. Nothing
// may be taken any more.
func (c *crew) wait() {
	c.calls.Wait()
	close(c.next)
	c.hands.Wait()
}
