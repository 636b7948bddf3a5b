package wire

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"
)

var parseAt = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

const body = `{"model":"chat","messages":[{"role":"user","content":"hi"}]}`

func parse(body string, headers ...string) (Job, *Error) {
	h := map[string][]string{}
	for i := 0; i < len(headers); i += 2 {
		h[headers[i]] = append(h[headers[i]], headers[i+1])
	}
	return ParseJob("acme", Standard, h, []byte(body), 7, parseAt)
}

const someTrace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

// A tracestate that cannot be passed on, or has no traceparent, is no fault: it
// is left out.
func TestTraceState(t *testing.T) {
	for _, c := range []struct{ trace, state, want string }{
		{someTrace, "a=1", "a=1"}, {someTrace, strings.Repeat("x", 512), strings.Repeat("x", 512)},
		{someTrace, strings.Repeat("x", 513), ""}, {someTrace, "a=\n", ""}, {someTrace, "a=é", ""}, {someTrace, " ,", ""},
		{"", "a=1", ""}, {"00-xyz", "a=1", ""},
	} {
		j, err := parse(body, HeaderTrace, c.trace, HeaderState, c.state)
		if err != nil || j.TraceState != c.want {
			t.Errorf("%q with %q: %q, %v", c.state, c.trace, j.TraceState, err)
		}
	}
}

func TestParseJob(t *testing.T) {
	j, err := parse(`{"model":"chat","messages":[1],"max_tokens":50,"stream":true}`,
		HeaderJobID, "order-7", HeaderRegion, "eu", HeaderAffinity, "user 7", HeaderMaxCost, "0.05", HeaderBatch, "b1",
		HeaderWebhook, "https://example.com/hook", HeaderDeadline, "90s", HeaderNotBefore, "2026-11-22T12:00:30.5Z",
		"Sluice-Label-Team", "search", HeaderTrace, someTrace, HeaderState, "a=1", HeaderState, "b=2")
	if err != nil {
		t.Fatal(err)
	}
	m := j.Meta
	if m.ID != "order-7" || m.Tenant != "acme" || m.Class != Standard || m.Seq != 7 || m.Route != "chat" || m.Endpoint != ChatCompletions ||
		!m.Stream || m.MaxTokens != 50 || m.Region != "eu" || m.Affinity != "user 7" || *m.MaxCost != 50_000_000 || m.Batch != "b1" ||
		m.Webhook != "https://example.com/hook" || m.Labels["team"] != "search" || m.Trace != someTrace || m.TraceState != "a=1,b=2" || m.BodyBytes != len(j.Body) {
		t.Errorf("meta %+v", m)
	}
	if got := time.Unix(0, m.Deadline); !got.Equal(parseAt.Add(90 * time.Second)) {
		t.Errorf("deadline %s", got)
	}
	if got := time.Unix(0, m.NotBefore); !got.Equal(parseAt.Add(30500 * time.Millisecond)) {
		t.Errorf("not before %s", got)
	}
	if m.Expired(parseAt.Add(90*time.Second-1)) || !m.Expired(parseAt.Add(90*time.Second)) {
		t.Error("expired at the wrong time")
	}
}

// TestParseJobFaults: the code, and the ID under which the failure stands.
func TestParseJobFaults(t *testing.T) {
	for _, c := range []struct {
		name, body string
		headers    []string
		code       Code
		id         string
	}{
		{name: "plain", body: body, id: "j7"},
		{name: "its own automatic ID", body: body, headers: []string{HeaderJobID, "j7"}, id: "j7"},
		{name: "another's automatic ID", body: body, headers: []string{HeaderJobID, "j8"}, code: CodeInvalidJobID, id: "j7"},
		{name: "not quite automatic", body: body, headers: []string{HeaderJobID, "j8x"}, id: "j8x"},
		{name: "bad ID", body: body, headers: []string{HeaderJobID, "a.b"}, code: CodeInvalidJobID, id: "j7"},
		{name: "64 characters", body: body, headers: []string{HeaderJobID, strings.Repeat("x", 64)}, id: strings.Repeat("x", 64)},
		{name: "two IDs", body: body, headers: []string{HeaderJobID, "a", HeaderJobID, "b"}, code: CodeInvalidHeader, id: "j7"},
		{name: "good ID, bad body", body: "{", headers: []string{HeaderJobID, "mine"}, code: CodeInvalidJSON, id: "mine"},
		{name: "good ID, bad header", body: body, headers: []string{HeaderJobID, "mine", HeaderDeadline, "x"}, code: CodeInvalidHeader, id: "mine"},
		{name: "embeddings", body: `{"model":"e","input":"x"}`, headers: []string{HeaderEndpoint, "/v1/embeddings"}, id: "j7"},
		{name: "completions", body: `{"model":"e","prompt":"x"}`, headers: []string{HeaderEndpoint, "/v1/completions"}, id: "j7"},
		{name: "responses without input", body: body, headers: []string{HeaderEndpoint, "/v1/responses"}, code: CodeInvalidRequest, id: "j7"},
		{name: "max_tokens 1", body: `{"model":"chat","messages":[1],"max_tokens":1}`, id: "j7"},
		{name: "max_tokens null", body: `{"model":"chat","messages":[1],"max_tokens":null}`, id: "j7"},
		{name: "most tokens", body: `{"model":"chat","messages":[1],"max_tokens":10000000}`, id: "j7"},
		{name: "stream null", body: `{"model":"chat","messages":[1],"stream":null}`, id: "j7"},
		{name: "32 labels", body: body, headers: manyLabels(32), id: "j7"},
		{name: "33 labels", body: body, headers: manyLabels(33), code: CodeInvalidHeader, id: "j7"},
		{name: "366 days", body: body, headers: []string{HeaderDeadline, "8784h"}, id: "j7"},
		{name: "more than 366 days", body: body, headers: []string{HeaderDeadline, "8785h"}, code: CodeInvalidHeader, id: "j7"},
		{name: "before 1970", body: body, headers: []string{HeaderDeadline, "0001-01-01T00:00:00Z"}, id: "j7"},
	} {
		t.Run(c.name, func(t *testing.T) {
			j, err := parse(c.body, c.headers...)
			var code Code
			if err != nil {
				code = err.Code
			}
			if code != c.code || j.ID != c.id {
				t.Errorf("%q under %s (%v), want %q under %s", code, j.ID, err, c.code, c.id)
			}
			if err != nil && (err.Message == "" || err.Type() == "") {
				t.Errorf("error without words: %+v", err)
			}
		})
	}
}

func manyLabels(n int) (h []string) {
	for i := range n {
		h = append(h, HeaderLabel+"l"+AutoID(uint64(i)), "v")
	}
	return h
}

// TestParseJobReadsNoInternalHeader (I2): what only Sluice's parts set changes
// nothing.
func TestParseJobReadsNoInternalHeader(t *testing.T) {
	plain, _ := parse(body)
	hostile, err := parse(body, HeaderEntry, `{"j":{"t":"x"}}`, HeaderAssignment, "{}", HeaderStatus, "failed", HeaderCost, "1",
		HeaderAttempt, "9", HeaderPool, "p", HeaderExpectedLast, "1", HeaderUntil, "x", HeaderIndex, "1", HeaderEnd, "true")
	a, _ := json.Marshal(plain.Meta)
	b, _ := json.Marshal(hostile.Meta)
	if err != nil || string(a) != string(b) {
		t.Errorf("%s, want %s (%v)", b, a, err)
	}
}

func TestParseJobSubject(t *testing.T) {
	for _, c := range []struct {
		tenant string
		class  Class
		ok     bool
	}{{"acme", Batch, true}, {"*", Batch, false}, {"a.b", Batch, false}, {"", Batch, false}, {"acme=", Batch, false}, {"=ci", Batch, false}, {"acme=a.b", Batch, false}, {"a=b=c", Batch, false}, {"acme", "urgent", false}, {"acme", "", false}} {
		j, err := ParseJob(c.tenant, c.class, nil, []byte(body), 1, parseAt)
		if (err == nil) != c.ok || err != nil && err.Code != CodeInvalidSubject {
			t.Errorf("%q %q: %v", c.tenant, c.class, err)
		}
		if j.Key != "" {
			t.Errorf("%q: key %q", c.tenant, j.Key)
		}
		if j.Tenant == "" || strings.ContainsAny(j.Tenant, ".*> ") || !j.Class.Valid() {
			t.Errorf("%q %q: the failure's place is %q %q", c.tenant, c.class, j.Tenant, j.Class)
		}
	}
}

// TestParseJobPayer: the subject alone says which key a job counts for.
func TestParseJobPayer(t *testing.T) {
	j, err := ParseJob("acme=ci", Batch, map[string][]string{"Sluice-Key": {"web"}, "Sluice-Tenant": {"evil"}}, []byte(body), 1, parseAt)
	if err != nil || j.Tenant != "acme" || j.Key != "ci" || j.Payer() != "acme=ci" {
		t.Errorf("tenant %q, key %q, %v", j.Tenant, j.Key, err)
	}
	for _, c := range [][3]string{{"acme", "", "acme"}, {"acme", "ci", "acme=ci"}} {
		if p := Payer(c[0], c[1]); p != c[2] || ValidName(p) != (c[1] == "") {
			t.Errorf("payer %q, want %q", p, c[2])
		}
		if tenant, key := SplitPayer(c[2]); tenant != c[0] || key != c[1] {
			t.Errorf("%q is split into %q and %q", c[2], tenant, key)
		}
	}
	if a, b := KeyName("acme", ""), KeyName("acme", "ci"); a != "acme" || b != "acme/ci" {
		t.Errorf("%q and %q", a, b)
	}
}

func TestAutoID(t *testing.T) {
	for id, want := range map[string]bool{"j1": true, AutoID(math.MaxUint64): true, "j": false, "": false, "j1x": false, "J1": false, "1": false, "j-1": false} {
		if IsAutoID(id) != want {
			t.Errorf("IsAutoID(%q) is %t", id, !want)
		}
	}
}

// FuzzParseJob: whatever comes, there is a job that a record can be written
// for, and never both an unusable job and no error.
func FuzzParseJob(f *testing.F) {
	f.Add("acme", "batch", HeaderJobID, "x", "", []byte(body))
	f.Add("a.b", "urgent", HeaderDeadline, "-1s", "Sluice-Label-x", []byte("{}"))
	f.Add("acme", "batch", HeaderMaxCost, "1e9", HeaderWebhook, []byte(`{"model":"\u0000","messages":[1],"max_tokens":1e3}`))
	f.Add("acme", "interactive", HeaderNotBefore, "9999999h", HeaderTrace, []byte(strings.Repeat("[", 20000)))
	f.Fuzz(func(t *testing.T, tenant, class, name, value, name2 string, body []byte) {
		h := map[string][]string{name: {value}, name2: {value, value}}
		j, err := ParseJob(tenant, Class(class), h, body, 7, parseAt)
		if !ValidName(j.ID) || !j.Class.Valid() || j.Tenant == "" || Token(j.Tenant) != j.Tenant && !strings.Contains(j.Tenant, "=") {
			t.Fatalf("no place for a record: %+v", j.Meta)
		}
		if err != nil {
			if err.Code == "" || err.Message == "" || !json.Valid(err.Body()) {
				t.Fatalf("error %+v", err)
			}
			return
		}
		if !j.Valid() || j.Route == "" || !j.Endpoint.Valid() || j.MaxTokens < 0 || j.MaxTokens > MaxTokens || j.Deadline < 0 || j.NotBefore < 0 ||
			len(j.Labels) > MaxLabels || j.MaxCost != nil && *j.MaxCost < 0 || !json.Valid(body) {
			t.Fatalf("accepted %+v", j.Meta)
		}
		b, merr := json.Marshal(j.Meta)
		var back Meta
		if merr != nil || json.Unmarshal(b, &back) != nil || back.ID != j.ID || back.Route != j.Route || back.Affinity != j.Affinity {
			t.Fatalf("%s does not come back: %+v", b, back)
		}
	})
}
