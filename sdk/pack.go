package sdk

import (
	"strconv"

	"github.com/nats-io/nats.go"

	"github.com/sluicehq/sluice/sdk/wire"
)

// pack is the chunks of one message: the first, and the events of all.
type pack struct {
	Chunk
	events [][]byte
}

// parseChunks reads a message of the chunks subject; ok is false for one that
// is none.
func parseChunks(h nats.Header, data []byte) (p pack, ok bool) {
	attempt, err1 := strconv.Atoi(h.Get(wire.HeaderAttempt))
	index, err2 := strconv.Atoi(h.Get(wire.HeaderIndex))
	if err1 != nil || err2 != nil || attempt < 1 || index < 0 {
		return p, false
	}
	p.Chunk = Chunk{Attempt: attempt, Index: index, End: h.Get(wire.HeaderEnd) == "true"}
	p.events, ok = wire.UnpackEvents(h.Get(wire.HeaderSizes), data)
	return p, ok
}

// giveAll yields the chunks of one message.
func (r *chunkReader) giveAll(p *pack) error {
	c := p.Chunk
	for i, event := range p.events {
		last := i == len(p.events)-1
		c.Data, c.End, c.More = event, p.End && last, !last
		if err := r.give(c); err != nil {
			return err
		}
		c.Index++
	}
	return nil
}
