package ingest

import (
	"context"
	"sync"
	"sync/atomic"
)

// Progress is how far an ingester has come.
type Progress struct {
	// Active says whether this ingester holds the lease.
	Active bool
	// Position is the ledger sequence up to which everything is in
	// ClickHouse.
	Position uint64
	// Lag is the number of ledger messages after Position, as last seen.
	Lag uint64
	// Attempts and Jobs count the rows written by this ingester.
	Attempts, Jobs uint64
	// Texts counts the rows of texts written by this ingester.
	Texts uint64
	// Undecodable counts the records that could not be read.
	Undecodable uint64
	// Err is the failure that ingestion waits behind, nil when it goes on.
	Err error
}

// progress is written by the session and read by anyone.
type progress struct {
	attempts, jobs, texts, undecodable atomic.Uint64
	last                               atomic.Uint64 // the ledger's end, as last seen

	mu       sync.Mutex
	active   bool
	position uint64
	err      error
	moved    chan struct{} // closed when position changes
}

func (p *progress) init() { p.moved = make(chan struct{}) }

func (p *progress) setActive(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.active = on
}

func (p *progress) setError(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err = err
}

// restart sets the position to what ClickHouse says, which may be behind what
// was known: a table without recent rows has an old position.
func (p *progress) restart(position uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err = nil
	p.move(position)
}

func (p *progress) move(position uint64) {
	p.position = position
	close(p.moved)
	p.moved = make(chan struct{})
}

func (p *progress) saw(seq, pending uint64) { p.last.Store(seq + pending) }

func (p *progress) wrote(seq uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err = nil
	if seq > p.position {
		p.move(seq)
	}
}

func (p *progress) at() (uint64, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.position, p.moved
}

// Progress reports how far this ingester has come. On one that stands by it
// is what was last known.
func (in *Ingester) Progress() Progress {
	p := &in.progress
	p.mu.Lock()
	defer p.mu.Unlock()
	return Progress{
		Active: p.active, Position: p.position, Lag: p.last.Load() - min(p.position, p.last.Load()),
		Attempts: p.attempts.Load(), Jobs: p.jobs.Load(), Texts: p.texts.Load(), Undecodable: p.undecodable.Load(), Err: p.err,
	}
}

// WaitFor returns when every record up to the ledger sequence seq is in
// ClickHouse. Only the active ingester gets there.
func (in *Ingester) WaitFor(ctx context.Context, seq uint64) error {
	for {
		position, moved := in.progress.at()
		if position >= seq {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-moved:
		}
	}
}
