package gateway

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/sluicehq/sluice/sdk/wire"
)

// begin starts a response in the background, and returns its ID.
func (f *front) begin(body string) string {
	f.b.t.Helper()
	r := f.post("/v1/responses", body)
	var o struct{ ID string }
	if err := json.Unmarshal([]byte(r.body), &o); err != nil || r.status != http.StatusOK || o.ID == "" {
		f.b.t.Fatalf("%d %s, %v", r.status, r.body, err)
	}
	eventually(f.b.t, "the broker of the test has read the job", func() bool { _, known := f.b.job(o.ID); return known })
	return o.ID
}

func TestDeleteResponse(t *testing.T) {
	b := newBroker(t, t.TempDir(), answer(providers, responseChunks("a")...))
	f := b.newFront()
	id := f.begin(backgroundBody)
	eventually(t, "it is done", func() bool { _, o := f.show(id); return o["status"] == "completed" })
	chunks := func() uint64 {
		s, err := b.js.Stream(t.Context(), b.sub.Stream(wire.StreamChunks))
		if err != nil {
			t.Fatal(err)
		}
		return s.CachedInfo().State.Msgs
	}
	if chunks() == 0 {
		t.Fatal("it has no chunks to remove")
	}
	if r := f.delete("/v1/responses/" + id); r.status != http.StatusOK || !strings.Contains(r.body, `"deleted":true`) || !strings.Contains(r.body, id) {
		t.Errorf("deleted: %d %s", r.status, r.body)
	}
	if n := chunks(); n != 0 {
		t.Errorf("%d chunks are left", n)
	}
	other := b.newFront() // another process, for all that it knows
	for name, r := range map[string]reply{
		"shown": f.get("/v1/responses/" + id), "followed": f.get("/v1/responses/" + id + "?stream=true"), "its input": other.get("/v1/responses/" + id + "/input_items"),
		"cancelled": f.post("/v1/responses/"+id+"/cancel", ""), "deleted again": other.delete("/v1/responses/" + id), "never there": f.delete("/v1/responses/resp_nothing"),
	} {
		if r.status != http.StatusNotFound {
			t.Errorf("%s: %d %s", name, r.status, r.body)
		}
	}
}

// One that is not done is ended first.
func TestDeleteRunningResponse(t *testing.T) {
	b := newBroker(t, t.TempDir(), hang)
	f := b.newFront()
	id := f.begin(backgroundBody)
	eventually(t, "it runs", func() bool { _, o := f.show(id); return o["status"] == "in_progress" })
	if r := f.delete("/v1/responses/" + id); r.status != http.StatusOK {
		t.Errorf("deleted: %d %s", r.status, r.body)
	}
	if !b.wasCancelled(id) || f.get("/v1/responses/"+id).status != http.StatusNotFound {
		t.Errorf("it is not cancelled, or still there")
	}
}

// items asks for a list of input items, and returns the texts in it.
func (f *front) items(t *testing.T, id, query string) (texts, ids []string, more bool) {
	t.Helper()
	r := f.get("/v1/responses/" + id + "/input_items?" + query)
	var list struct {
		Object string
		Data   []struct {
			ID, Type, Role, Status string
			Content                []struct{ Type, Text string }
		}
		First string `json:"first_id"`
		Last  string `json:"last_id"`
		More  bool   `json:"has_more"`
	}
	if err := json.Unmarshal([]byte(r.body), &list); err != nil || r.status != http.StatusOK || list.Object != "list" {
		t.Fatalf("%s: %d %s, %v", query, r.status, r.body, err)
	}
	for _, d := range list.Data {
		text := d.Type
		if len(d.Content) > 0 {
			text = d.Role + " " + d.Content[0].Type + " " + d.Content[0].Text
		}
		texts, ids = append(texts, text), append(ids, d.ID)
	}
	if n := len(ids); n > 0 && (list.First != ids[0] || list.Last != ids[n-1]) {
		t.Errorf("%s: from %s to %s, of %v", query, list.First, list.Last, ids)
	}
	return texts, ids, list.More
}

func TestInputItems(t *testing.T) {
	f := newBroker(t, t.TempDir(), hang).newFront()
	one := f.begin(backgroundBody)
	if texts, ids, more := f.items(t, one, ""); !slices.Equal(texts, []string{"user input_text hi"}) || more || !strings.HasPrefix(ids[0], "msg_") {
		t.Errorf("%v %v %v", texts, ids, more)
	}
	id := f.begin(`{"model":"chat","background":true,"input":[{"role":"system","content":"be kind"},{"type":"message","id":"mine","role":"user","content":[{"type":"input_text","text":"hi"}]},` +
		`{"role":"assistant","content":"hello"},{"type":"function_call","call_id":"c","name":"f","arguments":"{}"}]}`)
	want := []string{"system input_text be kind", "user input_text hi", "assistant output_text hello", "function_call"}
	asc, ids, _ := f.items(t, id, "order=asc")
	if !slices.Equal(asc, want) || ids[1] != "mine" || !strings.HasPrefix(ids[3], "fc_") {
		t.Errorf("%v %v", asc, ids)
	}
	slices.Reverse(want)
	if desc, _, _ := f.items(t, id, ""); !slices.Equal(desc, want) {
		t.Errorf("%v", desc)
	}
	if page, _, more := f.items(t, id, "order=asc&limit=2&after="+ids[0]); !slices.Equal(page, asc[1:3]) || !more {
		t.Errorf("a page: %v, more %v", page, more)
	}
	if last, _, more := f.items(t, id, "order=asc&after="+ids[3]); len(last) != 0 || more {
		t.Errorf("behind the last: %v", last)
	}
	for query, status := range map[string]int{"limit=0": 400, "limit=101": 400, "order=up": 400, "after=nothing": 404} {
		if r := f.get("/v1/responses/" + id + "/input_items?" + query); r.status != status {
			t.Errorf("%s: %d %s", query, r.status, r.body)
		}
	}
	if r := f.get("/v1/responses/nothing/input_items"); r.status != http.StatusNotFound {
		t.Errorf("%d %s", r.status, r.body)
	}
}

// The ID of a response stands for what it was first asked with.
func TestInputIsTheFirst(t *testing.T) {
	f := newBroker(t, t.TempDir(), hang).newFront()
	for range 2 {
		if r := f.post("/v1/responses", backgroundBody, "Idempotency-Key", "resp-chosen"); r.status != http.StatusOK {
			t.Fatalf("%d %s", r.status, r.body)
		}
	}
	f.post("/v1/responses", strings.Replace(backgroundBody, `"hi"`, `"another"`, 1), "Idempotency-Key", "resp-chosen")
	if texts, _, _ := f.items(t, "resp-chosen", ""); !slices.Equal(texts, []string{"user input_text hi"}) {
		t.Errorf("%v", texts)
	}
}
