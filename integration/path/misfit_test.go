package path

import (
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker/steer"
	"github.com/sluicehq/sluice/sdk/wire"
)

// refuses is a provider that answers 400 with a machine code.
func refuses(code string) *script {
	return always(reply{status: 400, body: `{"error":{"message":"m","type":"invalid_request_error","code":` + code + `}}`})
}

// TestMisfit: a request that does not fit a candidate goes to those that it may
// fit, to each once and at once; where there is none, the job fails with what
// the provider said, without waiting and without a dead letter.
func TestMisfit(t *testing.T) {
	const long, lacks, unsaid, wrong = `"context_length_exceeded"`, `"unsupported_parameter"`, `null`, `"missing_required_parameter"`
	for _, c := range []struct {
		name    string
		a, b, c string // what refuses with, "" for an answer
		small   bool   // there is a fallback
		took    string
		code    wire.Code // "": it succeeds
	}{
		{name: "too long for one", a: long, took: "a b"},
		{name: "too long for two", a: long, b: long, took: "a b c"},
		{name: "too long for all", a: long, b: lacks, c: long, took: "a b c", code: wire.CodeContextLength},
		{name: "too long for all, and a fallback", a: long, b: long, c: long, small: true, took: "a b c small/1:s"},
		{name: "lacks a parameter", a: lacks, took: "a b"},
		{name: "unsaid why", a: unsaid, took: "a b"},
		{name: "unsaid why by two", a: unsaid, b: unsaid, took: "a b", code: wire.CodeProviderRefused},
		{name: "wrong", a: wrong, small: true, took: "a", code: wire.CodeProviderRefused},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, dir string) {
				provider := func(code string) *script {
					if code == "" {
						return &script{}
					}
					return refuses(code)
				}
				s := setup{dir: dir, strategy: "priority_tiers", attempts: 5, pools: []pool{{name: "a", provider: provider(c.a)}, {name: "b", provider: provider(c.b)}, {name: "c", provider: provider(c.c)},
					{name: "s", provider: &script{}, only: true, routes: []string{"small"}}}}
				if c.small {
					s.plan = chained(steer.Step{Route: "small"})
				}
				r := start(t, s)
				began := time.Now()
				id := r.publish(chat)
				res := r.result(id)
				if got := r.took(id); got != c.took || (c.code == "") != (res.Status == wire.Succeeded) || res.Entry.Error != c.code {
					t.Fatalf("by %s: %s, %s", got, res.Status, res.Body)
				}
				near(t, "all attempts", time.Since(began), 0, 100*time.Millisecond)
				if c.code != "" && !strings.Contains(string(res.Body), string(c.code)) {
					t.Errorf("%s", res.Body)
				}
				if n := r.streamSeq(wire.StreamDead); n != 0 {
					t.Errorf("%d dead letters", n)
				}
			})
		})
	}
}

// TestMisfitLater: a candidate that is full now takes later what does not fit
// another; what does not fit is not tried again meanwhile.
func TestMisfitLater(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		bad, good := refuses(`"context_length_exceeded"`), always(reply{delay: 5 * time.Second})
		r := start(t, setup{dir: dir, pools: []pool{{name: "a", weight: 1000, concurrency: 8, provider: bad}, {name: "b", concurrency: 1, provider: good}}})
		ids := r.flood(wire.Standard, 4, chat)
		r.allSucceed(ids)
		if a, b := len(bad.seen()), len(good.seen()); b != 4 || a > 4 {
			t.Errorf("%d calls at the pool that refuses, %d at the other", a, b)
		}
	})
}
