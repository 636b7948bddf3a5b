package observe

import (
	"math"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
)

// blame tells the failures of a pool from those of a job: it names two jobs
// that failed at the pool since its last success.
type blame struct {
	jobs [2]string // tenant.job
	at   int64     // of the last failure
}

// failed notes a failure, and reports whether it says something new.
func (b *blame) failed(job string, at int64) bool {
	b.at = at
	switch {
	case b.jobs[0] == "" || b.jobs[0] == job:
		b.jobs[0] = job
	case b.jobs[1] == "":
		b.jobs[1] = job
	default:
		return false
	}
	return true
}

// others reports whether the pool failed another job of late and has not
// succeeded since.
func (b *blame) others(job string, now int64) bool {
	return now-b.at < blameFor && (b.jobs[0] != "" && b.jobs[0] != job || b.jobs[1] != "" && b.jobs[1] != job)
}

const (
	blameFor     = int64(time.Minute)
	blameSamples = 5      // outcomes behind a rate of failures
	byChance     = 0.0003 // what is less probable is no chance
)

// chance reports whether own failures and another one may be chance, at a pool
// of which so many of so many attempts failed.
func chance(samples, failed, own float64) bool {
	samples, failed = samples-own, failed-own
	if samples < blameSamples || failed < 0.5 { // less than one, and that a while ago
		return false
	}
	return math.Pow(min((failed+1)/(samples+1), 1), own+1) > byChance // not the likeliest rate, but a likely one
}

// Doubts reports whether a failure of the job's next attempt, at pool i and
// target t, would say more of the pool than of the job: the pool has failed
// others and has not succeeded since, or it fails so often that all attempts
// of the job may have failed by chance.
func (s *Snapshot) Doubts(i, t int, m *wire.Meta, p *wire.Progress, now int64) bool {
	if b := &s.Pools[i].blame; b.at != 0 && b.others(m.Tenant+"."+m.ID, now) {
		return true
	}
	own := float64(p.Attempts - p.Cuts) // the job's failures, which may be among those counted
	lately := &s.Pools[i].Breaker.Failures
	n := lately.Samples(now, breakerWindow)
	if chance(n, n*lately.Value(), own) {
		return true
	}
	if t < 0 || t >= len(s.Stats) {
		return false
	}
	st := &s.Stats[t]
	return chance(st.Samples, st.Samples*(1-st.Success), own)
}
