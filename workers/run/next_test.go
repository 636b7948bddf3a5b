package run

import (
	"cmp"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/sluicehq/sluice/workers/engine"
)

// TestNext: what follows the end of an attempt.
func TestNext(t *testing.T) {
	two := &wire.Decision{Candidates: []wire.Candidate{{Pool: "a"}, {Pool: "b"}}}
	noOther := &wire.Decision{Candidates: []wire.Candidate{{Pool: "a"}, {Pool: "b", Excluded: "over_max_cost"}}}
	one := &wire.Decision{Candidates: []wire.Candidate{{Pool: "a"}}}
	falls := &wire.Decision{Candidates: one.Candidates, Left: 1, Next: true}
	models := &wire.Decision{Candidates: []wire.Candidate{{Pool: "a"}, {Pool: "b", Model: "other"}}}
	for _, c := range []struct {
		name      string
		n         int
		status    wire.Status
		verdict   engine.Verdict
		after     time.Duration
		cancelled bool
		doubtful  bool
		progress  wire.Progress
		deadline  time.Duration // from now, 0: none
		decision  *wire.Decision
		failure   wire.Code // default provider_error

		want  wire.Status
		code  wire.Code // of the record
		ended wire.Status
		bury  bool
		wait  [2]time.Duration // of a waiting record, from and up to
	}{
		{name: "success", n: 1, status: wire.Succeeded, want: wire.Succeeded, ended: wire.Succeeded},
		{name: "success beats a cancel", n: 1, status: wire.Succeeded, cancelled: true, want: wire.Succeeded, ended: wire.Succeeded},
		{name: "success beats the deadline", n: 1, status: wire.Succeeded, deadline: -1, want: wire.Succeeded, ended: wire.Succeeded},
		{name: "cancelled", n: 1, status: wire.Cancelled, cancelled: true, want: wire.Cancelled, code: wire.CodeCancelled, ended: wire.Cancelled},
		{name: "failed while being cancelled", n: 1, status: wire.Failed, verdict: engine.RetryElsewhere, cancelled: true, want: wire.Cancelled, code: wire.CodeCancelled, ended: wire.Cancelled},
		{name: "interrupted while being cancelled", n: 1, status: wire.Interrupted, cancelled: true, want: wire.Cancelled, code: wire.CodeCancelled, ended: wire.Interrupted},
		{name: "expired", n: 1, status: wire.Expired, want: wire.Expired, code: wire.CodeDeadline, ended: wire.Expired},
		{name: "failed after the deadline", n: 1, status: wire.Failed, verdict: engine.RetryElsewhere, deadline: -1, want: wire.Expired, code: wire.CodeDeadline, ended: wire.Failed},
		{name: "no time for another", n: 1, status: wire.Failed, verdict: engine.RetryLater, after: time.Minute, deadline: 30 * time.Second, want: wire.Expired, code: wire.CodeDeadline, ended: wire.Failed},
		{name: "final", n: 1, status: wire.Failed, verdict: engine.Final, decision: two, want: wire.Failed, code: wire.CodeProviderError, ended: wire.Failed},
		{name: "does not fit, another may", n: 1, status: wire.Failed, failure: wire.CodeContextLength, verdict: engine.RetryElsewhere, decision: two, want: wire.Waiting, ended: wire.Failed},
		{name: "does not fit, nor the other", n: 2, status: wire.Failed, failure: wire.CodeContextLength, verdict: engine.RetryElsewhere, decision: two,
			progress: wire.Progress{Attempts: 1, Tried: []string{"b"}, Misfits: []string{"b/"}}, want: wire.Failed, code: wire.CodeContextLength, ended: wire.Failed},
		{name: "does not fit, alone", n: 1, status: wire.Failed, failure: wire.CodeUnsupportedParam, verdict: engine.RetryElsewhere, decision: one, want: wire.Failed, code: wire.CodeUnsupportedParam, ended: wire.Failed},
		{name: "does not fit, but there is a fallback", n: 1, status: wire.Failed, failure: wire.CodeContextLength, verdict: engine.RetryElsewhere, decision: falls, want: wire.Waiting, ended: wire.Failed},
		{name: "refused, and nobody knows why", n: 1, status: wire.Failed, failure: wire.CodeProviderRefused, verdict: engine.RetryElsewhere, decision: models, want: wire.Waiting, ended: wire.Failed},
		{name: "refused, and the other is the same model", n: 1, status: wire.Failed, failure: wire.CodeProviderRefused, verdict: engine.RetryElsewhere, decision: two, want: wire.Failed, code: wire.CodeProviderRefused, ended: wire.Failed},
		{name: "refused by two", n: 2, status: wire.Failed, failure: wire.CodeProviderRefused, verdict: engine.RetryElsewhere, decision: models,
			progress: wire.Progress{Attempts: 1, Misfits: []string{"c/third"}}, want: wire.Failed, code: wire.CodeProviderRefused, ended: wire.Failed},
		{name: "elsewhere", n: 1, status: wire.Failed, verdict: engine.RetryElsewhere, decision: two, want: wire.Waiting, ended: wire.Failed},
		{name: "elsewhere, in spite of a pause", n: 1, status: wire.Failed, verdict: engine.RetryLater, after: time.Minute, decision: two, want: wire.Waiting, ended: wire.Failed},
		{name: "others tried", n: 2, status: wire.Failed, verdict: engine.RetryElsewhere, progress: wire.Progress{Tried: []string{"b"}}, decision: two,
			want: wire.Waiting, ended: wire.Failed, wait: [2]time.Duration{5 * time.Second, 5 * time.Second}},
		{name: "others tried, not the last", n: 3, status: wire.Failed, verdict: engine.RetryElsewhere, progress: wire.Progress{Tried: []string{"b"}, Held: 2}, decision: two,
			want: wire.Waiting, ended: wire.Failed, wait: [2]time.Duration{1, 2 * time.Second}},
		{name: "the last, excused", n: 3, doubtful: true, status: wire.Failed, verdict: engine.RetryElsewhere, progress: wire.Progress{Attempts: 2}, decision: two,
			want: wire.Waiting, ended: wire.Failed},
		{name: "the other is excluded", n: 1, status: wire.Failed, verdict: engine.RetryElsewhere, decision: noOther,
			want: wire.Waiting, ended: wire.Failed, wait: [2]time.Duration{1, 500 * time.Millisecond}},
		{name: "alone", n: 1, status: wire.Failed, verdict: engine.RetryElsewhere, want: wire.Waiting, ended: wire.Failed, wait: [2]time.Duration{1, 500 * time.Millisecond}},
		{name: "alone, with a pause", n: 1, status: wire.Failed, verdict: engine.RetryLater, after: time.Minute,
			want: wire.Waiting, ended: wire.Failed, wait: [2]time.Duration{time.Minute, time.Minute}},
		{name: "last attempt", n: 3, status: wire.Failed, verdict: engine.RetryElsewhere, progress: wire.Progress{Attempts: 2}, decision: two,
			want: wire.Failed, code: wire.CodeProviderError, ended: wire.Failed, bury: true},
		{name: "cuts are no failures", n: 5, status: wire.Failed, verdict: engine.RetryElsewhere, progress: wire.Progress{Attempts: 4, Cuts: 3}, decision: two,
			want: wire.Waiting, ended: wire.Failed},
		{name: "interrupted", n: 1, status: wire.Interrupted, verdict: engine.RetryElsewhere, want: wire.Waiting, ended: wire.Interrupted},
		{name: "interrupted after two failures", n: 3, status: wire.Interrupted, progress: wire.Progress{Attempts: 2}, want: wire.Waiting, ended: wire.Interrupted},
		{name: "interrupted too often", n: 11, status: wire.Interrupted, progress: wire.Progress{Attempts: 10, Cuts: 10}, want: wire.Failed, code: wire.CodeInterrupted, ended: wire.Interrupted, bury: true},
		{name: "interrupted as often as may be", n: 10, status: wire.Interrupted, progress: wire.Progress{Attempts: 9, Cuts: 9}, want: wire.Waiting, ended: wire.Interrupted},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				now := time.Now()
				a := &attempt{Runner: New(Config{Instance: "w"})}
				e := &wire.Entry{Progress: c.progress, Owner: "w", WorkSeq: 9}
				if c.deadline != 0 {
					e.Meta.Deadline = now.Add(c.deadline).UnixNano()
				}
				cost := wire.NanoUSD(7)
				at := &wire.Attempt{N: c.n, Pool: "a", Status: c.status, Cost: &cost, Decision: c.decision, Doubtful: c.doubtful}
				var cause *wire.Error
				switch c.status {
				case wire.Failed:
					at.ErrorCode = cmp.Or(c.failure, wire.CodeProviderError)
					cause = wire.Errorf(at.ErrorCode, "", "it failed")
				case wire.Interrupted:
					at.ErrorCode = wire.CodeInterrupted
				}
				got := a.next(e, at, cause, c.verdict, c.after, c.cancelled)
				r := got.rec
				if r.Status != c.want || r.Entry.Error != c.code || at.Status != c.ended || got.bury != c.bury {
					t.Fatalf("%s/%s, attempt %s, dead %t", r.Status, r.Entry.Error, at.Status, got.bury)
				}
				if r.Status.Terminal() != r.Until.IsZero() || r.Entry.Owner != "" || r.Entry.WorkSeq != 0 || !r.EndsAttempt() {
					t.Errorf("record %+v", r)
				}
				if r.Status.Terminal() && r.Status != wire.Succeeded && len(r.Body) == 0 {
					t.Error("no body")
				}
				if p := r.Entry.Progress; p.Attempts != c.n || p.Spent != c.progress.Spent+7 || r.Status == wire.Waiting && slices.Contains(p.Tried, "a") != (c.status == wire.Failed) {
					t.Errorf("progress %+v", p)
				}
				if r.Status == wire.Waiting {
					if d := r.Until.Sub(now); d < c.wait[0] || d > c.wait[1]+1 || r.Reason != wire.ReasonRetry {
						t.Errorf("comes back after %s (%s), want %s", d, r.Reason, c.wait)
					}
				}
				if p := r.Entry.Progress; c.failure != "" && r.Status == wire.Waiting && (!slices.Contains(p.Misfits, "a/") || p.Misfit != c.failure) {
					t.Errorf("not noted: %+v", p)
				}
				if len(e.Progress.Tried) != len(c.progress.Tried) || e.Progress.Attempts != c.progress.Attempts {
					t.Errorf("what it was decided on has changed: %+v", e.Progress)
				}
			})
		})
	}
}
