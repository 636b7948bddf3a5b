package fleet

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/sluicehq/sluice/sdk/ledger"
)

// fault is something bad that happens to a fleet for a while.
type fault struct {
	what  string
	lasts time.Duration
	do    func()
	undo  func()
	nats  bool // it takes a NATS server away
}

// chaos does bad things to a fleet, drawn from a seed.
type chaos struct {
	f    *Fleet
	r    *rand.Rand
	log  io.Writer
	from time.Time
	done map[string]int // faults by kind

	mu    sync.Mutex
	busy  map[string]bool // parts that something is being done to
	wg    sync.WaitGroup
	away  int // NATS servers that something is done to: one at a time, or all
	exits int // processes that ended by themselves
	slow  int // processes that did not stop in time
}

func newChaos(f *Fleet, seed uint64, log io.Writer) *chaos {
	return &chaos{f: f, r: rand.New(rand.NewPCG(seed, 7)), log: log, from: time.Now(), done: map[string]int{}, busy: map[string]bool{}}
}

// run does something every few seconds until ctx ends, then undoes all of it.
func (c *chaos) run(ctx context.Context, every time.Duration) {
	defer c.wg.Wait()
	for ledger.Pause(ctx, every/2+time.Duration(c.r.Int64N(int64(every)))) == nil {
		c.strike(ctx)
	}
}

// strike draws a fault and begins it, unless the parts are busy.
func (c *chaos) strike(ctx context.Context) {
	kind, draw := c.draw()
	f, parts := draw()
	c.mu.Lock()
	free := f.do != nil && (!f.nats || c.away == 0)
	for _, p := range parts {
		free = free && !c.busy[p]
	}
	if free {
		for _, p := range parts {
			c.busy[p] = true
		}
		if f.nats {
			c.away++
		}
		c.done[kind]++
	}
	c.mu.Unlock()
	if !free {
		return
	}
	fmt.Fprintf(c.log, "%6.1fs  %s for %s\n", time.Since(c.from).Seconds(), f.what, f.lasts.Round(10*time.Millisecond))
	f.do()
	c.wg.Go(func() {
		_ = ledger.Pause(ctx, f.lasts) // the end of the chaos ends the fault
		f.undo()
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, p := range parts {
			delete(c.busy, p)
		}
		if f.nats {
			c.away--
		}
	})
}

// draw picks a kind of fault.
func (c *chaos) draw() (string, func() (fault, []string)) {
	kinds := []struct {
		name   string
		weight int
		draw   func() (fault, []string)
	}{
		{"kill", 5, c.kill}, {"pause", 3, c.pause}, {"cut", 3, c.cut}, {"stall", 2, c.stall}, {"restart", 2, c.restart},
		{"kill leader", 2, c.killLeader}, {"kill all NATS", 1, c.killAll},
	}
	total := 0
	for _, k := range kinds {
		total += k.weight
	}
	n := c.r.IntN(total)
	for _, k := range kinds {
		if n -= k.weight; n < 0 {
			return k.name, k.draw
		}
	}
	return "", nil
}

// victims are the processes that may be struck: everything but the providers,
// whose books are the truth.
func (c *chaos) victims() []*Process {
	var out []*Process
	for _, kind := range []string{kindNATS, kindRouter, kindWorker, kindWorker, kindIngest, kindEngine} {
		out = append(out, c.f.of(kind)...)
	}
	return out
}

func (c *chaos) victim() *Process {
	v := c.victims()
	return v[c.r.IntN(len(v))]
}

func (c *chaos) between(least, most time.Duration) time.Duration {
	return least + time.Duration(c.r.Int64N(int64(most-least)))
}

func (c *chaos) kill() (fault, []string) {
	p := c.victim()
	return c.killing(p, "kill -9 "+p.Name), []string{p.Name}
}

func (c *chaos) killing(p *Process, what string) fault {
	return fault{what: what, lasts: c.between(0, 3*time.Second), nats: p.kind == kindNATS, do: p.kill, undo: func() { c.again(p) }}
}

// again starts a process that was killed.
func (c *chaos) again(p *Process) {
	if err := p.start(); err != nil {
		fmt.Fprintln(c.log, err)
	}
}

// killLeader kills the NATS server that leads a stream.
func (c *chaos) killLeader() (fault, []string) {
	stream := []string{"SLUICE_LEDGER", "SLUICE_WORK", "SLUICE_JOBS"}[c.r.IntN(3)]
	name := c.f.leader(stream)
	for _, p := range c.f.of(kindNATS) {
		if p.Name == name {
			return c.killing(p, "kill -9 "+name+", leader of "+stream), []string{name}
		}
	}
	return fault{}, nil
}

// killAll kills every NATS server at the same moment.
func (c *chaos) killAll() (fault, []string) {
	all := c.f.of(kindNATS)
	var names []string
	for _, p := range all {
		names = append(names, p.Name)
	}
	each := func(do func(*Process)) func() {
		return func() {
			for _, p := range all {
				do(p)
			}
		}
	}
	return fault{what: "kill -9 " + strings.Join(names, ", "), lasts: c.between(0, 2*time.Second), nats: true, do: each((*Process).kill), undo: each(c.again)}, names
}

// pause stops a process where it is: for a worker long enough, now and then,
// that others take it for dead, up to minutes.
func (c *chaos) pause() (fault, []string) {
	p := c.victim()
	most := 6 * time.Second
	if p.kind == kindWorker && c.r.IntN(2) == 0 {
		most = []time.Duration{25 * time.Second, 25 * time.Second, 150 * time.Second}[c.r.IntN(3)]
	}
	return fault{what: "SIGSTOP " + p.Name, lasts: c.between(500*time.Millisecond, most), nats: p.kind == kindNATS, do: p.pause, undo: p.resume}, []string{p.Name}
}

// restart stops a process of Sluice in good order and starts it again.
func (c *chaos) restart() (fault, []string) {
	var list []*Process
	for _, kind := range []string{kindRouter, kindWorker, kindIngest} {
		list = append(list, c.f.of(kind)...)
	}
	p := list[c.r.IntN(len(list))]
	return fault{what: "SIGTERM " + p.Name, lasts: c.between(0, 3*time.Second), do: p.stop, undo: func() {
		if p.finish(stopPatience) {
			fmt.Fprintf(c.log, "%s did not stop within %s\n", p.Name, stopPatience)
			c.slow++
		}
		c.again(p)
	}}, []string{p.Name}
}

// stopPatience is how long a process may take to end in good order.
const stopPatience = 25 * time.Second

// supervise starts processes again that ended by themselves, as systemd or an
// orchestrator does, until ctx ends.
func (c *chaos) supervise(ctx context.Context) {
	for ledger.Pause(ctx, time.Second) == nil {
		for _, p := range c.victims() {
			c.mu.Lock()
			if !c.busy[p.Name] && p.ended() {
				fmt.Fprintf(c.log, "%6.1fs  %s ended by itself\n", time.Since(c.from).Seconds(), p.Name)
				c.exits++
				p.kill()
				c.again(p)
			}
			c.mu.Unlock()
		}
	}
}

// cut breaks the connections of a part and refuses new ones.
func (c *chaos) cut() (fault, []string) { return c.links(linkCut, "cut off") }

// stall lets nothing pass between a part and others, and breaks nothing.
func (c *chaos) stall() (fault, []string) { return c.links(linkStall, "let nothing pass") }

func (c *chaos) links(s link, how string) (fault, []string) {
	w := c.f.wires[c.r.IntN(len(c.f.wires))]
	whole := c.r.IntN(2) == 0 // the part from everything of that kind, or from one
	kind := strings.TrimRight(w.to, "-0123456789")
	var hit []*Proxy
	for _, x := range c.f.wires {
		same := x.from == w.from && (x.to == w.to || whole && strings.TrimRight(x.to, "-0123456789") == kind)
		back := kind == kindNATS && x.to == w.from && (whole || x.from == w.to) // a server is cut off both ways
		if same || back {
			hit = append(hit, x.proxy)
		}
	}
	to := w.to
	if whole {
		to = "every " + kind
	}
	set := func(s link) func() {
		return func() {
			for _, p := range hit {
				p.set(s)
			}
		}
	}
	return fault{what: fmt.Sprintf("%s %s from %s", how, w.from, to), lasts: c.between(time.Second, 8*time.Second),
		nats: strings.HasPrefix(w.from, kindNATS), do: set(s), undo: set(linkOpen)}, []string{"links of " + w.from}
}
