package wire

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"
)

func cents(n NanoUSD) *NanoUSD { return &n }

// TestRecordHeaders reads the contract's headers of each kind of record.
func TestRecordHeaders(t *testing.T) {
	attempt := func(status Status, code Code, cost *NanoUSD, u Usage) *Attempt {
		return &Attempt{N: 2, Pool: "p", Provider: "openai", Model: "m", Status: status, ErrorCode: code, Cost: cost, Usage: u}
	}
	for name, c := range map[string]struct {
		rec  Record
		want map[string]string
	}{
		"claim": {Record{Status: Running, Entry: Entry{Attempt: attempt("", "", nil, Usage{})}},
			map[string]string{HeaderStatus: "running", HeaderAttempt: "2", HeaderPool: "p", HeaderProvider: "openai", HeaderModel: "m"}},
		"waiting": {Record{Status: Waiting, Reason: ReasonRetry, Until: time.Date(2026, 1, 2, 3, 4, 5, 6, time.FixedZone("x", 3600)),
			Entry: Entry{Attempt: attempt(Failed, CodeRateLimited, cents(0), Usage{Input: 3})}},
			map[string]string{HeaderStatus: "waiting", HeaderReason: "retry", HeaderUntil: "2026-01-02T02:04:05.000000006Z", HeaderAttempt: "2",
				HeaderPool: "p", HeaderProvider: "openai", HeaderModel: "m", HeaderErrorCode: "rate_limited", HeaderCost: "0", HeaderInputTokens: "3", HeaderOutputTokens: "0"}},
		"delayed": {Record{Status: Waiting, Reason: ReasonDelay, Until: time.Unix(0, 1)},
			map[string]string{HeaderStatus: "waiting", HeaderReason: "delay", HeaderUntil: "1970-01-01T00:00:00.000000001Z"}},
		"succeeded, all counts": {Record{Status: Succeeded, Entry: Entry{Attempt: attempt(Succeeded, "", cents(5), Usage{1, 2, 3, 4, 5})}},
			map[string]string{HeaderStatus: "succeeded", HeaderAttempt: "2", HeaderPool: "p", HeaderProvider: "openai", HeaderModel: "m", HeaderCost: "5",
				HeaderInputTokens: "1", HeaderCacheReadTokens: "2", HeaderCacheWriteTokens: "3", HeaderOutputTokens: "4", HeaderReasoningTokens: "5"}},
		"unknown cost": {Record{Status: Succeeded, Entry: Entry{Attempt: attempt(Succeeded, "", nil, Usage{Output: 1})}},
			map[string]string{HeaderStatus: "succeeded", HeaderAttempt: "2", HeaderPool: "p", HeaderProvider: "openai", HeaderModel: "m",
				HeaderInputTokens: "0", HeaderOutputTokens: "1"}},
		"failed without an attempt": {Record{Status: Failed, Entry: Entry{Error: CodeInvalidJSON}},
			map[string]string{HeaderStatus: "failed", HeaderErrorCode: "invalid_json"}},
	} {
		t.Run(name, func(t *testing.T) {
			h := c.rec.Encode()
			delete(h, HeaderEntry)
			got := map[string]string{}
			for k, v := range h {
				if len(v) != 1 {
					t.Errorf("%s is given %d times", k, len(v))
				}
				got[k] = v[0]
			}
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("headers %v\nwant    %v", got, c.want)
			}
		})
	}
}

// TestRecordRoundTrip (I4).
func TestRecordRoundTrip(t *testing.T) {
	rec := Record{Status: Waiting, Reason: ReasonRetry, Until: time.Unix(1, 5).UTC(), Body: []byte("x"), Entry: Entry{
		Meta: Meta{ID: "a", Tenant: "t", Key: "k", Class: Batch, Seq: 3, SubmittedAt: 4, Endpoint: ChatCompletions, Route: "<&>\u2028\"\\", Stream: true, Deadline: 5,
			NotBefore: 6, Affinity: "ü", Region: "r", MaxCost: cents(7), Webhook: "https://x", Batch: "b", Trace: "tp", TraceState: "a=1,b=\"2", Labels: map[string]string{"a": "\\\"<"},
			MaxTokens: 8, BodyBytes: 9, BodyHash: 1<<63 + 5},
		Progress: Progress{Attempts: 1, Spent: 2, Unknown: true, Cuts: 3, Tried: []string{"p", "q"}, Expect: 4, ReadyAt: 5},
		Attempt: &Attempt{N: 1, Pool: "p", Provider: "o", Model: "m", Region: "r", Strategy: "s", Price: &Price{"v", 1, 2, 3, 4, 5}, QueueMS: 6,
			Status: Failed, ErrorCode: CodeTimeout, HTTP: 504, Usage: Usage{1, 2, 3, 4, 5}, Source: UsageEstimated, Cost: cents(8), TTFTMS: 9, LatencyMS: 10,
			Decision: &Decision{Route: "r", Strategy: "s", Pool: "p", Model: "m", Sequence: 11, Candidates: []Candidate{{"p", "m", 1, 2, 0.5, ""}, {"q", "n", 1, 2, 1e-9, "full"}}}},
		Owner: "w", WorkSeq: 12, Error: CodeTimeout}}
	got, err := DecodeRecord(rec.Encode(), rec.Body)
	if err != nil || !reflect.DeepEqual(got, rec) {
		a, _ := json.Marshal(got)
		b, _ := json.Marshal(rec)
		t.Errorf("%v\n got %s\nwant %s", err, a, b)
	}
}

func TestDecodeRecordFaults(t *testing.T) {
	for name, h := range map[string]map[string][]string{
		"nothing":        nil,
		"no entry":       {HeaderStatus: {"running"}},
		"queued":         {HeaderStatus: {"queued"}, HeaderEntry: {"{}"}},
		"interrupted":    {HeaderStatus: {"interrupted"}, HeaderEntry: {"{}"}},
		"unknown status": {HeaderStatus: {"done"}, HeaderEntry: {"{}"}},
		"cut entry":      {HeaderStatus: {"running"}, HeaderEntry: {`{"j":{`}},
		"bad until":      {HeaderStatus: {"waiting"}, HeaderUntil: {"soon"}, HeaderEntry: {"{}"}},
	} {
		if _, err := DecodeRecord(h, nil); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func FuzzDecodeRecord(f *testing.F) {
	f.Add("running", "", "", `{"j":{"id":"x","t":"acme"},"a":{"n":1,"c":5}}`)
	f.Add("waiting", "retry", "2026-01-02T03:04:05.6Z", `{"p":{"n":1,"$":-5}}`)
	f.Add("succeeded", "", "", `{"j":{"l":{"a":"b"}},"a":{"d":{"c":[{"s":1e308}]}}}`)
	f.Fuzz(func(t *testing.T, status, reason, until, entry string) {
		r, err := DecodeRecord(map[string][]string{HeaderStatus: {status}, HeaderReason: {reason}, HeaderUntil: {until}, HeaderEntry: {entry}}, nil)
		if err != nil {
			return
		}
		once := r.Encode()
		back, err := DecodeRecord(once, nil)
		if err != nil {
			t.Fatalf("does not come back: %v: %v", err, once)
		}
		if twice := back.Encode(); !reflect.DeepEqual(once, twice) {
			t.Fatalf("changes:\n%v\n%v", once, twice)
		}
	})
}

func TestProgressAdd(t *testing.T) {
	var p Progress
	p.Add(&Attempt{N: 1, Status: Failed, Cost: cents(5)})
	p.Add(&Attempt{N: 2, Status: Interrupted, Cost: cents(7)})
	if p.Attempts != 2 || p.Cuts != 1 || p.Spent != 12 || p.Unknown {
		t.Errorf("%+v", p)
	}
	if p.Add(&Attempt{N: 3, Status: Failed}); !p.Unknown || p.Spent != 12 {
		t.Errorf("an unknown cost: %+v", p)
	}
}

func TestSettle(t *testing.T) {
	a := Attempt{Price: &Price{Input: 1_000_000}}
	if a.Settle(Usage{Input: 2}, UsageFromProvider); *a.Cost != 2000 || a.Source != UsageFromProvider {
		t.Errorf("%+v", a)
	}
	a.Price = nil
	if a.Settle(Usage{Input: 2}, UsageEstimated); a.Cost != nil {
		t.Errorf("without a price the cost is %d, want unknown (I3)", *a.Cost)
	}
}

// TestErrorType: the list of codes is closed; each has OpenAI's type.
func TestErrorBody(t *testing.T) {
	e := Errorf(CodeInvalidHeader, "Sluice-X", "line\nbreak \"quoted\" %d", 5)
	var got struct {
		Error struct {
			Message, Type, Param string
			Code                 Code
		}
	}
	if err := json.Unmarshal(e.Body(), &got); err != nil || got.Error.Message != e.Message || got.Error.Code != e.Code || got.Error.Param != "Sluice-X" || got.Error.Type != "invalid_request_error" {
		t.Errorf("%s: %v", e.Body(), err)
	}
	for code, want := range map[Code]string{CodeRateLimited: "rate_limit_error", CodePermission: "authentication_error", CodeInterrupted: "server_error", CodeIDConflict: "invalid_request_error"} {
		if got := (&Error{Code: code}).Type(); got != want {
			t.Errorf("%s is a %s, want %s", code, got, want)
		}
	}
}
