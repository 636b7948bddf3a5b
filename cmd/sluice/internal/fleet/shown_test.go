package fleet

import (
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// of makes an attempt.
func of(pool, status string, cost int64) attempt {
	a := attempt{status: status, by: map[string]string{"pool": pool, "status": status}, in: 7, cacheRead: 2, cacheW: 1, out: 4, reasoning: 1}
	if cost >= 0 {
		a.cost = &cost
	}
	return a
}

func TestFold(t *testing.T) {
	list := []attempt{of("a", "succeeded", 10), of("a", "failed", 5), of("a", "interrupted", -1), of("b", "cancelled", 3), of("b", "succeeded", 20)}
	got := fold(list, []string{"pool"}, nil)
	want := map[string]Figures{
		"a": {Attempts: 3, Succeeded: 1, Failed: 2, Unknown: 1, In: 30, Cached: 6, Out: 15, Spend: 15, Wasted: 5},
		"b": {Attempts: 2, Succeeded: 1, In: 20, Cached: 4, Out: 10, Spend: 23, Wasted: 3},
	}
	if len(got) != 2 || got["a"] != want["a"] || got["b"] != want["b"] {
		t.Errorf("%+v", got)
	}
	if got := fold(list, []string{"pool", "status"}, map[string]string{"pool": "b"}); len(got) != 2 || got["b · succeeded"].Spend != 20 {
		t.Errorf("%+v", got)
	}
	if got := fold(list, nil, nil); got[""].Spend != 38 || got[""].Attempts != 5 {
		t.Errorf("%+v", got)
	}
}

// TestShownIsCompared: an answer that is a nano-dollar off, or lacks a group,
// is told.
func TestShownIsCompared(t *testing.T) {
	list := []attempt{of("a", "succeeded", 10), of("b", "failed", 5)}
	answer := func(spend string, more string) string {
		row := `{"keys":["a"],"attempts":1,"succeeded":1,"tokens_in":10,"tokens_cached":2,"tokens_out":5,"spend_nano_usd":` + spend + `}`
		return `{"rows":[` + row + more + `]}`
	}
	second := `,{"keys":["b"],"attempts":1,"failed":1,"tokens_in":10,"tokens_cached":2,"tokens_out":5,"spend_nano_usd":5,"wasted_nano_usd":5}`
	for body, wrong := range map[string]int{answer("10", second): 0, answer("11", second): 1, answer("10", ""): 1, answer("10", second+second[:10]+`"c"`+second[13:]): 1} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/admin/v1/analytics/cost" || r.URL.Query().Get("by") != "pool" {
				t.Errorf("asked %s", r.URL)
			}
			_, _ = w.Write([]byte(body))
		}))
		f, r := &Fleet{http: strings.TrimPrefix(s.URL, "http://")}, &Report{Costs: new(big.Int), Books: new(big.Int), Spent: new(big.Int), Billed: new(big.Int)}
		if err := f.askedPage(t.Context(), r, list, []string{"pool"}, nil); err != nil {
			t.Error(err)
		}
		if r.Shown != 1 || r.Misshown != wrong || (r.Err() != nil) != (wrong > 0) {
			t.Errorf("%s: %d of %d are wrong, %v; want %d", body, r.Misshown, r.Shown, r.Err(), wrong)
		}
		s.Close()
	}
}
