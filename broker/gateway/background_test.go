package gateway

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/sluicehq/sluice/sdk/wire"
)

const (
	backgroundBody = `{"model":"chat","input":"hi","background":true,"instructions":"be kind","metadata":{"a":"b"},"temperature":"hot"}`
	providers      = `{"id":"resp_theirs","object":"response","created_at":5,"status":"completed","model":"m1","output":[{"type":"message"}],"usage":null}`
)

// told is an event of a response.
type told struct {
	Type     string
	Number   *int64 `json:"sequence_number"`
	Delta    string
	Code     string
	Response struct {
		ID         string
		Status     string
		Background bool
	}
}

// toldIn decodes the events of a stream.
func toldIn(t *testing.T, body string) []told {
	t.Helper()
	var list []told
	for line := range strings.Lines(body) {
		if data, ok := strings.CutPrefix(line, "data: "); ok {
			var e told
			if err := json.Unmarshal([]byte(data), &e); err != nil || e.Number == nil {
				t.Fatalf("event %s: %v", line, err)
			}
			list = append(list, e)
		}
	}
	return list
}

// brief is a stream in one line.
func brief(list []told) string {
	var out []string
	for _, e := range list {
		w := fmt.Sprintf("%d:%s%s%s", *e.Number, strings.TrimPrefix(e.Type, "response."), e.Delta, e.Code)
		if e.Response.Status != "" {
			w += "=" + e.Response.Status
		}
		out = append(out, w)
	}
	return strings.Join(out, " ")
}

// responseChunks is a provider's stream of a response, with numbers that do
// not matter here.
func responseChunks(words ...string) []string {
	list := []string{`{"type":"response.created","sequence_number":7,"response":{"id":"resp_theirs","status":"in_progress"}}`}
	for _, w := range words {
		list = append(list, `{"type":"response.output_text.delta","sequence_number":7,"delta":"`+w+`"}`)
	}
	return append(list, `{"type":"response.completed","sequence_number":7,"response":`+providers+`}`)
}

// show is a response, asked for.
func (f *front) show(id string) (r reply, o map[string]any) {
	f.b.t.Helper()
	r = f.get("/v1/responses/" + id)
	if err := json.Unmarshal([]byte(r.body), &o); err != nil {
		f.b.t.Fatal(err)
	}
	return r, o
}

func TestBackground(t *testing.T) {
	step := make(chan struct{})
	b := newBroker(t, t.TempDir(), func(b *broker, job wire.Job) {
		<-step
		b.claim(job, 1)
		<-step
		b.chunks(job, 1, 0, true, responseChunks("a")...)
		b.succeed(job, 1, providers)
	})
	f := b.newFront()
	r := f.post("/v1/responses", backgroundBody)
	var o map[string]any
	if err := json.Unmarshal([]byte(r.body), &o); err != nil {
		t.Fatal(err)
	}
	id := o["id"].(string)
	eventually(t, "it is queued", func() bool { return b.count() == 1 })
	job := b.newest()
	if r.status != 200 || o["status"] != "queued" || o["background"] != true || !strings.HasPrefix(id, "resp_") || job.ID != id || !job.Stream {
		t.Fatalf("%d %s", r.status, r.body)
	}
	if o["instructions"] != "be kind" || o["metadata"].(map[string]any)["a"] != "b" || o["temperature"] != nil {
		t.Errorf("what is repeated of the request: %s", r.body)
	}
	if r, o := f.show(id); r.status != 200 || o["status"] != "queued" || o["id"] != id || o["created_at"].(float64) < 1e9 {
		t.Errorf("while it is queued: %d %s", r.status, r.body)
	}
	step <- struct{}{}
	eventually(t, "it runs", func() bool { _, o := f.show(id); return o["status"] == "in_progress" })
	step <- struct{}{}
	eventually(t, "it is done", func() bool { _, o := f.show(id); return o["status"] == "completed" })
	if r, o := f.show(id); o["id"] != id || o["background"] != true || len(o["output"].([]any)) != 1 || r.header.Get("Sluice-Job") != id {
		t.Errorf("when it is done: %s", r.body)
	}
	if r := f.post("/v1/responses/"+id+"/cancel", ""); r.status != 200 || !strings.Contains(r.body, `"completed"`) {
		t.Errorf("cancelled when it is done: %d %s", r.status, r.body)
	}
	if b.wasCancelled(id) {
		t.Error("it is cancelled when its client has gone")
	}
}

// A stream can be read on from every number, by any gateway, and is the same
// each time.
func TestBackgroundStreamResumes(t *testing.T) {
	b := newBroker(t, t.TempDir(), answer(providers, responseChunks("a", "b", "c")...))
	f := b.newFront()
	r := f.post("/v1/responses", strings.Replace(backgroundBody, "{", `{"stream":true,`, 1))
	all := toldIn(t, r.body)
	const want = "0:created=queued 1:queued=queued 3:output_text.deltaa 4:output_text.deltab 5:output_text.deltac 6:completed=completed"
	if got := brief(all); r.status != 200 || got != want {
		t.Fatalf("stream %d\n%s\nwant\n%s", r.status, got, want)
	}
	id := all[0].Response.ID
	if id != b.newest().ID || all[5].Response.ID != id || !all[5].Response.Background {
		t.Errorf("IDs: %+v", all)
	}
	other := b.newFront() // another process, for all that it knows
	for i := range all {
		r := other.get(fmt.Sprintf("/v1/responses/%s?stream=true&starting_after=%d", id, *all[i].Number))
		if got, want := brief(toldIn(t, r.body)), brief(all[i+1:]); r.status != 200 || got != want {
			t.Errorf("after %d: %d\n%s\nwant\n%s", *all[i].Number, r.status, got, want)
		}
	}
	if got := brief(toldIn(t, other.get("/v1/responses/"+id+"?stream=true").body)); got != brief(all) {
		t.Errorf("from the start: %s", got)
	}
	r = other.do(t.Context(), "GET", "/v1/responses/"+id+"?starting_after=5", `{"stream":true}`) // as OpenAI's SDK for Go has it
	if got := brief(toldIn(t, r.body)); got != brief(all[5:]) {
		t.Errorf("asked for in the body: %s", got)
	}
	if r := other.get("/v1/responses/" + id + "?stream=true&starting_after=x"); r.status != 400 {
		t.Errorf("a bad number: %d %s", r.status, r.body)
	}
}

// The events come while they are made, and another attempt is never mixed in.
func TestBackgroundStreamIsOfOneAttempt(t *testing.T) { // I3
	step := make(chan struct{})
	b := newBroker(t, t.TempDir(), func(b *broker, job wire.Job) {
		b.claim(job, 1)
		b.chunks(job, 1, 0, false, responseChunks("a", "b")[:3]...)
		<-step
		b.retry(job, 1)
		b.claim(job, 2)
		b.chunks(job, 2, 0, true, responseChunks("c")...)
		b.succeed(job, 2, providers)
	})
	f := b.newFront()
	res, body, _ := f.open("/v1/responses", strings.Replace(backgroundBody, "{", `{"stream":true,`, 1))
	text := ""
	for !strings.Contains(text, `"delta":"b"`) {
		line, err := body.ReadString('\n')
		if err != nil {
			t.Fatalf("%v after %s", err, text)
		}
		text += line
	}
	close(step)
	rest := make([]byte, 0, 4096)
	for {
		line, err := body.ReadString('\n')
		if rest = append(rest, line...); err != nil {
			break
		}
	}
	_ = res.Body.Close()
	if got := brief(toldIn(t, string(rest))); got != "5:errorinterrupted" {
		t.Errorf("when another attempt began: %s", got)
	}
	id := b.newest().ID
	for place, want := range map[string]string{
		"":                        "0:created=queued 1:queued=queued 1000003:output_text.deltac 1000004:completed=completed",
		"&starting_after=4":       "5:errorinterrupted",
		"&starting_after=1000003": "1000004:completed=completed",
	} {
		if got := brief(toldIn(t, f.get("/v1/responses/"+id+"?stream=true"+place).body)); got != want {
			t.Errorf("%s: %s, want %s", place, got, want)
		}
	}
}

// A last chunk is an end only with its record: until then the response cannot
// be retrieved, and the attempt may still turn out to be lost.
func TestBackgroundStreamEndsWithItsRecord(t *testing.T) {
	for name, lost := range map[string]bool{"recorded": false, "worker dies": true} {
		step := make(chan struct{})
		b := newBroker(t, t.TempDir(), func(b *broker, job wire.Job) {
			b.claim(job, 1)
			b.chunks(job, 1, 0, true, responseChunks("a")...)
			<-step
			if lost {
				b.retry(job, 1)
				b.claim(job, 2)
				b.succeed(job, 2, providers)
				return
			}
			b.succeed(job, 1, providers)
		})
		f := b.newFront()
		res, body, _ := f.open("/v1/responses", strings.Replace(backgroundBody, "{", `{"stream":true,`, 1))
		var lines strings.Builder
		for {
			line, err := body.ReadString('\n')
			lines.WriteString(line)
			if err != nil {
				break
			}
			if strings.Contains(line, `"delta":"a"`) {
				if _, o := f.show(b.newest().ID); o["status"] != "in_progress" {
					t.Errorf("%s: %v before its record", name, o["status"])
				}
				close(step)
			}
			if strings.Contains(line, "response.completed") && strings.HasPrefix(line, "data:") {
				if _, o := f.show(b.newest().ID); o["status"] != "completed" {
					t.Errorf("%s: told completed, and shown as %v", name, o["status"])
				}
			}
		}
		_ = res.Body.Close()
		want := "0:created=queued 1:queued=queued 3:output_text.deltaa 4:completed=completed"
		if lost {
			want = "0:created=queued 1:queued=queued 3:output_text.deltaa 4:errorinterrupted"
		}
		if got := brief(toldIn(t, lines.String())); got != want {
			t.Errorf("%s: %s\nwant %s", name, got, want)
		}
	}
}

// A response that ends without chunks tells its end all the same.
func TestBackgroundEnds(t *testing.T) {
	b := newBroker(t, t.TempDir(), nil)
	f := b.newFront()
	for name, c := range map[string]struct {
		play   script
		status string
		stream string
	}{
		"fails":     {fail(wire.Errorf(wire.CodeProviderRefused, "", "no"), 400), "failed", "1000000:failed=failed"},
		"expires":   {func(b *broker, j wire.Job) { b.end(j, wire.Expired, nil, wire.Errorf(wire.CodeDeadline, "", "late")) }, "failed", "1000000:failed=failed"},
		"no chunks": {func(b *broker, j wire.Job) { b.claim(j, 1); b.succeed(j, 1, providers) }, "completed", "1000000:completed=completed"},
		"is cut": {func(b *broker, j wire.Job) {
			b.claim(j, 1)
			b.succeed(j, 1, strings.Replace(providers, `"completed"`, `"incomplete"`, 1))
		}, "incomplete", "1000000:incomplete=incomplete"},
	} {
		b.play = c.play
		id := f.post("/v1/responses", backgroundBody).header.Get("Sluice-Job")
		eventually(t, name, func() bool { _, o := f.show(id); return o["status"] == c.status })
		_, o := f.show(id)
		if fault, _ := o["error"].(map[string]any); (c.status == "failed") != (fault != nil && fault["message"] != "") {
			t.Errorf("%s: error %v", name, o["error"])
		}
		if got := brief(toldIn(t, f.get("/v1/responses/"+id+"?stream=true&starting_after=1").body)); got != c.stream {
			t.Errorf("%s: %s, want %s", name, got, c.stream)
		}
		if got := f.get("/v1/responses/" + id + "?stream=true&starting_after=1000000"); got.status != 200 || len(toldIn(t, got.body)) != 0 {
			t.Errorf("%s: after the end: %d %s", name, got.status, got.body)
		}
	}
}

func TestBackgroundCancel(t *testing.T) {
	b := newBroker(t, t.TempDir(), hang)
	f := b.newFront()
	id := f.post("/v1/responses", backgroundBody).header.Get("Sluice-Job")
	eventually(t, "the test's broker has read the job", func() bool { _, ok := b.job(id); return ok })
	r := f.post("/v1/responses/"+id+"/cancel", "")
	if r.status != 200 || !strings.Contains(r.body, `"status":"cancelled"`) || !b.wasCancelled(id) {
		t.Errorf("%d %s", r.status, r.body)
	}
	if r := f.post("/v1/responses/"+id+"/cancel", ""); r.status != 200 || !strings.Contains(r.body, `"status":"cancelled"`) {
		t.Errorf("again: %d %s", r.status, r.body)
	}
	if got := brief(toldIn(t, f.get("/v1/responses/"+id+"?stream=true&starting_after=1").body)); got != "1000000:failed=cancelled" {
		t.Errorf("stream: %s", got)
	}
}

func TestBackgroundIsTheTenantsOwn(t *testing.T) {
	b := newBroker(t, t.TempDir(), answer(providers))
	f := b.newFront(func(c *Config) { c.Tenants = []Tenant{{Name: "acme", Key: "a"}, {Name: "globex", Key: "g"}} })
	acme, globex := []string{"Authorization", "Bearer a"}, []string{"Authorization", "Bearer g"}
	id := f.post("/v1/responses", backgroundBody, append(acme, "Idempotency-Key", "order-1")...).header.Get("Sluice-Job")
	if id != "order-1" {
		t.Errorf("the ID is %s", id)
	}
	eventually(t, "it is done", func() bool {
		return strings.Contains(f.get("/v1/responses/"+id, acme...).body, `"completed"`)
	})
	// The key stands for the response, as it is now.
	if r := f.post("/v1/responses", backgroundBody, append(acme, "Idempotency-Key", "order-1")...); r.status != 200 || !strings.Contains(r.body, `"completed"`) {
		t.Errorf("again: %d %s", r.status, r.body)
	}
	f.post("/v1/chat/completions", chatBody, append(acme, "Sluice-Job-Id", "chat-1")...)
	for _, c := range []struct {
		method, path string
		key          []string
		status       int
	}{
		{"GET", "/v1/responses/" + id, globex, 404}, {"POST", "/v1/responses/" + id + "/cancel", globex, 404},
		{"GET", "/v1/responses/" + id, nil, 401}, {"GET", "/v1/responses/nothing", acme, 404},
		{"GET", "/v1/responses/chat-1", acme, 404}, {"POST", "/v1/responses/chat-1/cancel", acme, 404},
		{"GET", "/v1/responses/a%2Eb%2E%3E", acme, 404}, {"PATCH", "/v1/responses/" + id, acme, 405},
		{"DELETE", "/v1/responses/" + id, globex, 404}, {"GET", "/v1/responses/" + id + "/input_items", globex, 404},
		{"GET", "/v1/responses/" + id + "/input_items", acme, 200},
	} {
		if r := f.do(t.Context(), c.method, c.path, "", c.key...); r.status != c.status {
			t.Errorf("%s %s: %d %s, want %d", c.method, c.path, r.status, r.body, c.status)
		}
	}
}

func TestPlaces(t *testing.T) {
	for attempt := 1; attempt < 4; attempt++ {
		for _, index := range []int{0, 1, 7, attemptSpan - firstChunk - 2} {
			if a, i := placeOf(sequenceOf(attempt, index)); a != attempt || i != index {
				t.Errorf("chunk %d of attempt %d is taken for %d of %d", index, attempt, i, a)
			}
		}
	}
	for _, after := range []int64{-1, 0, 1} {
		if a, i := placeOf(after); a != 0 || i != 0 {
			t.Errorf("number %d is taken for %d of %d", after, i, a)
		}
	}
}
