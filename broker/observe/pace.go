package observe

import (
	"math"
	"time"

	"github.com/sluicehq/sluice/router"
)

// pace compares how many attempts end at a pool with how many should, by
// Little's law: those under way divided by what one usually takes. A provider
// that has become slow shows in what does not end, long before its first slow
// call has. It is a plain value (I2).
type pace struct {
	expected, ended float64 // of late, decayed
	at              int64   // of the last change
	busy            int     // slots taken when last looked at
	each            router.Mean
}

const (
	paceHalfLife = int64(2 * time.Second) // at least; else twice what an attempt takes
	paceEnough   = 8.0                    // expected ends that a judgement needs
	paceGap      = int64(3 * time.Second) // longest time between two looks that counts
	paceUsual    = int64(time.Minute)     // half-life of what an attempt usually takes
)

// usual is what an attempt takes, in nanoseconds; 0: not known.
func (p *pace) usual() float64 { return p.each.Value() * float64(time.Millisecond) }

// move adds up what should have ended until now, and forgets.
func (p *pace) move(now int64) {
	usual := p.usual()
	if dt := now - p.at; dt > 0 && usual > 0 {
		half := max(float64(paceHalfLife), 2*usual)
		decay := math.Exp2(-float64(dt) / half)
		p.expected = p.expected*decay + float64(p.busy)*float64(min(dt, paceGap))/usual
		p.ended *= decay
	}
	p.at = max(p.at, now)
}

// look notes how many slots are taken.
func (p *pace) look(now int64, busy int) {
	p.move(now)
	p.busy = busy
}

// end notes an attempt that a provider took.
func (p *pace) end(at, latencyMS int64) {
	p.move(at)
	p.ended++
	p.each = p.each.Add(at, max(float64(latencyMS), 1), paceUsual)
}

// slowdown is how many times slower than usual the pool is; 1: no slower, or
// not known.
func (p *pace) slowdown(now int64) float64 {
	p.move(now)
	if p.expected < paceEnough {
		return 1
	}
	return max(1, p.expected/(p.ended+1))
}

// forget begins anew, but for what an attempt usually takes.
func (p *pace) forget() { p.expected, p.ended = 0, 0 }

// Depths tells how many jobs are at each pool of the table, queued and running;
// it is to be told once a second or so.
func (o *Observer) Depths(table *router.Table, depth func(pool string) int) {
	now := time.Now().UnixNano()
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.state.setup.Table != table {
		return
	}
	for _, p := range table.Pools() {
		o.state.pools[p.Name].pace.look(now, min(depth(p.Name), p.Concurrency))
	}
}
