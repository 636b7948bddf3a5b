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
