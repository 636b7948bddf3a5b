package bench

import (
	"encoding/json"
	"strings"
	"testing"
)

const traceHead = "TIMESTAMP,ContextTokens,GeneratedTokens\n"

func TestReadTrace(t *testing.T) {
	got, err := readTrace(strings.NewReader(traceHead+"2023-11-16 18:15:46.6805900,374,44\n2023-11-16 18:15:50.9951690,396,0\n"), 0)
	if err != nil || len(got) != 2 || got[0] != (Arrival{0, 374, 44}) || got[1] != (Arrival{4_314_579_000, 396, 1}) {
		t.Errorf("%+v, %v", got, err)
	}
	for rows, want := range map[string]string{
		"":                                     "EOF",
		traceHead + "x":                        "row 2: ",
		traceHead + "now,1,2":                  "row 2: ",
		traceHead + "2023-11-16 18:15:46,-1,2": "row 2: ",
		traceHead + "2023-11-16 18:15:46,1,99999999":                   "at most",
		traceHead + "2023-11-16 18:15:46,1,2\n2023-11-16 18:15:45,1,2": "row 3: want at most",
	} {
		if _, err := readTrace(strings.NewReader(rows), 0); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "%!") {
			t.Errorf("%q: %v, want %q", rows, err, want)
		}
	}
}

// FuzzTrace: whatever a trace file holds, what is read of it can be replayed.
func FuzzTrace(f *testing.F) {
	f.Add(traceHead+"2023-11-16 18:15:46.6805900,374,44\n2023-11-16 18:15:50,396,109\n", 0)
	f.Add("a,b\n\"2023-11-16 18:15:46\",1,\n", 3)
	f.Fuzz(func(t *testing.T, text string, limit int) {
		rows, err := readTrace(strings.NewReader(text), limit)
		if err != nil && rows != nil || limit > 0 && len(rows) > limit {
			t.Fatalf("%d rows, %v", len(rows), err)
		}
		for i, a := range rows {
			if a.At < 0 || a.Input < 0 || a.Output < 1 || max(a.Input, a.Output) > maxTokens {
				t.Fatalf("%+v", a)
			}
			if i == 0 && !json.Valid(a.prompt()) {
				t.Fatalf("%s", a.prompt())
			}
		}
	})
}
