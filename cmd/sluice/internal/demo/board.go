package demo

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/sluicehq/sluice/sdk"
	"github.com/sluicehq/sluice/sdk/wire"
)

// board folds records, as they are heard, into what is shown of a running
// demo (I2).
type board struct {
	began time.Time
	total int

	mu        sync.Mutex
	pools     []*poolLine
	running   map[attemptKey]*poolLine
	succeeded int
	failed    int
	rescued   int // succeeded after an attempt that failed
	spent     wire.NanoUSD
	drawn     int // lines on the terminal to draw over
}

// attemptKey names an attempt, as the simulated providers' books do.
type attemptKey struct {
	tenant, job string
	attempt     int
}

// poolLine is what is shown of one pool.
type poolLine struct {
	name              string
	done, failed, now int // attempts
	spent             wire.NanoUSD
}

func newBoard(pools []string, total int, now time.Time) *board {
	b := &board{began: now, total: total, running: map[attemptKey]*poolLine{}}
	for _, name := range pools {
		b.pools = append(b.pools, &poolLine{name: name})
	}
	return b
}

// record takes a record that was heard. An attempt counts once, however often
// its end is heard.
func (b *board) record(r *wire.Record) {
	a := r.Entry.Attempt
	if a == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	k := attemptKey{r.Entry.Meta.Tenant, r.Entry.Meta.ID, a.N}
	if r.Status == wire.Running {
		for _, p := range b.pools {
			if _, again := b.running[k]; p.name == a.Pool && !again {
				p.now++
				b.running[k] = p
			}
		}
		return
	}
	p := b.running[k]
	if p == nil || !r.EndsAttempt() {
		return
	}
	delete(b.running, k)
	p.now--
	if a.Status == wire.Succeeded {
		p.done++
	} else {
		p.failed++
	}
	if a.Cost != nil {
		p.spent += *a.Cost
	}
}

// result takes a job's result.
func (b *board) result(r *sdk.Result) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.spent += r.Cost
	switch {
	case r.Err != nil:
		b.failed++
	case r.Attempts > 1:
		b.rescued++
		fallthrough
	default:
		b.succeeded++
	}
}

// draw shows the board: over the last one on a terminal, as one line
// elsewhere (I3).
func (b *board) draw(w io.Writer, now time.Time, tty bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	took := max(now.Sub(b.began), time.Millisecond).Seconds()
	done := b.succeeded + b.failed
	head := fmt.Sprintf("%3d of %d jobs done, %d failed, %.0f/s, $%s", done, b.total, b.failed, float64(done)/took, b.spent)
	if !tty {
		var pools []string
		for _, p := range b.pools {
			pools = append(pools, fmt.Sprintf("%s %d", p.name, p.done))
		}
		_, _ = fmt.Fprintf(w, "  %4.1f s  %s  (%s)\n", took, head, strings.Join(pools, ", "))
		return
	}
	var s strings.Builder
	if b.drawn > 0 {
		fmt.Fprintf(&s, "\x1b[%dA\x1b[J", b.drawn)
	}
	fmt.Fprintf(&s, "  %-10s %s %s\n", "all", bar(done, b.total), head)
	for _, p := range b.pools {
		fmt.Fprintf(&s, "  %-10s %s %3d done, %2d failed, %2d running, $%s\n", p.name, bar(p.done, b.total), p.done, p.failed, p.now, p.spent)
	}
	b.drawn = 1 + len(b.pools)
	_, _ = io.WriteString(w, s.String())
}

// bar is n of total as a bar.
func bar(n, total int) string {
	const width = 20
	filled := min(width, n*width/max(total, 1))
	return strings.Repeat("█", filled) + strings.Repeat("░", width-filled)
}
