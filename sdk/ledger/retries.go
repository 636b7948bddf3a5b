package ledger

import (
	"cmp"
	"slices"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
)

// Defaults of [Retries].
const (
	MaxCuts    = 10
	BackoffMax = 30 * time.Second
)

// Retries says what a failed attempt leaves to its job: whether there is
// another, when, and where. It does nothing by itself.
type Retries struct {
	MaxAttempts int           // that count against a job before it is dead
	MaxCuts     int           // interrupted attempts before it is
	Backoff     time.Duration // before the second attempt at the same pools; it doubles
	BackoffMax  time.Duration
}

// Over reports whether the job is dead with this attempt, which p counts.
func (r *Retries) Over(p *wire.Progress, at *wire.Attempt) bool {
	return p.Cuts > r.MaxCuts || r.spent(p, at) && !falls(at)
}

// spent reports whether the job has had its attempts with this one.
func (r *Retries) spent(p *wire.Progress, at *wire.Attempt) bool {
	return p.Failures() >= cmp.Or(at.MaxAttempts, r.MaxAttempts) && at.Status != wire.Interrupted && !at.Excused()
}

// Fits reports whether there is a candidate left that the request of a misfit
// (wire.Code.Misfit) may fit, or a fallback. A refusal that does not say why
// is doubted once, if another model may see it otherwise.
func Fits(p *wire.Progress, at *wire.Attempt) bool {
	unsaid := at.ErrorCode == wire.CodeProviderRefused
	if at.Decision == nil || unsaid && len(p.Misfits) > 0 {
		return false
	}
	return falls(at) || slices.ContainsFunc(at.Decision.Candidates, func(c wire.Candidate) bool {
		return (c.Model != at.Model || !unsaid && c.Pool != at.Pool) && !slices.Contains(p.Misfits, wire.CandidateKey(c.Pool, c.Model))
	})
}

// falls reports whether the fallback chain goes on behind the attempt.
func falls(at *wire.Attempt) bool { return at.Decision != nil && at.Decision.Left > 0 }

// Blame notes where the attempt failed, whether that candidate can ever take it, and how far failures have led down the
// fallback chain: to the step that has failed, or behind it where the job has
// had its attempts.
func (r *Retries) Blame(p *wire.Progress, at *wire.Attempt) {
	if at.Status != wire.Failed {
		return
	}
	if at.ErrorCode.Misfit() {
		p.Misfits, p.Misfit = append(slices.Clone(p.Misfits), wire.CandidateKey(at.Pool, at.Model)), at.ErrorCode
	}
	if !slices.Contains(p.Tried, at.Pool) {
		p.Tried = append(slices.Clone(p.Tried), at.Pool)
	}
	if at.Decision == nil {
		return
	}
	p.Steps = max(p.Steps, at.Decision.Fallback)
	if r.spent(p, at) && falls(at) {
		p.Steps, p.Tried = at.Decision.Fallback+1, nil
	}
}

// Wait is how long the job, after Blame, waits for its next attempt. It is
// nothing while the decision knew another candidate that could have taken the
// job, or a step to fall back to, or the attempt was interrupted. Else it is
// exponential with full jitter (Brooker, "Exponential Backoff And Jitter", AWS
// Architecture Blog, 2015), and not below after, which is what the provider
// asked for. below gives a random duration from 0 to its argument.
func (r *Retries) Wait(p *wire.Progress, at *wire.Attempt, after time.Duration, below func(time.Duration) time.Duration) time.Duration {
	if at.Status == wire.Interrupted {
		return 0
	}
	if at.Decision != nil {
		if at.Decision.Next {
			return 0
		}
		for _, c := range at.Decision.Candidates {
			if c.Excluded == "" && !slices.Contains(p.Tried, c.Pool) {
				return 0
			}
		}
	}
	ceiling := r.BackoffMax
	if n := at.N - p.Cuts; n < 16 {
		ceiling = min(ceiling, r.Backoff<<max(n-1, 0))
	}
	wait := below(ceiling) + 1
	if p.Failures() == r.MaxAttempts-1 {
		wait = max(wait, lastWait*r.Backoff)
	}
	return max(after, wait)
}

// lastWait is how many times the back-off a job waits for its last attempt at
// pools that failed it, so that they show by other jobs whose fault it was.
const lastWait = 10
