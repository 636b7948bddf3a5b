package ingest

import (
	"testing"
	"time"

	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
)

// TestShadowsMakeNoJob: the copy of a job has an attempt to account for, and is
// no job.
func TestShadowsMakeNoJob(t *testing.T) {
	for _, shadow := range []string{"", "try"} {
		rec := wire.Record{Status: wire.Succeeded, Entry: wire.Entry{Meta: wire.Meta{ID: "a", Tenant: "t", Class: wire.Batch, Shadow: shadow},
			Progress: wire.Progress{Attempts: 1}, Attempt: &wire.Attempt{N: 1, Pool: "p", Status: wire.Succeeded}}}
		a, j, err := decode(&ledger.Seen{Seq: 7, At: time.Unix(9, 0), Header: rec.Encode()})
		if err != nil || a == nil || a.Seq != 7 || a.Job.Shadow != shadow || (j == nil) != (shadow != "") {
			t.Errorf("shadow %q: %+v, %+v, %v", shadow, a, j, err)
		}
	}
}

// TestWhatIsKept: of a claim and of a wait only the place in the ledger waits
// for the session; what ends an attempt or a job is kept whole.
func TestWhatIsKept(t *testing.T) {
	at := &wire.Attempt{N: 1, Pool: "p"}
	failed := *at
	failed.Status = wire.Failed
	for name, tt := range map[string]struct {
		status  wire.Status
		attempt *wire.Attempt
		ends    bool // the attempt
		rows    bool
	}{
		"claim":            {wire.Running, at, false, false},
		"wait":             {wire.Waiting, nil, false, false},
		"wait for a retry": {wire.Waiting, &failed, true, true},
		"end":              {wire.Failed, &failed, true, true},
		"cancelled":        {wire.Cancelled, nil, false, true},
	} {
		rec := wire.Record{Status: tt.status, Entry: wire.Entry{Meta: wire.Meta{ID: "a", Tenant: "t", Class: wire.Batch}, Attempt: tt.attempt}}
		if rec.EndsAttempt() != tt.ends {
			t.Fatalf("%s: it does not end an attempt as the test believes", name)
		}
		m := &ledger.Seen{Seq: 7, Prev: 6, Pending: 3, Header: rec.Encode()}
		want := record{seq: 7, prev: 6, pending: 3}
		if tt.rows {
			want.seen = m
		}
		if got := recordOf(m); got != want {
			t.Errorf("%s: kept %+v, want %+v", name, got, want)
		}
		a, j, err := decode(m)
		if err != nil || (a != nil || j != nil) != tt.rows {
			t.Errorf("%s: rows %v and %v (%v), and it is kept: %t", name, a, j, err, tt.rows)
		}
	}
}
