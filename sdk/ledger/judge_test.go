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
	status := func(s wire.Status, m wire.Meta) *Stored {
		return &Stored{Seq: 11, Record: wire.Record{Status: s, Entry: wire.Entry{Meta: m}}}
	}
	for _, c := range []struct {
		name string
		last *Stored
		n    int
		work uint64
		want Ruling
	}{
		{"no record, any more", nil, 1, 20, Ruling{Verdict: Claim}},
		{"finished", status(wire.Succeeded, meta), 1, 20, Ruling{Verdict: Drop}},
		{"failed", status(wire.Failed, meta), 2, 20, Ruling{Verdict: Drop}},
		{"cancelled, for a router", status(wire.Cancelled, meta), 0, 0, Ruling{Verdict: Drop}},
		{"expired", status(wire.Expired, meta), 1, 20, Ruling{Verdict: Drop}},
		{"the same job published again", status(wire.Running, other(func(*wire.Meta) {})), 1, 20, Ruling{Verdict: Drop}},
		{"another body", status(wire.Running, other(func(m *wire.Meta) { m.BodyHash++ })), 1, 20, Ruling{Verdict: Clash}},
		{"another length", status(wire.Succeeded, other(func(m *wire.Meta) { m.BodyBytes++ })), 1, 20, Ruling{Verdict: Clash}},
		{"another endpoint", status(wire.Waiting, other(func(m *wire.Meta) { m.Endpoint = wire.Responses })), 0, 0, Ruling{Verdict: Clash}},
		{"delayed, first attempt", waiting(0), 1, 20, Ruling{Verdict: Claim, Expect: 11}},
		{"waiting, next attempt", waiting(2), 3, 20, Ruling{Verdict: Claim, Expect: 11}},
		{"waiting, for a router", waiting(2), 0, 0, Ruling{Verdict: Claim, Expect: 11}},
		{"this attempt has ended", waiting(2), 2, 20, Ruling{Verdict: Again}},
		{"an earlier attempt has ended", waiting(2), 1, 20, Ruling{Verdict: Again}},
		{"claimed from this message", running(1, 20), 1, 20, Ruling{Verdict: Held, Owner: "w1"}},
		{"claimed from a copy", running(1, 21), 1, 20, Ruling{Verdict: Drop}},
		{"a later attempt runs", running(2, 21), 1, 20, Ruling{Verdict: Drop}},
		{"running, for a router", running(1, 20), 0, 0, Ruling{Verdict: Drop}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := Judge(c.last, &meta, c.n, c.work); got != c.want {
				t.Errorf("%+v, want %+v", got, c.want)
			}
		})
	}
}
