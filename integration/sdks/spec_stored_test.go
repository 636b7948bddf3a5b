package sdks

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"mime/multipart"
	"net/textproto"
	"strings"
	"time"
)

// batchLine is a line of a batch's input file.
const batchLine = `{"custom_id":"a","method":"POST","url":"/v1/chat/completions","body":{"model":"chat","messages":[{"role":"user","content":"hi"}]}}` + "\n"

// upload sends a file as a form, and returns its ID if it was taken.
func (a *asker) upload(fields map[string]string, content string) string {
	var buf bytes.Buffer
	w := multipart.NewWriter(&buf)
	for name, v := range fields {
		if err := w.WriteField(name, v); err != nil {
			a.t.Fatal(err)
		}
	}
	part, err := w.CreatePart(textproto.MIMEHeader{"Content-Disposition": {`form-data; name="file"; filename="input.jsonl"`}, "Content-Type": {"application/jsonl"}})
	if err == nil {
		_, err = part.Write([]byte(content))
	}
	if err != nil || w.Close() != nil {
		a.t.Fatal(err)
	}
	return idOf(a.send("POST", "/v1/files", w.FormDataContentType(), buf.String(), "OpenAIFile", ""))
}

func idOf(answer []byte) string {
	var o struct{ ID string }
	_ = json.Unmarshal(answer, &o) // what is no object has no ID
	return o.ID
}

// stored asks for everything about files and batches, well and badly.
func (a *asker) stored(r *rand.Rand) {
	id := a.upload(map[string]string{"purpose": "batch"}, batchLine)
	other := a.upload(map[string]string{"purpose": "user_data", "expires_after[anchor]": "created_at", "expires_after[seconds]": "3600"}, "anything")
	if id == "" || other == "" {
		a.t.Fatal("no file was taken")
	}
	a.ask("GET", "/v1/files", "", "ListFilesResponse", "")
	a.ask("GET", "/v1/files?purpose=batch&limit=1&order=asc&after="+id, "", "ListFilesResponse", "")
	a.ask("GET", "/v1/files/"+id, "", "OpenAIFile", "")
	if got := a.ask("GET", "/v1/files/"+id+"/content", "", "", ""); string(got) != batchLine {
		a.t.Errorf("the file's content is %.200q", got)
	}
	body := `{"input_file_id":"` + id + `","endpoint":"/v1/chat/completions","completion_window":"24h","metadata":{"a":"b"},"output_expires_after":{"anchor":"created_at","seconds":3600}}`
	batch := idOf(a.ask("POST", "/v1/batches", body, "Batch", ""))
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		var b struct {
			Status string
			Output string `json:"output_file_id"`
		}
		if err := json.Unmarshal(a.ask("GET", "/v1/batches/"+batch, "", "Batch", ""), &b); err != nil || time.Now().After(end) {
			a.t.Fatalf("the batch is %+v, %v", b, err)
		}
		if b.Status == "completed" {
			a.ask("GET", "/v1/files/"+b.Output, "", "OpenAIFile", "")
			break
		}
	}
	a.ask("GET", "/v1/batches?limit=2", "", "ListBatchesResponse", "")
	a.ask("POST", "/v1/batches/"+batch+"/cancel", "", "Batch", "") // which has ended
	a.ask("POST", "/v1/batches/"+idOf(a.ask("POST", "/v1/batches", body, "Batch", ""))+"/cancel", "", "Batch", "")
	a.ask("DELETE", "/v1/files/"+other, "", "DeleteFileResponse", "")

	missing := 0
	for _, path := range []string{"/v1/files/" + other, "/v1/files/nothing", "/v1/files/nothing/content", "/v1/batches/nothing"} {
		if answer := a.ask("GET", path, "", "", ""); bytes.Contains(answer, []byte(`"error"`)) {
			missing++
		}
	}
	if missing != 4 {
		a.t.Errorf("of 4 things that are not there, %d are missing", missing)
	}
	a.ask("POST", "/v1/batches/nothing/cancel", "", "", "")
	a.ask("GET", "/v1/files?limit=0&order=sideways&after=x", "", "ListFilesResponse", "")
	a.ask("GET", "/v1/batches?limit=x&after=nothing", "", "ListBatchesResponse", "")
	for _, fields := range []map[string]string{nil, {"purpose": "x"}, {"purpose": "batch", "expires_after[anchor]": "never"}, {"purpose": "batch", "expires_after[seconds]": "-1"}} {
		a.upload(fields, batchLine)
	}
	for _, form := range []string{"", "nonsense", "--x\r\n\r\n--x--"} {
		a.send("POST", "/v1/files", "multipart/form-data; boundary=x", form, "OpenAIFile", "")
	}
	for range 60 {
		var v any
		if err := json.Unmarshal([]byte(body), &v); err != nil {
			a.t.Fatal(err)
		}
		for range 1 + r.IntN(2) {
			v = mutate(r, v)
		}
		fuzzed, err := json.Marshal(v)
		if err != nil {
			a.t.Fatal(err)
		}
		a.ask("POST", "/v1/batches", string(fuzzed), "Batch", "")
	}
	for range 10 { // input files with lines that are wrong: the batch says so
		bad := a.upload(map[string]string{"purpose": "batch"}, strings.Replace(batchLine, `"hi"`, odd[r.IntN(len(odd))], 1)+odd[r.IntN(len(odd))]+"\n")
		if bad == "" { // refused at once
			continue
		}
		b := idOf(a.ask("POST", "/v1/batches", strings.Replace(body, id, bad, 1), "Batch", ""))
		a.ask("GET", "/v1/batches/"+b, "", "Batch", "")
	}
	a.ask("GET", "/v1/batches?limit=100", "", "ListBatchesResponse", "")
}
