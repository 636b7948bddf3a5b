package gateway

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/sdk"
	"github.com/sluicehq/sluice/sdk/wire"
)

func headers(pairs ...string) http.Header {
	h := http.Header{}
	for i := 0; i < len(pairs); i += 2 {
		h.Add(pairs[i], pairs[i+1])
	}
	return h
}

func TestJobID(t *testing.T) {
	long := strings.Repeat("x", 65)
	for name, c := range map[string]struct {
		header []string
		id     string // "": any of our making
		named  bool
	}{
		"none":                {nil, "", false},
		"valid":               {[]string{"Idempotency-Key", "a-B_9"}, "a-B_9", true},
		"longest":             {[]string{"Idempotency-Key", long[:64]}, long[:64], true},
		"job ID":              {[]string{"Sluice-Job-Id", "a"}, "a", true},
		"job ID before key":   {[]string{"Sluice-Job-Id", "a", "Idempotency-Key", "b"}, "a", true},
		"too long":            {[]string{"Idempotency-Key", long}, "", true},
		"spaces":              {[]string{"Idempotency-Key", "a b"}, "", true},
		"dots":                {[]string{"Idempotency-Key", "a.b"}, "", true},
		"wildcard":            {[]string{"Idempotency-Key", ">"}, "", true},
		"automatic":           {[]string{"Idempotency-Key", "j5"}, "", true},
		"bad job ID as it is": {[]string{"Sluice-Job-Id", "a.b"}, "a.b", true}, // wire.ParseJob refuses it
	} {
		id, named := jobID("acme", headers(c.header...))
		if named != c.named || c.id != "" && id != c.id || !named && id != "" {
			t.Errorf("%s: %q, %v", name, id, named)
		}
		if named && c.id == "" && (!wire.ValidName(id) || wire.IsAutoID(id)) {
			t.Errorf("%s: made %q of it", name, id)
		}
		if again, _ := jobID("acme", headers(c.header...)); again != id {
			t.Errorf("%s: %q, then %q", name, id, again)
		}
	}
	a, _ := jobID("acme", headers("Idempotency-Key", "a b"))
	b, _ := jobID("globex", headers("Idempotency-Key", "a b"))
	c, _ := jobID("acme", headers("Idempotency-Key", "a  b"))
	if a == b || a == c {
		t.Errorf("%q, %q and %q are one", a, b, c)
	}
}

func TestParseSetsWhatTheGatewayActsOn(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	for name, c := range map[string]struct {
		endpoint wire.Endpoint
		header   []string
		body     string
		stream   bool
		usage    bool
		keep     bool
		class    wire.Class
	}{
		"plain":                {wire.ChatCompletions, nil, chatBody, false, false, false, wire.Interactive},
		"stream":               {wire.ChatCompletions, nil, streamBody, true, false, false, wire.Interactive},
		"by header":            {wire.ChatCompletions, []string{"Sluice-Stream", "true"}, chatBody, true, false, false, wire.Interactive},
		"usage":                {wire.ChatCompletions, nil, strings.Replace(streamBody, "{", `{"stream_options":{"include_usage":true},`, 1), true, true, false, wire.Interactive},
		"usage denied":         {wire.ChatCompletions, nil, strings.Replace(streamBody, "{", `{"stream_options":{"include_usage":false},`, 1), true, false, false, wire.Interactive},
		"options null":         {wire.ChatCompletions, nil, strings.Replace(streamBody, "{", `{"stream_options":null,`, 1), true, false, false, wire.Interactive},
		"odd options":          {wire.ChatCompletions, nil, strings.Replace(streamBody, "{", `{"stream_options":5,`, 1), true, false, false, wire.Interactive},
		"kept, batch":          {wire.ChatCompletions, []string{"Sluice-Keep", "1", "Sluice-Class", "batch"}, chatBody, false, false, true, wire.Batch},
		"background elsewhere": {wire.ChatCompletions, nil, strings.Replace(chatBody, "{", `{"background":true,`, 1), false, false, false, wire.Interactive},
		"not background":       {wire.Responses, nil, `{"model":"m","input":"x","background":false}`, false, false, false, wire.Interactive},
	} {
		r, f := parse(caller{tenant: "acme"}, c.endpoint, headers(c.header...), []byte(c.body), now)
		if f != nil {
			t.Errorf("%s: %v", name, f)
			continue
		}
		if r.meta.Stream != c.stream || r.usage != c.usage || r.keep != c.keep || r.meta.Class != c.class || r.job.Class != c.class {
			t.Errorf("%s: %+v", name, r)
		}
		if r.job.ID != "" || string(r.job.Body) != c.body || r.job.Endpoint != c.endpoint {
			t.Errorf("%s: job %+v", name, r.job)
		}
	}
}

// A client that says in a header that chunks are to be published may read them
// over NATS, one event in each message.
func TestPackedUnlessAskedFor(t *testing.T) {
	for name, c := range map[string]struct {
		body   string
		header []string
		want   bool
	}{
		"no stream":     {chatBody, nil, false},
		"stream":        {streamBody, nil, true},
		"by header":     {streamBody, []string{"Sluice-Stream", "true"}, false},
		"header alone":  {chatBody, []string{"Sluice-Stream", "true"}, false},
		"not packed":    {streamBody, []string{"Sluice-Pack", "false"}, false},
		"both":          {streamBody, []string{"Sluice-Stream", "true", "Sluice-Pack", "true"}, true},
		"in background": {`{"model":"m","input":"x","background":true}`, nil, true},
	} {
		e := wire.ChatCompletions
		if name == "in background" {
			e = wire.Responses
		}
		r, f := parse(caller{tenant: "acme"}, e, headers(c.header...), []byte(c.body), time.Unix(1_800_000_000, 0))
		if f != nil || r.meta.Pack != c.want || r.job.Pack != c.want {
			t.Errorf("%s: %v, want %v: %v", name, r, c.want, f)
		}
	}
}

func TestDeadlinesCountFromTheGatewaysClock(t *testing.T) {
	now := time.Unix(1_800_000_000, 5)
	r, f := parse(caller{tenant: "acme"}, wire.ChatCompletions, headers("Sluice-Deadline", "90s", "Sluice-Not-Before", "2027-01-15T08:00:30.5Z"), []byte(chatBody), now)
	if f != nil {
		t.Fatal(f)
	}
	if !r.job.Deadline.Equal(now.Add(90*time.Second)) || !r.job.NotBefore.Equal(time.Date(2027, 1, 15, 8, 0, 30, 500_000_000, time.UTC)) {
		t.Errorf("deadline %s, not before %s", r.job.Deadline, r.job.NotBefore)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("", chatBody)
	f.Add("true", streamBody)
	f.Add("maybe", `{"model":1}`)
	f.Fuzz(func(t *testing.T, header, body string) {
		for e := range endpointBodies {
			r, fault := parse(caller{tenant: "acme"}, e, headers("Sluice-Keep", header, "Sluice-Region", header, "Idempotency-Key", header), []byte(body), time.Unix(1, 0))
			switch {
			case (r == nil) == (fault == nil):
				t.Fatal("neither or both")
			case fault != nil:
				if x := refusalOf(fault.Code, 0); x.status >= 500 {
					t.Fatalf("a bad request became %d", x.status)
				}
			case r.named && !wire.ValidName(r.meta.ID):
				t.Fatalf("job ID %q", r.meta.ID)
			}
		}
	})
}

func TestReaders(t *testing.T) {
	r := readers{of: map[string]int{}}
	r.join("a")
	r.join("a")
	r.join("b")
	if n := r.part("a"); n != 1 {
		t.Errorf("%d others", n)
	}
	if n := r.part("b"); n != 0 {
		t.Errorf("%d others", n)
	}
	if n := r.part("a"); n != 0 || len(r.of) != 0 {
		t.Errorf("%d others, %v left", n, r.of)
	}
}

func TestBrokenOff(t *testing.T) {
	err := string(wire.Errorf(wire.CodeTimeout, "p", "slow").Body())
	for name, c := range map[string]struct {
		chunk sdk.Chunk
		code  wire.Code
	}{
		"done":            {sdk.Chunk{Data: []byte(doneSSE), End: true}, ""},
		"error":           {sdk.Chunk{Data: []byte(err), End: true}, wire.CodeTimeout},
		"not the last":    {sdk.Chunk{Data: []byte(err)}, ""},
		"no code":         {sdk.Chunk{Data: []byte(`{"error":{}}`), End: true}, wire.CodeStreamTruncated},
		"odd":             {sdk.Chunk{Data: []byte(`{"error":5`), End: true}, wire.CodeStreamTruncated},
		"last of another": {sdk.Chunk{Data: []byte(`{"type":"message_stop"}`), End: true}, ""},
	} {
		f := brokenOff(&c.chunk)
		if (f == nil) != (c.code == "") || f != nil && f.Code != c.code {
			t.Errorf("%s: %v", name, f)
		}
	}
}

func TestSilent(t *testing.T) {
	for data, want := range map[string]bool{
		opening: true, delta("a"): false, delta(""): true, closing: false, doneSSE: false,
		`{"choices":[{"delta":{"role":"assistant","content":null}}]}`:                       true,
		`{"choices":[{"delta":{"role":"assistant","tool_calls":[{"index":0}]}}]}`:           false,
		`{"choices":[{"delta":{"role":"assistant","content":"","reasoning_content":"x"}}]}`: false,
		`{"choices":[]}`: true,
	} {
		if silent([]byte(data)) != want {
			t.Errorf("%s: want %v", data, want)
		}
	}
}

func TestDispensable(t *testing.T) {
	spaced := strings.ReplaceAll(strings.ReplaceAll(counted, ":", ": "), ",", ", ")
	for _, c := range []struct {
		endpoint wire.Endpoint
		asked    bool
		data     string
		want     bool
	}{
		{wire.ChatCompletions, false, counted, true},
		{wire.ChatCompletions, false, spaced, true},
		{wire.Completions, false, counted, true},
		{wire.ChatCompletions, true, counted, false},
		{wire.Responses, false, counted, false},
		{wire.Messages, false, counted, false},
		{wire.ChatCompletions, false, delta("x"), false},
		{wire.ChatCompletions, false, `{"choices":[],"usage":null}`, false},
		{wire.ChatCompletions, false, `{"choices":[],"usage": null}`, false},
		{wire.ChatCompletions, false, `{"choices":[{"delta":{"content":"x"}}],"usage":{"total_tokens":1}}`, false},
		{wire.ChatCompletions, false, doneSSE, false},
	} {
		call := &call{endpoint: c.endpoint, req: &request{usage: c.asked}}
		if got := call.dispensable([]byte(c.data)); got != c.want {
			t.Errorf("%s, asked %v: %s: %v", c.endpoint, c.asked, c.data, got)
		}
	}
}

func TestFraming(t *testing.T) {
	for _, c := range []struct {
		endpoint   wire.Endpoint
		data, want string
	}{
		{wire.ChatCompletions, `{"type":"x"}`, "data: {\"type\":\"x\"}\n\n"},
		{wire.ChatCompletions, "a\nb", "data: a\ndata: b\n\n"},
		{wire.Responses, `{"type":"response.created"}`, "event: response.created\ndata: {\"type\":\"response.created\"}\n\n"},
		{wire.Messages, `{"type":"message_stop"}`, "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"},
		{wire.Messages, `{"type":"a\ndata: b"}`, "data: {\"type\":\"a\\ndata: b\"}\n\n"}, // no event is smuggled in
		{wire.Messages, `{"type":5}`, "data: {\"type\":5}\n\n"},
		{wire.Messages, `no JSON`, "data: no JSON\n\n"},
	} {
		if got := string(appendEvent(nil, c.endpoint, []byte(c.data))); got != c.want {
			t.Errorf("%s: %q, want %q", c.endpoint, got, c.want)
		}
	}
}

func TestClientsAfterClose(t *testing.T) {
	b := newBroker(t, t.TempDir(), nil)
	c := newClients(b.gw, b.sub)
	x, give, err := c.take(t.Context(), "acme")
	if err != nil {
		t.Fatal(err)
	}
	y, giveToo, err := c.take(t.Context(), "acme")
	if err != nil || x != y || c.idle != 0 || x.users != 2 {
		t.Errorf("%v, idle %d, users %d", err, c.idle, x.users)
	}
	c.close()
	give()
	giveToo()
	if _, _, err := c.take(t.Context(), "acme"); faultOf(err).Code != wire.CodeUnavailable {
		t.Errorf("%v", err)
	}
	if _, _, err := newClients(b.gw, b.sub).take(t.Context(), "a.b"); err == nil {
		t.Error("a tenant of two tokens")
	}
}
