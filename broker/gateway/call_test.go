package gateway

import (
	"net/http"
	"testing"

	"github.com/sluicehq/sluice/sdk/wire"
)

func TestChatCompletion(t *testing.T) {
	b := newBroker(t, t.TempDir(), answer(completion("hello")))
	f := b.newFront()
	r := f.post("/v1/chat/completions", chatBody, "Sluice-Tenant", "acme")
	if r.status != http.StatusOK || r.body != completion("hello") {
		t.Fatalf("answer %d %s", r.status, r.body)
	}
	job := b.newest()
	if job.Tenant != "acme" || job.Class != wire.Interactive || job.Endpoint != wire.ChatCompletions || string(job.Body) != chatBody {
		t.Errorf("job %+v", job.Meta)
	}
	for name, want := range map[string]string{
		"Content-Type": "application/json", "Sluice-Job": job.ID, "X-Request-Id": job.ID,
		"Sluice-Pool": "p1", "Sluice-Cost-Nano-Usd": "7",
	} {
		if got := r.header.Get(name); got != want {
			t.Errorf("header %s is %q, want %q", name, got, want)
		}
	}
}
