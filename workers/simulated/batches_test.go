package simulated

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
)

// talk sends a request and decodes the answer, which is also given as text.
func talk(t *testing.T, p *Provider, method, path, body string, answer any) (status int, text string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://sim.invalid/v1"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return send(t, p, req, answer)
}

func send(t *testing.T, p *Provider, req *http.Request, answer any) (status int, text string) {
	t.Helper()
	resp, err := p.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if answer != nil && json.Unmarshal(raw, answer) != nil {
		t.Fatalf("%s %s: %d %s", req.Method, req.URL.Path, resp.StatusCode, raw)
	}
	return resp.StatusCode, string(raw)
}

// uploadInput stores n lines as a file.
func uploadInput(t *testing.T, p *Provider, n int, of func(int) string) string {
	t.Helper()
	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	_ = w.WriteField("purpose", "batch")
	part, _ := w.CreateFormFile("file", "in.jsonl")
	for i := range n {
		_, _ = io.WriteString(part, of(i)+"\n")
	}
	_ = w.Close()
	req, err := http.NewRequestWithContext(t.Context(), "POST", "http://sim.invalid/v1/files", &form)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", w.FormDataContentType())
	var f fileObject
	if status, text := send(t, p, req, &f); status != 200 || f.ID == "" || f.Object != "file" {
		t.Fatalf("%d %s", status, text)
	}
	return f.ID
}

func inputLine(i int) string {
	return fmt.Sprintf(`{"custom_id":"c%d","method":"POST","url":"/v1/chat/completions","body":{"model":"m","messages":[{"role":"user","content":"a b"}],"max_tokens":10}}`, i)
}

func create(t *testing.T, p *Provider, input string) batchObject {
	t.Helper()
	var b batchObject
	if status, text := talk(t, p, "POST", "/batches", `{"input_file_id":"`+input+
		`","endpoint":"/v1/chat/completions","completion_window":"24h","metadata":{"k":"v"}}`, &b); status != 200 {
		t.Fatalf("%d %s", status, text)
	}
	return b
}

// resultsIn is a result file, by custom ID.
func resultsIn(t *testing.T, p *Provider, file *string) map[string]string {
	t.Helper()
	out := map[string]string{}
	if file == nil {
		return out
	}
	status, text := talk(t, p, "GET", "/files/"+*file+"/content", "", nil)
	for line := range strings.Lines(text) {
		var l struct {
			ID string `json:"custom_id"`
		}
		if status != 200 || json.Unmarshal([]byte(line), &l) != nil || out[l.ID] != "" {
			t.Fatalf("%d: %s", status, line)
		}
		out[l.ID] = line
	}
	return out
}

var batchPrice = map[string]wire.Price{"": {Input: 1_000_001, Output: 2_000_000}}

// TestBatch: lines end over the time that the batch takes, at half the price;
// its results are in two files.
func TestBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, lines := provider(t, Config{Fill: true, Prices: batchPrice, BatchMin: time.Hour, ErrorShare: 0.2, Faults: []Fault{ServerError}})
		const n = 200
		b := create(t, p, uploadInput(t, p, n, inputLine))
		if b.Status != "validating" || b.Metadata["k"] != "v" {
			t.Fatalf("%+v", b)
		}
		time.Sleep(30 * time.Minute)
		if talk(t, p, "GET", "/batches/"+b.ID, "", &b); b.Status != "in_progress" || b.Counts["completed"]+b.Counts["failed"] != n/2 || b.Output != nil {
			t.Errorf("%+v", b)
		}
		if got := len(lines()); got != n/2 {
			t.Errorf("%d lines are booked", got)
		}
		time.Sleep(30 * time.Minute)
		talk(t, p, "GET", "/batches/"+b.ID, "", &b)
		out, errs := resultsIn(t, p, b.Output), resultsIn(t, p, b.ErrorFile)
		if b.Status != "completed" || len(out) != b.Counts["completed"] || len(errs) != b.Counts["failed"] || len(out)+len(errs) != n || len(errs) < n/10 {
			t.Errorf("%+v: %d and %d results", b, len(out), len(errs))
		}
		for _, l := range lines() {
			switch {
			case !l.Batch, l.Outcome == "refused" && errs[l.Key] == "", l.Outcome == "ok" && out[l.Key] == "":
				t.Fatalf("%+v", l)
			case l.Outcome == "ok" && *l.Cost != (5*1_000_001+10*2_000_000+1999)/2000: // halved before it is rounded up
				t.Fatalf("%d", *l.Cost)
			}
		}
	})
}

// TestBatchStops: a batch that expires, or is cancelled, has run and booked what
// was due by then.
func TestBatchStops(t *testing.T) {
	for _, cancel := range []bool{false, true} {
		t.Run(fmt.Sprint("cancel ", cancel), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, lines := provider(t, Config{BatchMin: 48 * time.Hour, BatchCancel: time.Hour})
				const n = 96
				b := create(t, p, uploadInput(t, p, n, inputLine))
				want, code, status := n/2, "batch_expired", "expired"
				if cancel {
					time.Sleep(11 * time.Hour)
					talk(t, p, "POST", "/batches/"+b.ID+"/cancel", "", &b)
					if b.Status != "cancelling" {
						t.Errorf("%+v", b)
					}
					want, code, status = n/4, "batch_cancelled", "cancelled"
				}
				time.Sleep(30 * time.Hour)
				talk(t, p, "GET", "/batches/"+b.ID, "", &b)
				out, errs := resultsIn(t, p, b.Output), resultsIn(t, p, b.ErrorFile)
				if b.Status != status || len(out) != want || len(errs) != n-want || len(lines()) != want {
					t.Errorf("%+v: %d and %d results, %d booked", b, len(out), len(errs), len(lines()))
				}
				for _, l := range errs {
					if !strings.Contains(l, code) {
						t.Fatal(l)
					}
				}
				if s, _ := talk(t, p, "POST", "/batches/"+b.ID+"/cancel", "", nil); s != 409 {
					t.Errorf("cancelled again: %d", s)
				}
			})
		})
	}
}

// TestBatchRefused: what OpenAI would not take.
func TestBatchRefused(t *testing.T) {
	p, _ := provider(t, Config{})
	for name, of := range map[string]func(int) string{
		"duplicate_custom_id": func(int) string { return inputLine(1) },
		"mismatched_model":    func(i int) string { return strings.Replace(inputLine(i), `"m"`, fmt.Sprintf(`"m%d"`, i), 1) },
		"invalid_json_line":   func(int) string { return "{" },
		"invalid_request":     func(i int) string { return strings.Replace(inputLine(i), "chat/", "", 1) },
	} {
		b := create(t, p, uploadInput(t, p, 2, of))
		if b.Status != "failed" || b.Errors == nil || b.Errors.Data[len(b.Errors.Data)-1].Code != name {
			t.Errorf("%s: %+v", name, b)
		}
	}
	id := uploadInput(t, p, 1, inputLine)
	if s, text := talk(t, p, "DELETE", "/files/"+id, "", nil); s != 200 || !strings.Contains(text, `"deleted":true`) {
		t.Error(s, text)
	}
	for _, c := range [][3]string{{"POST", "/batches", `{"input_file_id":"` + id + `","endpoint":"/v1/chat/completions","completion_window":"24h"}`},
		{"GET", "/batches/none", ""}, {"GET", "/files/none", ""}, {"GET", "/messages/batches/none", ""}} {
		if s, text := talk(t, p, c[0], c[1], c[2], nil); s != 404 {
			t.Error(c, s, text)
		}
	}
	closed, _ := provider(t, Config{APIKey: "k"})
	if s, _ := talk(t, closed, "GET", "/batches", "", nil); s != 401 {
		t.Errorf("without a key: %d", s)
	}
}

// TestMessageBatch: Anthropic's batches count what ran when all has ended.
func TestMessageBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, lines := provider(t, Config{BatchMin: time.Hour, ErrorShare: 0.3})
		var requests []string
		for i := range 50 {
			requests = append(requests, fmt.Sprintf(`{"custom_id":"c%d","params":{"model":"m","max_tokens":5,"messages":[{"role":"user","content":"a"}]}}`, i))
		}
		var b messageBatchObject
		if s, text := talk(t, p, "POST", "/messages/batches", `{"requests":[`+strings.Join(requests, ",")+`]}`, &b); s != 200 || b.Counts["processing"] != 50 {
			t.Fatal(s, text)
		}
		time.Sleep(30 * time.Minute)
		if s, _ := talk(t, p, "GET", "/messages/batches/"+b.ID+"/results", "", nil); s != 400 {
			t.Errorf("results before the end: %d", s)
		}
		talk(t, p, "POST", "/messages/batches/"+b.ID+"/cancel", "", &b)
		if b.Status != "ended" || b.Counts["canceled"] != 25 || b.Counts["succeeded"]+b.Counts["errored"] != 25 || b.Counts["errored"] == 0 || len(lines()) != 25 {
			t.Errorf("%+v", b)
		}
		_, text := talk(t, p, "GET", "/messages/batches/"+b.ID+"/results", "", nil)
		for kind, n := range b.Counts {
			if got := strings.Count(text, `"result":{"type":"`+kind+`"`); got != n {
				t.Errorf("%d results are %s, want %d", got, kind, n)
			}
		}
		for range 4 {
			talk(t, p, "POST", "/messages/batches", `{"requests":[`+requests[0]+`]}`, nil)
		}
		var page struct {
			Data []messageBatchObject `json:"data"`
			More bool                 `json:"has_more"`
			Last string               `json:"last_id"`
		}
		seen := map[string]bool{}
		for after, more := "", true; more; after, more = page.Last, page.More {
			talk(t, p, "GET", "/messages/batches?limit=2&after_id="+after, "", &page)
			for _, x := range page.Data {
				seen[x.ID] = true
			}
		}
		if len(seen) != 5 {
			t.Errorf("%d batches are listed", len(seen))
		}
	})
}

// TestBatchShapes compares files and batches with OpenAI's specification.
func TestBatchShapes(t *testing.T) {
	s := loadSpec(t)
	p, _ := provider(t, Config{})
	in := uploadInput(t, p, 3, inputLine)
	_, text := talk(t, p, "GET", "/files/"+in, "", nil)
	s.compare(t, "OpenAIFile", text)
	b := create(t, p, in)
	bad := create(t, p, uploadInput(t, p, 2, func(int) string { return inputLine(1) }))
	for _, id := range []string{b.ID, bad.ID} {
		_, text = talk(t, p, "GET", "/batches/"+id, "", nil)
		s.compare(t, "Batch", dropNulls(text))
	}
	_, text = talk(t, p, "GET", "/batches", "", nil)
	s.compare(t, "ListBatchesResponse", dropNulls(text))
}

// dropNulls takes out what OpenAI's own answers have as null although its
// specification leaves it out.
func dropNulls(text string) string {
	var v any
	_ = json.Unmarshal([]byte(text), &v)
	var drop func(any)
	drop = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			for k, x := range v {
				if x == nil {
					delete(v, k)
				}
				drop(x)
			}
		case []any:
			for _, x := range v {
				drop(x)
			}
		}
	}
	drop(v)
	raw, _ := json.Marshal(v)
	return string(raw)
}
