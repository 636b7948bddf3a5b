package store_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluicehq/sluice/analytics/store"
	"github.com/sluicehq/sluice/analytics/store/storetest"
	"github.com/sluicehq/sluice/sdk/wire"
)

// fakeTexts are n texts of a tenant's jobs, said just now.
func fakeTexts(tenant string, first uint64, n int) []store.Text {
	now := time.Now().UTC().Truncate(time.Microsecond)
	rows := make([]store.Text, n)
	for i := range rows {
		seq := first + uint64(i)
		rows[i] = store.Text{Seq: seq, TS: now.Add(time.Duration(i) * time.Millisecond), Text: wire.Text{Tenant: tenant, Job: fmt.Sprintf("job-%d", seq), Attempt: 1,
			Expires: now.Add(time.Hour).Unix(), Route: "chat", Pool: "p", Model: "m", Status: wire.Succeeded,
			Prompt: fmt.Sprintf("user: what is number %d, it's \"urgent\"?\nÜber [email]", seq), Answer: fmt.Sprintf("Number%d is Äpfel", seq),
			Bytes: [2]int64{100, 20}, Redacted: map[string]uint32{"email": 1}}}
	}
	return rows
}

func textCount(t *testing.T, s *store.Store) uint64 {
	t.Helper()
	return query(t, s, "SELECT count() FROM texts")[0][0].(uint64)
}

// Texts come back as they went in, each attempt once however often it is
// inserted, over days too; words are found in prompts and answers in any case.
func TestTexts(t *testing.T) {
	s := storetest.Open(t)
	rows := fakeTexts("acme", 1, 20)
	for i := range rows[:10] { // two days
		rows[i].TS = rows[i].TS.AddDate(0, 0, -1)
	}
	again := append(slices.Clone(rows[3:12]), rows[3]) // and one twice
	if n, err := s.InsertTexts(t.Context(), again); err != nil || n != 9 {
		t.Fatalf("added %d, %v", n, err)
	}
	if n, err := s.InsertTexts(t.Context(), rows); err != nil || n != 11 {
		t.Fatalf("added %d, %v", n, err)
	}
	if n, err := s.InsertTexts(t.Context(), rows); err != nil || n != 0 || textCount(t, s) != 20 {
		t.Fatalf("added %d, %v; there are %d", n, err, textCount(t, s))
	}
	second := fakeTexts("other", 30, 1)
	second[0].Job = rows[5].Job
	if _, err := s.InsertTexts(t.Context(), second); err != nil {
		t.Fatal(err)
	}
	got, err := s.Texts(t.Context(), store.TextQuery{Tenant: "acme", Job: rows[5].Job})
	must(t, err)
	if len(got) != 1 || fmt.Sprintf("%+v", got[0]) != fmt.Sprintf("%+v", rows[5]) {
		t.Fatalf("got %+v\nwant %+v", got, rows[5])
	}
	for _, c := range []struct {
		q    store.TextQuery
		want int
	}{
		{store.TextQuery{Tenant: "acme"}, 20},
		{store.TextQuery{}, 21},
		{store.TextQuery{Tenant: "acme", Limit: 3}, 3},
		{store.TextQuery{Tenant: "acme", Since: rows[10].TS}, 10},
		{store.TextQuery{Tenant: "acme", Until: rows[10].TS}, 10},
		{store.TextQuery{Tenant: "acme", Words: []string{"URGENT"}}, 20},
		{store.TextQuery{Tenant: "acme", Words: []string{"number7"}}, 1},
		{store.TextQuery{Tenant: "acme", Words: []string{"number7 äpfel"}}, 1},
		{store.TextQuery{Tenant: "acme", Words: []string{"number7", "number8"}}, 0},
		{store.TextQuery{Tenant: "acme", Words: []string{"umber"}}, 0}, // whole words
		{store.TextQuery{Tenant: "other", Words: []string{"number7"}}, 0},
	} {
		if got, err := s.Texts(t.Context(), c.q); err != nil || len(got) != c.want {
			t.Errorf("%+v: %d texts, %v", c.q, len(got), err)
		}
	}
	if _, err := s.Texts(t.Context(), store.TextQuery{Words: []string{"?!"}}); err == nil {
		t.Error("a search for no word is taken")
	}
	if newest, err := s.Texts(t.Context(), store.TextQuery{Tenant: "acme", Limit: 1}); err != nil || newest[0].Job != "job-20" {
		t.Errorf("%+v, %v", newest, err)
	}
}

// Writers that insert overlapping parts of the same rows at once make each row
// once.
func TestTextsOfManyWriters(t *testing.T) {
	s := storetest.Open(t)
	const rounds, each = 8, 30
	for round := range uint64(rounds) {
		rows := fakeTexts("acme", 1+round*each, each)
		var all sync.WaitGroup
		for w := range 3 {
			all.Go(func() { // each begins elsewhere, so that none has the others' first row
				for _, part := range [][]store.Text{rows[w*5 : 20+w*5], rows} {
					if _, err := s.InsertTexts(t.Context(), part); err != nil {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
	}
	if n := query(t, s, "SELECT uniqExact(job_id) FROM texts")[0][0].(uint64); n != rounds*each || textCount(t, s) != rounds*each {
		t.Errorf("%d texts of %d, in %d rows", n, rounds*each, textCount(t, s))
	}
}

// A deleted text is on no disk; what is deleted is a tenant's, or one job's.
func TestForgetTexts(t *testing.T) {
	s := storetest.Open(t)
	for _, tenant := range []string{"acme", "other"} {
		if _, err := s.InsertTexts(t.Context(), fakeTexts(tenant, 1, 5)); err != nil {
			t.Fatal(err)
		}
	}
	must(t, s.ForgetTexts(t.Context(), "acme", "job-2"))
	if got, _ := s.Texts(t.Context(), store.TextQuery{Tenant: "acme"}); len(got) != 4 || textCount(t, s) != 9 {
		t.Errorf("%d of the tenant, %d of all", len(got), textCount(t, s))
	}
	must(t, s.ForgetTexts(t.Context(), "acme", ""))
	must(t, s.ForgetTexts(t.Context(), "acme", "")) // again
	if n := textCount(t, s); n != 5 {
		t.Errorf("%d are left", n)
	}
	if n := query(t, s, "SELECT toUInt64(sum(rows)) FROM system.parts WHERE database = currentDatabase() AND table = 'texts' AND active")[0][0].(uint64); n != 5 {
		t.Errorf("parts have %d rows", n)
	}
}

// A text is not given once its time is up, and goes from the table; a shorter
// time holds for what is there already, a longer one does not.
func TestTextsExpire(t *testing.T) {
	s := storetest.Open(t)
	rows := fakeTexts("acme", 1, 3)
	rows[0].Expires = time.Now().Add(-time.Minute).Unix()
	rows[1].TS = rows[1].TS.Add(-50 * time.Minute)
	for i := range rows {
		if _, err := s.InsertTexts(t.Context(), rows[i:i+1]); err != nil {
			t.Fatal(err)
		}
	}
	left := func() (out []string) {
		t.Helper()
		got, err := s.Texts(t.Context(), store.TextQuery{Tenant: "acme"})
		must(t, err)
		for _, r := range got {
			out = append(out, r.Job)
		}
		return out
	}
	if got := left(); !slices.Equal(got, []string{"job-3", "job-2"}) {
		t.Errorf("%v", got)
	}
	must(t, s.ShortenTexts(t.Context(), "acme", 48*time.Hour))
	must(t, s.ShortenTexts(t.Context(), "other", time.Minute))
	if got := left(); len(got) != 2 {
		t.Errorf("%v", got)
	}
	must(t, s.ShortenTexts(t.Context(), "acme", 30*time.Minute))
	if got := left(); !slices.Equal(got, []string{"job-3"}) {
		t.Errorf("%v", got)
	}
	exec(t, s, "OPTIMIZE TABLE texts FINAL")
	if n := textCount(t, s); n != 1 {
		t.Errorf("%d rows are left in the table", n)
	}
}

// A search reads no more than the parts of the table whose words may match.
func TestTextsIndex(t *testing.T) {
	s := storetest.Open(t)
	rows := fakeTexts("acme", 1, 4000)
	if _, err := s.InsertTexts(t.Context(), rows); err != nil {
		t.Fatal(err)
	}
	plan := fmt.Sprint(query(t, s, "EXPLAIN indexes = 1 SELECT job_id FROM texts WHERE hasToken(lowerUTF8(answer), 'number77')"))
	if !strings.Contains(plan, "answer_words") || !strings.Contains(plan, "Granules: 1/") {
		t.Errorf("%s", plan)
	}
}

// What ClickHouse quotes of rows that it refuses is not in the error.
func TestTextsErrorsHaveNoText(t *testing.T) {
	s := storetest.Open(t)
	exec(t, s, "ALTER TABLE texts DROP INDEX answer_words")
	exec(t, s, "ALTER TABLE texts MODIFY COLUMN answer UInt8")
	rows := fakeTexts("acme", 1, 1)
	rows[0].Answer = "the-secret-answer"
	_, err := s.InsertTexts(context.WithoutCancel(t.Context()), rows)
	if err == nil || strings.Contains(err.Error(), "the-secret") || !strings.Contains(err.Error(), "code: 6") {
		t.Errorf("%v", err)
	}
}
