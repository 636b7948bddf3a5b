package whatif

import (
	"cmp"
	"slices"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
)

// Target is a pool and an upstream model.
type Target struct{ Pool, Model string }

// String is pool/model.
func (t Target) String() string { return t.Pool + "/" + t.Model }

// Recorded is a finished job as the tables have it.
type Recorded struct {
	Tenant, ID, Route   string
	Class               wire.Class
	Batch               string
	Labels              map[string]string
	Submitted, Finished int64 // Unix nanoseconds
	Status              wire.Status
	Code                wire.Code
	// What it asked for; zero where that is not known.
	BodyBytes int
	MaxTokens int64
	Region    string
	Needs     wire.Needs
	Attempts  []Attempt // in order; shadows are none
}

// Attempt is a recorded attempt.
type Attempt struct {
	Target
	Endpoint           wire.Endpoint
	N                  int
	Ended              int64 // Unix nanoseconds
	Queue, TTFT, Taken time.Duration
	Status             wire.Status
	Code               wire.Code
	HTTP               int
	Usage              wire.Usage
	Cost               *wire.NanoUSD // nil: not known
	// Depth is how many jobs the decision saw at the pool, and Crowded says
	// that it found a candidate full.
	Depth   int
	Crowded bool
}

// half is added to times that were stored in whole milliseconds, rounded down.
const half = int64(time.Millisecond / 2)

// heldBack is from when on a job's first attempt counts as held back on
// purpose (Sluice-Not-Before, a schedule): its time begins then.
const heldBack = int64(time.Second)

// ready is when the job could first run.
func (r *Recorded) ready() int64 {
	if len(r.Attempts) == 0 {
		return r.Submitted
	}
	a := &r.Attempts[0]
	if at := a.Ended - int64(a.Taken+a.Queue); at-r.Submitted > heldBack {
		return at
	}
	return r.Submitted
}

// last is the job's last attempt, nil without one.
func (r *Recorded) last() *Attempt {
	if len(r.Attempts) == 0 {
		return nil
	}
	return &r.Attempts[len(r.Attempts)-1]
}

// tokens are the input and output of the answer, else of the attempt that had
// most.
func (r *Recorded) tokens() (in, out int64) {
	for i := range r.Attempts {
		u := &r.Attempts[i].Usage
		ain, aout := u.Input+u.CacheRead+u.CacheWrite, u.Output+u.Reasoning
		if r.Attempts[i].Status == wire.Succeeded {
			return ain, aout
		}
		in, out = max(in, ain), max(out, aout)
	}
	return in, out
}

// Job is a recorded job to be played again.
type Job struct {
	Meta          wire.Meta // SubmittedAt: when it could first run
	Input, Output int64     // tokens of all kinds
	// Until is when its client gave up or its deadline was, and Ends what it
	// then ends as; 0: it waits for ever.
	Until int64
	Ends  wire.Status
	// Kept is what a job that never had an attempt, through its own fault,
	// ends as again; empty: it is played.
	Kept wire.Status
}

// Replay makes jobs of what was recorded, in the order of their arrival. Jobs
// whose tokens nobody knows take those of the last known one of their route.
func Replay(list []Recorded) []Job {
	jobs := make([]Job, 0, len(list))
	for i := range list {
		r := &list[i]
		j := Job{Meta: wire.Meta{ID: r.ID, Tenant: r.Tenant, Class: r.Class, Route: r.Route, Endpoint: wire.ChatCompletions,
			SubmittedAt: r.ready(), Batch: r.Batch, Labels: r.Labels, BodyBytes: r.BodyBytes, MaxTokens: r.MaxTokens, Region: r.Region, Needs: r.Needs}}
		j.Input, j.Output = r.tokens()
		for k := range r.Attempts {
			a := &r.Attempts[k]
			j.Meta.Endpoint = a.Endpoint
			j.Meta.Stream = j.Meta.Stream || a.streamed()
		}
		switch r.Status {
		case wire.Cancelled, wire.Expired:
			j.Until, j.Ends = max(r.Finished, j.Meta.SubmittedAt+1), r.Status
			if r.Status == wire.Expired {
				j.Meta.Deadline = j.Until
			}
		case wire.Failed:
			if len(r.Attempts) == 0 {
				j.Kept = r.Status
			}
		}
		jobs = append(jobs, j)
	}
	slices.SortFunc(jobs, func(a, b Job) int {
		return cmp.Or(cmp.Compare(a.Meta.SubmittedAt, b.Meta.SubmittedAt), cmp.Compare(a.Meta.Tenant, b.Meta.Tenant), cmp.Compare(a.Meta.ID, b.Meta.ID))
	})
	fill(jobs)
	return jobs
}

// streamed reports whether the answer came in pieces: of a whole one the first
// token is as late as the last.
func (a *Attempt) streamed() bool { return a.TTFT > 0 && a.TTFT < a.Taken-time.Millisecond }

// fill gives tokens to jobs without, and a size to bodies that have none.
func fill(jobs []Job) {
	known := map[string]*Job{}
	for pass := range 2 { // the second is for those before the first known one
		for i := range jobs {
			j := &jobs[i]
			if j.Input+j.Output > 0 {
				if pass == 0 || known[j.Meta.Route] == nil {
					known[j.Meta.Route] = j
				}
			} else if k := known[j.Meta.Route]; k != nil {
				j.Input, j.Output = k.Input, k.Output
			}
		}
	}
	for i := range jobs {
		const bytesPerToken = 4 // as wire.EstimateTokens has it
		if jobs[i].Meta.BodyBytes == 0 {
			jobs[i].Meta.BodyBytes = int(bytesPerToken * jobs[i].Input)
		}
	}
}

// Told is what was recorded, as a play would say it.
func Told(list []Recorded) *Outcome {
	o := &Outcome{Jobs: make([]Ended, len(list)), Parts: map[Target]*Part{}}
	for i := range list {
		r := &list[i]
		e := &o.Jobs[i]
		e.Status, e.Attempts = r.Status, len(r.Attempts)
		e.Total = r.Finished - r.ready()
		e.Wait = e.Total
		for k := range r.Attempts {
			a := &r.Attempts[k]
			p := o.part(a.Target)
			p.add(a.Status, a.Cost, int64(a.Taken))
			e.charge(a.Cost)
		}
		if a := r.last(); a != nil {
			e.Wait = max(0, e.Total-int64(a.Taken)-half)
		}
		o.spans(r.ready(), r.Finished)
	}
	return o
}
