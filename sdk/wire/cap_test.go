package wire

import (
	"encoding/json"
	"testing"
)

func TestCapTokens(t *testing.T) {
	for _, c := range []struct {
		body   string
		e      Endpoint
		modern bool
		want   string
	}{
		{`{"model":"m","max_tokens":500}`, ChatCompletions, false, `{"model":"m","max_tokens":100}`},
		{`{"model":"m","max_tokens":50}`, ChatCompletions, true, `{"model":"m","max_tokens":50}`},
		{`{ "max_completion_tokens" : 1e3, "x" : [1, {"max_tokens":9999}] }`, ChatCompletions, false, `{"max_completion_tokens":100,"x" : [1, {"max_tokens":9999}]}`},
		{`{"model":"m"}`, ChatCompletions, false, `{"model":"m","max_tokens":100}`},
		{`{"model":"m"}`, ChatCompletions, true, `{"model":"m","max_completion_tokens":100}`},
		{`{"model":"m","max_tokens":null}`, Completions, true, `{"model":"m","max_tokens":100}`},
		{`{"max_tokens":200,"max_tokens":300}`, Messages, false, `{"max_tokens":100,"max_tokens":100}`},
		{`{"input":"x"}`, Responses, true, `{"input":"x","max_output_tokens":100}`},
		{`{"input":"x","max_output_tokens":101}`, Responses, true, `{"input":"x","max_output_tokens":100}`},
		{`{"input":"x"}`, Embeddings, false, `{"input":"x"}`},
		{`{}`, ChatCompletions, false, `{"max_tokens":100}`},
		{`{"a":"\u00e9\"","max_\u0074okens":7000}`, ChatCompletions, false, `{"a":"\u00e9\"","max_tokens":100}`},
		{`{"max_output_tokens":5}`, ChatCompletions, false, `{"max_tokens":100}`}, // not a bound there
		{`{"max_tokens":5,"max_completion_tokens":7}`, Responses, false, `{"max_output_tokens":100}`},
		{`{"max_completion_tokens":5,"n":2}`, Completions, false, `{"n":2,"max_tokens":100}`},
		{`{"broken`, ChatCompletions, false, `{"broken`},
	} {
		got := CapTokens([]byte(c.body), c.e, 100, c.modern)
		if string(got) != c.want {
			t.Errorf("%s %s:\n got %s\nwant %s", c.e, c.body, got, c.want)
		}
		if json.Valid([]byte(c.body)) && !json.Valid(got) {
			t.Errorf("%s is not JSON", got)
		}
	}
}

// FuzzCapTokens: every other field keeps its value, and the bounds hold.
func FuzzCapTokens(f *testing.F) {
	for _, s := range []string{`{}`, `{"max_tokens":1}`, `{"a":{"b":[]},"max_output_tokens":1e9}`, `{"max_tokens":"x"}`, `{"a":1,"a":2}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, body string) {
		var before, after map[string]json.RawMessage
		if json.Unmarshal([]byte(body), &before) != nil || before == nil {
			return
		}
		if err := json.Unmarshal(CapTokens([]byte(body), ChatCompletions, 10, false), &after); err != nil {
			t.Fatal(err)
		}
		bound := false
		for k, v := range after {
			if k == "max_tokens" || k == "max_completion_tokens" || k == "max_output_tokens" {
				var n int64
				if string(v) != "null" && (json.Unmarshal(v, &n) != nil || n > 10 || n < 0) {
					t.Errorf("%s: %s", k, v)
				}
				bound = bound || string(v) != "null"
			} else if string(before[k]) != string(v) {
				t.Errorf("%s: %s, was %s", k, v, before[k])
			}
		}
		if !bound {
			t.Errorf("no bound in %v", after)
		}
	})
}
