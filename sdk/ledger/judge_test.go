package ledger

import (
	"testing"

	"github.com/sluicehq/sluice/sdk/wire"
)

// TestJudge lists every verdict and what leads to it.
func TestJudge(t *testing.T) {
	meta := wire.Meta{ID: "x", Tenant: "acme", Seq: 5, BodyHash: 7, BodyBytes: 8, Endpoint: wire.ChatCompletions}
	other := func(f func(*wire.Meta)) wire.Meta { m := meta; m.Seq = 4; f(&m); return m }
	running := func(n int, work uint64) *Stored {
		return &Stored{Seq: 11, Record: wire.Record{Status: wire.Running,
			Entry: wire.Entry{Meta: meta, Attempt: &wire.Attempt{N: n}, Owner: "w1", WorkSeq: work}}}
	}
	waiting := func(ended int) *Stored {
		return &Stored{Seq: 11, Record: wire.Record{Status: wire.Waiting, Entry: wire.Entry{Meta: meta, Progress: wire.Progress{Attempts: ended}}}}
	}
	recalled := func(times int) *Stored {
		return &Stored{Seq: 11, Record: wire.Record{Status: wire.Waiting, Reason: wire.ReasonRecall, Entry: wire.Entry{Meta: meta, Progress: wire.Progress{Recalls: times}}}}
	}
	status := func(s wire.Status, m wire.Meta) *Stored {
		return &Stored{Seq: 11, Record: wire.Record{Status: s, Entry: wire.Entry{Meta: m}}}
	}
	for _, c := range []struct {
		name string
		last *Stored
		work Work
		want Ruling
	}{
		{"no record, any more", nil, Work{N: 1, Seq: 20}, Ruling{Verdict: Claim}},
		{"finished", status(wire.Succeeded, meta), Work{N: 1, Seq: 20}, Ruling{Verdict: Drop}},
		{"failed", status(wire.Failed, meta), Work{N: 2, Seq: 20}, Ruling{Verdict: Drop}},
		{"cancelled, for a router", status(wire.Cancelled, meta), Work{}, Ruling{Verdict: Drop}},
		{"expired", status(wire.Expired, meta), Work{N: 1, Seq: 20}, Ruling{Verdict: Drop}},
		{"the same job published again", status(wire.Running, other(func(*wire.Meta) {})), Work{N: 1, Seq: 20}, Ruling{Verdict: Drop}},
		{"another body", status(wire.Running, other(func(m *wire.Meta) { m.BodyHash++ })), Work{N: 1, Seq: 20}, Ruling{Verdict: Clash}},
		{"another length", status(wire.Succeeded, other(func(m *wire.Meta) { m.BodyBytes++ })), Work{N: 1, Seq: 20}, Ruling{Verdict: Clash}},
		{"another endpoint", status(wire.Waiting, other(func(m *wire.Meta) { m.Endpoint = wire.Responses })), Work{}, Ruling{Verdict: Clash}},
		{"delayed, first attempt", waiting(0), Work{N: 1, Seq: 20}, Ruling{Verdict: Claim, Expect: 11}},
		{"waiting, next attempt", waiting(2), Work{N: 3, Seq: 20}, Ruling{Verdict: Claim, Expect: 11}},
		{"waiting, for a router", waiting(2), Work{}, Ruling{Verdict: Claim, Expect: 11}},
		{"this attempt has ended", waiting(2), Work{N: 2, Seq: 20}, Ruling{Verdict: Again}},
		{"an earlier attempt has ended", waiting(2), Work{N: 1, Seq: 20}, Ruling{Verdict: Again}},
		{"taken back", recalled(2), Work{N: 1, Recalls: 1, Seq: 20}, Ruling{Verdict: Again}},
		{"the copy of one taken back", recalled(2), Work{N: 1, Recalls: 2, Seq: 20}, Ruling{Verdict: Claim, Expect: 11}},
		{"taken back, for a router", recalled(2), Work{}, Ruling{Verdict: Claim, Expect: 11}},
		{"claimed from this message", running(1, 20), Work{N: 1, Seq: 20}, Ruling{Verdict: Held, Owner: "w1"}},
		{"claimed from a copy", running(1, 21), Work{N: 1, Seq: 20}, Ruling{Verdict: Drop}},
		{"a later attempt runs", running(2, 21), Work{N: 1, Seq: 20}, Ruling{Verdict: Drop}},
		{"running, for a router", running(1, 20), Work{}, Ruling{Verdict: Drop}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := Judge(c.last, &meta, c.work); got != c.want {
				t.Errorf("%+v, want %+v", got, c.want)
			}
		})
	}
}
