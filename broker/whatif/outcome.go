package whatif

import "github.com/sluicehq/sluice/sdk/wire"

// Outcome is how jobs ended.
type Outcome struct {
	Jobs  []Ended // in the order of the jobs
	Parts map[Target]*Part
	// From and To are the first arrival and the last end, Unix nanoseconds.
	From, To int64
}

// Ended is how a job ended.
type Ended struct {
	Status      wire.Status
	Code        wire.Code
	Attempts    int
	Cost        wire.NanoUSD // of the attempts whose cost is known
	Unknown     bool         // that of one is not
	Wait, Total int64        // nanoseconds: without the last attempt, and all
}

// Part is what a target had of the attempts.
type Part struct {
	Attempts, Failed int
	Cost             wire.NanoUSD
	Unknown          int   // attempts whose cost is not known
	Busy             int64 // nanoseconds of slots
}

func (o *Outcome) part(t Target) *Part {
	p := o.Parts[t]
	if p == nil {
		p = &Part{}
		o.Parts[t] = p
	}
	return p
}

func (p *Part) add(s wire.Status, cost *wire.NanoUSD, busy int64) {
	p.Attempts++
	if s == wire.Failed || s == wire.Interrupted {
		p.Failed++
	}
	if cost != nil {
		p.Cost += *cost
	} else {
		p.Unknown++
	}
	p.Busy += busy
}

func (e *Ended) charge(cost *wire.NanoUSD) {
	if cost == nil {
		e.Unknown = true
		return
	}
	e.Cost += *cost
}

func (o *Outcome) spans(from, to int64) {
	if o.From == 0 || from < o.From {
		o.From = from
	}
	o.To = max(o.To, to)
}
