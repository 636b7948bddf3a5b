package sdks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/openapi"
)

// envSpec is where OpenAI's specification is, unless beside the repository.
const envSpec = "SLUICE_OPENAI_SPEC"

func specification(t *testing.T) *openapi.Document {
	t.Helper()
	path := os.Getenv(envSpec)
	if path == "" {
		path = filepath.Join("..", "..", "..", "shared", "data", "openai-openapi.json")
	}
	d, err := openapi.Load(path)
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("OpenAI's specification is not beside the repository (../shared/data/openai-openapi.json, or " + envSpec + "): answers are not compared with it")
	}
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// operations are what is asked, and the schemas of whole answers and events.
var operations = []struct{ path, body, whole, event string }{
	{"/v1/chat/completions", `{"model":"chat","messages":[{"role":"system","content":"be kind"},{"role":"user","content":"hi"}],"max_tokens":8,"temperature":0.5,"stop":["x"],"n":1,"seed":7,"tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object"}}}],"tool_choice":"auto","stream_options":{"include_usage":true},"metadata":{"a":"b"}}`,
		"CreateChatCompletionResponse", "CreateChatCompletionStreamResponse"},
	{"/v1/completions", `{"model":"chat","prompt":"hi","max_tokens":8,"echo":false,"logprobs":null}`, "CreateCompletionResponse", "CreateCompletionResponse"},
	{"/v1/embeddings", `{"model":"chat","input":["a","b c"],"dimensions":3,"encoding_format":"float"}`, "CreateEmbeddingResponse", ""},
	{"/v1/responses", `{"model":"chat","input":[{"role":"user","content":"hi"}],"instructions":"be kind","metadata":{"a":"b"},"max_output_tokens":8,"parallel_tool_calls":true,"text":{"format":{"type":"text"}},"background":false}`,
		"Response", "ResponseStreamEvent"},
}

// odd are values that a fuzzed request puts in the place of others, as JSON.
var odd = []string{`null`, `true`, `-1`, `0`, `1.5`, `1e300`, `""`, `"x"`, `"\u0000"`, `"` + strings.Repeat("long ", 2000) + `"`, `[]`, `{}`, `[null]`,
	`{"type":7}`, `"2026-01-01"`}

// mutate changes one to three places of a JSON value.
func mutate(r *rand.Rand, v any) any {
	switch v := v.(type) {
	case map[string]any:
		if len(v) > 0 && r.IntN(4) > 0 {
			for k := range v { // any: maps have no order
				switch r.IntN(5) {
				case 0:
					delete(v, k)
				case 1:
					v[k+"x"] = v[k]
				default:
					v[k] = mutate(r, v[k])
				}
				return v
			}
		}
	case []any:
		if len(v) > 0 && r.IntN(3) > 0 {
			i := r.IntN(len(v))
			v[i] = mutate(r, v[i])
			return v
		}
	}
	var fresh any
	_ = json.Unmarshal([]byte(odd[r.IntN(len(odd))]), &fresh) // as written above
	return fresh
}

// asker sends requests and holds the answers to the specification.
type asker struct {
	t    *testing.T
	spec *openapi.Document
	url  string

	mu    sync.Mutex
	kinds map[int]int // answers by status
}

func (a *asker) fault(body, format string, args ...any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.t.Errorf("%s\n  asked: %.300s", fmt.Sprintf(format, args...), body)
}

// ask sends one request, looks at what comes, and returns it.
func (a *asker) ask(method, path, body, whole, event string) []byte {
	return a.send(method, path, "application/json", body, whole, event)
}

func (a *asker) send(method, path, kind, body, whole, event string) []byte {
	ctx, cancel := context.WithTimeout(a.t.Context(), 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, a.url+path, strings.NewReader(body))
	if err != nil {
		a.fault(body, "%v", err)
		return nil
	}
	req.Header.Set("Content-Type", kind)
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Sluice-Deadline", "5s")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		a.fault(body, "%s %s: %v", method, path, err)
		return nil
	}
	defer func() { _ = res.Body.Close() }()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		a.fault(body, "%s %s: %v", method, path, err)
	}
	a.mu.Lock()
	a.kinds[res.StatusCode]++
	a.mu.Unlock()
	switch {
	case res.StatusCode >= 500:
		a.fault(body, "%s %s: %d %s", method, path, res.StatusCode, answer)
	case res.StatusCode >= 400:
		a.compare("ErrorResponse", answer, body)
	case strings.HasPrefix(res.Header.Get("Content-Type"), "text/event-stream"):
		for line := range strings.Lines(string(answer)) {
			if data, ok := strings.CutPrefix(strings.TrimSpace(line), "data: "); ok && data != "[DONE]" {
				a.compare(event, []byte(data), body)
			}
		}
	case whole != "":
		a.compare(whole, answer, body)
	}
	return answer
}

func (a *asker) compare(name string, answer []byte, body string) {
	for _, f := range a.spec.Faults(name, answer) {
		if strings.Contains(f, "usage is <nil>") || strings.Contains(f, "finish_reason is <nil>") {
			continue // null before the end of a stream, as the prose of the specification has it
		}
		a.fault(body, "%s\n  answer: %.400s", f, answer)
	}
}

// TestSpecification asks for everything, well and badly, and wants no 500, and
// no answer that OpenAI's own description does not allow.
func TestSpecification(t *testing.T) {
	spec := specification(t)
	installed(t) // runs where the others do
	binary, _ := build(t)
	s := newServer(t, binary, nil)
	a := &asker{t: t, spec: spec, url: s.url, kinds: map[int]int{}}
	a.ask("GET", "/v1/models", "", "ListModelsResponse", "")
	a.ask("GET", "/v1/models/chat", "", "Model", "")
	a.ask("GET", "/v1/models/nothing", "", "", "")
	a.ask("GET", "/v1/responses/nothing", "", "", "")
	a.ask("PATCH", "/v1/models", "", "", "")
	for _, o := range operations {
		a.ask("POST", o.path, o.body, o.whole, o.event)
		a.ask("POST", o.path, strings.Replace(o.body, "{", `{"stream":true,`, 1), o.whole, o.event)
	}
	id := idOf(a.ask("POST", "/v1/responses", strings.Replace(operations[3].body, `"background":false`, `"background":true`, 1), "Response", ""))
	a.ask("GET", "/v1/responses/"+id+"/input_items", "", "ResponseItemList", "")
	a.ask("DELETE", "/v1/responses/"+id, "", "", "")
	a.ask("POST", "/v1/responses", strings.Replace(operations[3].body, `"background":false`, `"background":true,"stream":true`, 1), "", "ResponseStreamEvent")
	if a.kinds[200] < 11 || a.kinds[404] != 2 || a.kinds[405] != 1 {
		t.Fatalf("answers by status: %v", a.kinds)
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	a.stored(rand.New(rand.NewPCG(seed, 99)))
	var all sync.WaitGroup
	for lane := range 8 {
		all.Go(func() {
			r := rand.New(rand.NewPCG(seed, uint64(lane)))
			for range 75 {
				o := operations[r.IntN(len(operations))]
				var v any
				if err := json.Unmarshal([]byte(o.body), &v); err != nil {
					a.fault(o.body, "%v", err)
					return
				}
				for range 1 + r.IntN(3) {
					v = mutate(r, v)
				}
				body, err := json.Marshal(v)
				if err != nil {
					a.fault(o.body, "%v", err)
					return
				}
				a.ask("POST", o.path, string(body), o.whole, o.event)
			}
		})
	}
	all.Wait()
	t.Logf("answers by status: %v", a.kinds)
	if a.kinds[200] < 100 || a.kinds[400] < 50 {
		t.Errorf("the requests are all alike: %v", a.kinds)
	}
}
