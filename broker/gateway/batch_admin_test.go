package gateway

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sluicehq/sluice/broker/batch"
	"github.com/sluicehq/sluice/sdk/wire"
)

// TestBatchesOfAdministrators: a tenant sees, stops and reads its own batches
// of both APIs, an administrator everyone's.
func TestBatchesOfAdministrators(t *testing.T) {
	hold := make(chan struct{})
	b := newBroker(t, t.TempDir(), func(b *broker, job wire.Job) {
		if strings.Contains(string(job.Body), "wait") {
			<-hold
		}
		if strings.Contains(string(job.Body), "fail") {
			fail(wire.Errorf(wire.CodeProviderError, "", "no"), 500)(b, job)
			return
		}
		answer(`{"the":"answer"}`)(b, job)
	})
	b.runBatches()
	f := dashboardFront(t, b)
	acme, globex, admin := f.login(t, "key-a"), f.login(t, "key-g"), f.login(t, "root")
	chat := func(text string) string {
		return fmt.Sprintf(`{"model":"chat","messages":[{"role":"user","content":%q}]}`, text)
	}
	submit := func(text string) string {
		lines := batchInput(3, "/v1/chat/completions", chat(text)) + strings.ReplaceAll(batchInput(1, "/v1/chat/completions", chat("fail")), "c1", "c9")
		in := f.upload(lines, "Authorization", "Bearer key-a")
		r := f.post("/v1/batches", fmt.Sprintf(`{"input_file_id":%q,"endpoint":"/v1/chat/completions","completion_window":"24h"}`, in.ID), "Authorization", "Bearer key-a")
		return decode[batchObject](t, r).ID
	}
	view := func(id, cookie string) batchView {
		return decode[batchView](t, f.get("/admin/v1/batches/"+id+"?tenant=acme", "Cookie", cookie))
	}
	first := submit("x")
	eventually(t, "the end of the batch", func() bool { return view(first, acme).Status == batch.Completed })
	v := view(first, admin)
	if v.Tenant != "acme" || v.API != batch.OpenAI || v.Lines != 4 || v.Succeeded != 3 || v.Failed != 1 || v.Errors[wire.CodeProviderError] != 1 ||
		v.Cost != 28 || strings.Join(v.Results, " ") != "output errors" || v.At[batch.Completed] == 0 || v.Model != "chat" {
		t.Errorf("%+v", v)
	}
	r := f.get("/admin/v1/batches/"+first+"/output", "Cookie", acme)
	if strings.Count(r.body, `{"the":"answer"}`) != 3 || !strings.HasPrefix(r.header.Get("Content-Disposition"), "attachment") {
		t.Errorf("%d %v %s", r.status, r.header, r.body)
	}
	if r := f.get("/admin/v1/batches/"+first+"/errors?tenant=acme", "Cookie", admin); strings.Count(r.body, `"c9"`) != 1 {
		t.Errorf("%d %s", r.status, r.body)
	}

	second := submit("wait")
	eventually(t, "the batch is under way", func() bool { return view(second, acme).Status == batch.InProgress })
	type list struct {
		Batches []batchView
		More    bool
	}
	if l := decode[list](t, f.get("/admin/v1/batches?limit=1", "Cookie", admin)); len(l.Batches) != 1 || l.Batches[0].ID != second || !l.More {
		t.Errorf("%+v", l)
	}
	if l := decode[list](t, f.get("/admin/v1/batches", "Cookie", acme)); len(l.Batches) != 2 || l.Batches[1].ID != first || l.More {
		t.Errorf("%+v", l)
	}
	if l := decode[list](t, f.get("/admin/v1/batches?tenant=acme", "Cookie", globex)); len(l.Batches) != 0 {
		t.Errorf("another tenant sees %+v", l)
	}
	for _, c := range []struct {
		method, path, cookie string
		want                 int
	}{
		{"GET", "/admin/v1/batches", "", 401}, {"POST", "/admin/v1/batches", admin, 405}, {"GET", "/admin/v1/batches?limit=0", admin, 400},
		{"GET", "/admin/v1/batches/" + first, globex, 404}, {"GET", "/admin/v1/batches/" + first + "/output", globex, 404},
		{"GET", "/admin/v1/batches/" + first + "/output", "", 401}, {"GET", "/admin/v1/batches/" + first + "/nothing", acme, 404},
		{"GET", "/admin/v1/batches/" + second + "/output", acme, 404}, {"GET", "/admin/v1/batches/" + second + "/cancel", acme, 405},
		{"POST", "/admin/v1/batches/" + second + "/cancel", globex, 404}, {"POST", "/admin/v1/batches/" + second + "/cancel", "", 401},
		{"POST", "/admin/v1/batches/" + first + "/cancel", acme, 409},
		{"POST", "/admin/v1/batches/" + second + "/cancel?tenant=acme", admin, 200},
	} {
		if r := f.do(t.Context(), c.method, c.path, "", "Cookie", c.cookie); r.status != c.want {
			t.Errorf("%s %s: %d %s, want %d", c.method, c.path, r.status, r.body, c.want)
		}
	}
	close(hold)
	eventually(t, "the batch is cancelled", func() bool { return view(second, acme).Status == batch.Cancelled })

	if r := f.get("/admin/v1/jobs?tenant=acme&batch="+first, "Cookie", admin); !strings.Contains(r.body, `\"batch\":\"`+first) {
		t.Errorf("jobs of a batch: %d %s", r.status, r.body)
	}
	m := decode[struct{ ID string }](t, f.post("/v1/messages/batches", `{"requests":[{"custom_id":"m","params":{"model":"chat","max_tokens":5,"messages":[{"role":"user","content":"x"}]}}]}`,
		"Authorization", "Bearer key-a"))
	eventually(t, "the end of Anthropic's batch", func() bool { return view(m.ID, acme).Status == batch.Completed })
	if v := view(m.ID, acme); v.API != batch.Anthropic || v.Succeeded != 1 || strings.Join(v.Results, " ") != "output" {
		t.Errorf("%+v", v)
	}
	if r := f.get("/admin/v1/batches/"+m.ID+"/output", "Cookie", acme); !strings.Contains(r.body, `"custom_id":"m"`) {
		t.Errorf("%d %s", r.status, r.body)
	}
}
