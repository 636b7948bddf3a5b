package store_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/sluicehq/sluice/analytics/store"
	"github.com/sluicehq/sluice/analytics/store/storetest"
	"github.com/sluicehq/sluice/sdk/wire"
)

// jobOf is the row of a job that ends with an attempt.
func jobOf(a *store.Attempt, attempts int) store.Job {
	return store.Job{Seq: a.Seq, FinishedAt: a.TS, Job: a.Job, Status: a.Attempt.Status, ErrorCode: a.Attempt.ErrorCode, Attempts: attempts, Cost: a.Attempt.Cost}
}

// TestRecorded: jobs come back with their own attempts and nobody else's: not
// those of a shadow, of another tenant, or of an earlier job of the same ID.
func TestRecorded(t *testing.T) {
	s := storetest.Open(t)
	rows := fakeAttempts(1, 8)
	at := func(i int, submitted, ended time.Duration) {
		rows[i].Job.SubmittedAt, rows[i].TS = day.Add(submitted).UnixNano(), day.Add(ended)
	}
	name := func(i int, tenant, id string) { rows[i].Job.Tenant, rows[i].Job.ID = tenant, id }
	// Job a failed once and then succeeded; another tenant has an a too, and the
	// same tenant has one again later.
	name(0, "x", "a")
	rows[1].Job, rows[1].Attempt.N = rows[0].Job, 2
	at(0, 0, time.Second)
	at(1, 0, 3*time.Second)
	rows[0].Attempt.Status, rows[0].Attempt.ErrorCode, rows[0].Attempt.HTTP, rows[0].Attempt.Cost = wire.Failed, wire.CodeProviderError, 500, nil
	name(2, "y", "a")
	at(2, time.Second, 2*time.Second)
	name(3, "x", "a")
	at(3, 10*time.Second, 11*time.Second)
	name(4, "x", "s") // a shadow of job s, and job s itself
	rows[4].Job.Shadow = "try"
	at(4, 20*time.Second, 21*time.Second)
	name(5, "x", "s")
	at(5, 20*time.Second, 22*time.Second)
	name(6, "x", "early")
	at(6, -time.Minute, time.Second)
	name(7, "x", "late")
	at(7, 30*time.Second, 50*time.Second)
	for i := range rows {
		rows[i].Attempt.Decision.Pool, rows[i].Attempt.Decision.Model = rows[i].Attempt.Pool, rows[i].Attempt.Model
	}
	rows[5].Attempt.Decision.Candidates[2].Excluded = "full"
	asks := rows[5].Job
	asks.BodyBytes, asks.MaxTokens, asks.Region, asks.Needs = 5000, 700, "eu-west", 5
	must(t, s.InsertAttempts(t.Context(), rows))
	must(t, s.InsertJobs(t.Context(), []store.Job{jobOf(&rows[1], 2), jobOf(&rows[2], 1), jobOf(&rows[3], 1), jobOf(&rows[5], 1), jobOf(&rows[6], 1), jobOf(&rows[7], 1)}))

	since, until := day, day.Add(40*time.Second)
	list, more, err := s.Recorded(t.Context(), since, until, 100)
	must(t, err)
	var got [][]any
	for _, j := range list {
		line := []any{j.Tenant + "/" + j.ID, j.Status, j.FinishedAt.Sub(j.SubmittedAt)}
		for _, a := range j.Attempts {
			line = append(line, int(a.N), a.Status)
		}
		got = append(got, line)
	}
	want := [][]any{
		{"x/a", "succeeded", 3 * time.Second, 1, "failed", 2, "succeeded"},
		{"y/a", "succeeded", time.Second, 1, "succeeded"},
		{"x/a", "succeeded", time.Second, 1, "succeeded"},
		{"x/s", "succeeded", 2 * time.Second, 1, "succeeded"},
	}
	if !reflect.DeepEqual(got, want) || more {
		t.Fatalf("more %v\n got %v\nwant %v", more, got, want)
	}
	a, b := list[0].Attempts[0], list[0].Attempts[1]
	if a.Cost != nil || a.Error != string(wire.CodeProviderError) || a.HTTP != 500 || !a.EndedAt.Equal(rows[0].TS) {
		t.Errorf("%+v", a)
	}
	w := rows[1].Attempt
	depth := uint32(0)
	for _, c := range w.Decision.Candidates {
		if c.Pool == w.Pool {
			depth = uint32(c.Depth)
		}
	}
	if *b.Cost != *w.Cost || b.Usage != w.Usage || int64(b.QueueMS) != w.QueueMS || int64(b.LatencyMS) != w.LatencyMS || int64(b.TTFTMS) != w.TTFTMS ||
		b.Pool != w.Pool || b.Model != w.Model || b.Endpoint != string(wire.ChatCompletions) || b.Depth != depth || b.Crowded {
		t.Errorf("%+v\nwant %+v with depth %d", b, w, depth)
	}
	if j := list[3]; j.BodyBytes != 5000 || j.MaxTokens != 700 || j.Region != "eu-west" || j.Needs != 5 {
		t.Errorf("%+v", j)
	}
	if !list[3].Attempts[0].Crowded {
		t.Error("a decision that found a candidate full is not told")
	}
	latest, more, err := s.Recorded(t.Context(), since, until, 2)
	must(t, err)
	if !more || len(latest) != 2 || !reflect.DeepEqual(latest, list[2:]) {
		t.Errorf("more %v, the latest two are %+v", more, latest)
	}
	if all, more, err := s.Recorded(t.Context(), time.Time{}, time.Time{}, 6); err != nil || more || len(all) != 6 || all[0].ID != "early" {
		t.Errorf("%d jobs, more %v, %v", len(all), more, err)
	}
	if none, more, err := s.Recorded(t.Context(), until, time.Time{}, 10); err != nil || more || none != nil {
		t.Errorf("%v, %v, %v", none, more, err)
	}
}
