package simulated

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
)

// provider is a provider with books; the function reads them.
func provider(t testing.TB, cfg Config) (*Provider, func() []Line) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "books")
	books, err := OpenBooks(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = books.Close() }) // a test that cares has closed it
	cfg.Books = books
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return p, func() []Line {
		lines, torn, err := ReadBooks(path)
		if err != nil || torn != 0 {
			t.Errorf("books: %d torn, %v", torn, err)
		}
		return lines
	}
}

// request is a call of an endpoint under a key.
func request(ctx context.Context, path, key, body string) *http.Request {
	req, err := http.NewRequestWithContext(ctx, "POST", "http://sim/v1"+path, strings.NewReader(body))
	if err != nil {
		panic(err)
	}
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	return req
}

// ask makes a call and reads the answer.
func ask(t testing.TB, p *Provider, path, key, body string) (status int, answer string, err error) {
	t.Helper()
	resp, err := p.RoundTrip(request(context.Background(), path, key, body))
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close() // a body in memory
	return resp.StatusCode, string(b), err
}

// reply is what the tests look at in an answer.
type reply struct {
	Choices []struct {
		Message      struct{ Content string }
		Text         string
		FinishReason string `json:"finish_reason"`
	}
	Output []struct{ Content []struct{ Text string } }
	Data   []struct{ Embedding []float64 }
	Status string
	Usage  struct {
		Prompt     int64                  `json:"prompt_tokens"`
		Completion int64                  `json:"completion_tokens"`
		Total      int64                  `json:"total_tokens"`
		Input      int64                  `json:"input_tokens"`
		Output     int64                  `json:"output_tokens"`
		InDetails  struct{ Cached int64 } `json:"-"`
		Details    map[string]int64       `json:"prompt_tokens_details"`
		OutDetails map[string]int64       `json:"completion_tokens_details"`
	}
	Error struct{ Type, Code string }
}

func parse(t testing.TB, s string) reply {
	t.Helper()
	var r reply
	if err := json.Unmarshal([]byte(s), &r); err != nil {
		t.Fatalf("%v in %.300s", err, s)
	}
	return r
}

func TestTokens(t *testing.T) {
	p, _ := provider(t, Config{})
	for _, c := range []struct {
		path, body string
		want       int64
	}{
		{"/chat/completions", `{"model":"m","messages":[{"role":"user","content":"one two three"}]}`, 6},
		{"/chat/completions", `{"model":"m","messages":[{"role":"system","content":""},{"role":"user","content":"  one\ttwo\n\nthree\u00a0four "}]}`, 10},
		{"/chat/completions", `{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"one two"},{"type":"image_url","image_url":{}}]}]}`, 5},
		{"/chat/completions", `{"model":"m","messages":[{"role":"assistant","content":null,"tool_calls":[]}]}`, 3},
		{"/chat/completions", `{"model":"m","messages":[{"role":"user","content":"ein schönes Wort"}]}`, 6},
		{"/completions", `{"model":"m","prompt":"one two"}`, 2},
		{"/completions", `{"model":"m","prompt":["one two",[1,2,3]]}`, 5},
		{"/embeddings", `{"model":"m","input":"one two"}`, 2},
		{"/embeddings", `{"model":"m","input":["one two","three"]}`, 3},
		{"/embeddings", `{"model":"m","input":[[1,2],[3]]}`, 3},
		{"/responses", `{"model":"m","input":"one two"}`, 5},
		{"/responses", `{"model":"m","instructions":"be kind","input":[{"role":"user","content":[{"type":"input_text","text":"one"}]}]}`, 9},
	} {
		status, answer, err := ask(t, p, c.path, "k", c.body)
		r := parse(t, answer)
		if status != 200 || err != nil || r.Usage.Prompt+r.Usage.Input != c.want {
			t.Errorf("%s %s: %d, %v, %+v, want %d tokens in", c.path, c.body, status, err, r.Usage, c.want)
		}
	}
}

const ping = `{"model":"m","messages":[{"role":"user","content":"ping"}]`

func TestLength(t *testing.T) {
	for _, c := range []struct {
		name     string
		cfg      Config
		fields   string
		min, max int64
		finish   string
	}{
		{"default", Config{}, "", 16, 64, "stop"},
		{"range", Config{MinTokens: 5, MaxTokens: 6}, "", 5, 6, "stop"},
		{"only a maximum", Config{MaxTokens: 4}, "", 4, 4, "stop"},
		{"only a minimum", Config{MinTokens: 100}, "", 100, 100, "stop"},
		{"cut", Config{}, `,"max_tokens":3`, 3, 3, "length"},
		{"newer name", Config{}, `,"max_completion_tokens":3`, 3, 3, "length"},
		{"not cut", Config{}, `,"max_tokens":1000`, 16, 64, "stop"},
		{"filled", Config{Fill: true}, `,"max_tokens":1000`, 1000, 1000, "length"},
		{"fill unbounded", Config{Fill: true}, "", 16, 64, "stop"},
		{"null", Config{}, `,"max_tokens":null`, 16, 64, "stop"},
	} {
		p, _ := provider(t, c.cfg)
		for i := range 20 {
			_, answer, _ := ask(t, p, "/chat/completions", string(rune('a'+i)), ping+c.fields+"}")
			r := parse(t, answer)
			words := int64(len(strings.Fields(r.Choices[0].Message.Content)))
			if n := r.Usage.Completion; n < c.min || n > c.max || words != n || r.Usage.Total != r.Usage.Prompt+n || r.Choices[0].FinishReason != c.finish {
				t.Errorf("%s: %d words, %+v, %s", c.name, words, r.Usage, r.Choices[0].FinishReason)
			}
		}
	}
}

func TestShares(t *testing.T) {
	p, lines := provider(t, Config{CacheShare: 0.5, ReasoningShare: 0.25, MinTokens: 40, MaxTokens: 40})
	_, answer, _ := ask(t, p, "/chat/completions", "k", `{"model":"m","messages":[{"role":"user","content":"a b c d e f g h"}]}`)
	r := parse(t, answer)
	if r.Usage.Prompt != 11 || r.Usage.Details["cached_tokens"] != 5 || r.Usage.OutDetails["reasoning_tokens"] != 10 || r.Usage.Completion != 40 {
		t.Errorf("%+v", r.Usage)
	}
	if n := len(strings.Fields(r.Choices[0].Message.Content)); n != 30 {
		t.Errorf("%d words for 30 tokens outside reasoning", n)
	}
	if l := lines()[0]; l.Input != 6 || l.CacheRead != 5 || l.Output != 30 || l.Reasoning != 10 {
		t.Errorf("books %+v", l)
	}
}

// TestI1Deterministic: same seed, key and body, same answer; any other, another.
func TestI1Deterministic(t *testing.T) {
	get := func(seed uint64, key, body string) string {
		p, _ := provider(t, Config{Seed: seed})
		_, answer, _ := ask(t, p, "/chat/completions", key, body)
		return answer
	}
	first := get(1, "a", ping+"}")
	if get(1, "a", ping+"}") != first {
		t.Error("the same call has another answer")
	}
	if get(2, "a", ping+"}") == first || get(1, "b", ping+"}") == first {
		t.Error("another seed or key has the same answer")
	}
	//lint:ignore SA4000 the same call twice is the point
	if get(1, "", ping+"}") != get(1, "", ping+"}") || get(1, "", ping+"}") == get(1, "", ping+`,"top_p":1}`) {
		t.Error("without a key the body decides")
	}
}

func TestErrorShare(t *testing.T) {
	p, lines := provider(t, Config{ErrorShare: 0.3})
	outcomes := map[string]int{}
	const n = 2000
	for i := range n {
		key := "job-" + string(rune('a'+i%26)) + string(rune('a'+i/26%26)) + string(rune('a'+i/676))
		_, _, _ = ask(t, p, "/chat/completions", key, ping+"}") // the books tell
	}
	for _, l := range lines() {
		outcomes[l.Outcome]++
		if l.Outcome == "refused" {
			outcomes[http.StatusText(l.HTTP)]++
		}
	}
	for _, k := range []string{"Too Many Requests", "Internal Server Error", "dropped", "garbled"} {
		if c := outcomes[k]; c < 100 || c > 200 {
			t.Errorf("%s: %d of %d calls, want about 150", k, c, n)
		}
	}
	if s := p.Stats(); s.Calls != n || s.Running != 0 {
		t.Errorf("stats %+v", s)
	}
}

func TestRefusals(t *testing.T) {
	p, lines := provider(t, Config{APIKey: "k", Models: []string{"m", "n"}})
	call := func(path, auth, body string) (int, http.Header, reply) {
		req := request(context.Background(), path, "x", body)
		req.Header.Set("Authorization", auth)
		resp, err := p.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, resp.Header, parse(t, string(b))
	}
	for _, c := range []struct {
		path, auth, body string
		status           int
		code             string
	}{
		{"/chat/completions", "", ping + "}", 401, "invalid_api_key"},
		{"/chat/completions", "Bearer other", ping + "}", 401, "invalid_api_key"},
		{"/nothing", "Bearer k", ping + "}", 404, "unknown_url"},
		{"/chat/completions", "Bearer k", `{"model":"zzz","messages":[]}`, 404, "model_not_found"},
		{"/chat/completions", "Bearer k", `{"messages":[]}`, 400, ""},
		{"/chat/completions", "Bearer k", `{"model":`, 400, ""},
		{"/chat/completions", "Bearer k", `[]`, 400, ""},
		{"/chat/completions", "Bearer k", ping + `,"max_tokens":0}`, 400, ""},
		{"/chat/completions", "Bearer k", ping + `,"max_tokens":-5}`, 400, ""},
		{"/chat/completions", "Bearer k", ping + "}", 200, ""},
	} {
		status, _, r := call(c.path, c.auth, c.body)
		if status != c.status || r.Error.Code != c.code || (r.Error.Type == "") != (status == 200) {
			t.Errorf("%s %q %s: %d %+v", c.path, c.auth, c.body, status, r.Error)
		}
	}
	for _, l := range lines()[:9] {
		if l.Outcome != "refused" || l.Input+l.Output != 0 || l.HTTP < 400 {
			t.Errorf("books %+v", l)
		}
	}
	if status, _, r := call("/models", "Bearer k", ""); status != 200 || len(r.Data) != 2 {
		t.Errorf("models: %d %+v", status, r)
	}
}

func TestRetryAfter(t *testing.T) {
	p, _ := provider(t, Config{ErrorShare: 1, Faults: []Fault{RateLimit}, RetryAfter: 1500 * time.Millisecond})
	resp, err := p.RoundTrip(request(context.Background(), "/chat/completions", "k", ping+"}"))
	if err != nil || resp.StatusCode != 429 || resp.Header.Get("Retry-After") != "2" || resp.Header.Get("Retry-After-Ms") != "1500" {
		t.Errorf("%+v, %v", resp, err)
	}
	_ = resp.Body.Close()
}

func TestMaxConcurrent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, err := New(Config{MaxConcurrent: 3, TimeToFirstToken: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		got := map[int]int{}
		var wg sync.WaitGroup
		for i := range 5 {
			wg.Go(func() {
				status, _, _ := ask(t, p, "/chat/completions", string(rune('a'+i)), ping+"}")
				mu.Lock()
				defer mu.Unlock()
				got[status]++
			})
		}
		wg.Wait()
		if got[200] != 3 || got[429] != 2 || p.Stats().Running != 0 || p.Stats().MaxRunning < 3 {
			t.Errorf("%v, %+v", got, p.Stats())
		}
		if p.ResetMax(); p.Stats().MaxRunning != 0 {
			t.Errorf("after ResetMax: %+v", p.Stats())
		}
	})
}

func TestVectors(t *testing.T) {
	p, _ := provider(t, Config{})
	_, answer, _ := ask(t, p, "/embeddings", "k", `{"model":"m","input":["a","b","c"],"dimensions":5}`)
	r := parse(t, answer)
	if len(r.Data) != 3 || len(r.Data[0].Embedding) != 5 || r.Usage.Prompt != 3 || r.Usage.Total != 3 {
		t.Errorf("%s", answer)
	}
	for body, vectors := range map[string]int{`"a b"`: 1, `["a"]`: 1, `[1,2,3]`: 1, `[[1],[2]]`: 2, `[]`: 0} {
		_, answer, _ := ask(t, p, "/embeddings", "k", `{"model":"m","input":`+body+`}`)
		if r := parse(t, answer); len(r.Data) != max(vectors, 1) && vectors > 0 {
			t.Errorf("%s: %d vectors", body, len(r.Data))
		}
	}
}

func TestNewListsFaults(t *testing.T) {
	_, err := New(Config{ErrorShare: 2, CacheShare: -1, ReasoningShare: 1.5, TokensPerSecond: -1, RetryAfter: -1,
		MinTokens: 5, MaxTokens: 4, MaxConcurrent: -1, Faults: []Fault{"hiccup"}})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"error_share", "cache_share", "reasoning_share", "tokens_per_second", "retry_after", "min_tokens", "max_concurrent", "hiccup"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in:\n%v", want, err)
		}
	}
}

// BenchmarkRoundTrip is a call without latencies, 1 KiB in, with and without
// books.
func BenchmarkRoundTrip(b *testing.B) {
	body := `{"model":"m","max_tokens":16,"messages":[{"role":"user","content":"` + strings.Repeat("lorem ipsum ", 80) + `"}]}`
	plain, err := New(Config{})
	if err != nil {
		b.Fatal(err)
	}
	booked, _ := provider(b, Config{Prices: map[string]wire.Price{"": {Input: 150_000, Output: 600_000}}})
	for name, p := range map[string]*Provider{"plain": plain, "books": booked} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				resp, err := p.RoundTrip(request(context.Background(), "/chat/completions", "acme-job-1", body))
				if err != nil {
					b.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, resp.Body) // in memory
				_ = resp.Body.Close()
			}
		})
	}
}
