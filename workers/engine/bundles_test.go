package engine_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/sluicehq/sluice/workers/adapter"
	"github.com/sluicehq/sluice/workers/engine"
	"github.com/sluicehq/sluice/workers/simulated"
)

// bundled is a provider behind a real socket, and its batch API.
func bundled(t *testing.T, name string, cfg simulated.Config) (*engine.Bundles, func() []simulated.Line) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "books")
	books, err := simulated.OpenBooks(path)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Books, cfg.APIKey = books, "k"
	p, err := simulated.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(p)
	e, err := engine.New(engine.Config{Pool: "p", Adapter: name, BaseURL: srv.URL + "/v1", APIKey: "k", MaxAnswer: 1 << 20,
		Models: map[string]engine.Model{"m": {}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close(); srv.Close(); _ = books.Close() }) // every line was written when it was booked
	b, ok := e.Bundles()
	if !ok {
		t.Fatal("no batch API")
	}
	return b, func() []simulated.Line {
		lines, _, err := simulated.ReadBooks(path)
		if err != nil {
			t.Fatal(err)
		}
		return lines
	}
}

// lineCall is the call that line i is.
func lineCall(i int, e wire.Endpoint) *engine.Call {
	return &engine.Call{Meta: &wire.Meta{ID: fmt.Sprint("j", i), Tenant: "t", Endpoint: e}, Model: "m", Attempt: 1,
		Body: fmt.Appendf(nil, "{\n\"model\":\"chat\",\"max_tokens\":20,\r\n\"messages\":[{\"role\":\"user\",\"content\":\"number %d --sluice\\n\"}]}", i)}
}

// upload gives n lines.
func upload(b *engine.Bundles, n int, e wire.Endpoint) engine.Lines {
	return func(each func([]byte) error) error {
		for i := range n {
			raw, f := b.Line(fmt.Sprint("x-", i), lineCall(i, e))
			if f != nil {
				return f.Err
			}
			if err := each(raw); err != nil {
				return err
			}
		}
		return nil
	}
}

func begin(t *testing.T, b *engine.Bundles, n int, e wire.Endpoint) *engine.Bundle {
	t.Helper()
	file := ""
	if b.Files() {
		var err error
		if file, err = b.Upload(t.Context(), "mark", upload(b, n, e)); err != nil {
			t.Fatal(err)
		}
	}
	x, err := b.Begin(t.Context(), file, e, "mark", upload(b, n, e))
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// TestBundles: what the provider charges for a bundle is what its outcomes cost,
// through each batch API, and for an endpoint that is converted.
func TestBundles(t *testing.T) {
	price := wire.Price{Input: 1_000_000, CacheRead: 500_000, Output: 3_000_000, Reasoning: 3_000_000}
	for _, c := range []struct {
		adapter  string
		endpoint wire.Endpoint
	}{{"openai", wire.ChatCompletions}, {"anthropic", wire.Messages}, {"anthropic", wire.ChatCompletions}, {"simulated", wire.ChatCompletions}} {
		t.Run(c.adapter+string(c.endpoint), func(t *testing.T) {
			b, books := bundled(t, c.adapter, simulated.Config{Prices: map[string]wire.Price{"": price}, CacheShare: 0.4, ReasoningShare: 0.3,
				ErrorShare: 0.2, Faults: []simulated.Fault{simulated.ServerError, simulated.RateLimit}})
			const n = 60
			x, err := b.State(t.Context(), begin(t, b, n, c.endpoint).ID)
			if err != nil || !x.Ended || x.Failed != nil {
				t.Fatal(x, err)
			}
			sum, got, failed, half := wire.NanoUSD(0), 0, 0, price.Less(50)
			err = b.Results(t.Context(), x, func(r adapter.BundleResult) error {
				var i int
				if _, err := fmt.Sscanf(r.ID, "x-%d", &i); err != nil {
					return err
				}
				got++
				out := b.Outcome(lineCall(i, c.endpoint), r)
				if out.Status == wire.Succeeded && len(out.Body) == 0 || out.Status == wire.Failed && out.Usage != (wire.Usage{}) {
					t.Errorf("%+v", out)
				}
				if out.Status == wire.Failed {
					failed++
				}
				sum += half.Cost(out.Usage)
				return nil
			})
			if charged := simulated.Total(books()).Int64(); err != nil || got != n || failed == 0 || failed == n || int64(sum) != charged || charged == 0 {
				t.Errorf("%d results, %d failed, booked %d, charged %d, %v", got, failed, sum, charged, err)
			}
			if err := b.Discard(t.Context(), x); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestBundlesAreFound: by the mark, or by time and size.
func TestBundlesAreFound(t *testing.T) {
	for _, name := range []string{"openai", "anthropic"} {
		b, _ := bundled(t, name, simulated.Config{BatchMin: time.Hour})
		e := map[string]wire.Endpoint{"openai": wire.ChatCompletions, "anthropic": wire.Messages}[name]
		since := time.Now().Add(-time.Minute)
		for n := range 102 { // more than a page
			begin(t, b, n%3+1, e)
		}
		list, err := b.Since(t.Context(), since)
		if err != nil || len(list) != 102 || list[0].Lines != 3 && name == "anthropic" || list[0].Mark != "mark" && b.Files() {
			t.Errorf("%s: %d found, %v", name, len(list), err)
		}
		if later, err := b.Since(t.Context(), time.Now().Add(time.Minute)); err != nil || len(later) != 0 {
			t.Errorf("%s: %d are from the future, %v", name, len(later), err)
		}
		if err := b.Stop(t.Context(), list[0].ID); err != nil {
			t.Error(err)
		}
	}
}

// TestBundleFaults: what was refused is told from what may have been done; no
// error quotes the provider.
func TestBundleFaults(t *testing.T) {
	b, _ := bundled(t, "openai", simulated.Config{})
	gone, err := b.Upload(t.Context(), "mark", upload(b, 1, wire.ChatCompletions))
	if err == nil {
		err = b.DropFile(t.Context(), gone)
	}
	if err != nil || b.DropFile(t.Context(), gone) != nil {
		t.Fatal("a dropped file is not gone", err)
	}
	_, err = b.Begin(t.Context(), gone, wire.ChatCompletions, "mark", nil)
	var f *engine.BundleError
	if !errors.As(err, &f) || !f.Refused() || f.HTTP != 404 {
		t.Errorf("without its file: %v", err)
	}
	if _, f := b.Line("x", &engine.Call{Meta: &wire.Meta{Endpoint: wire.ChatCompletions}, Body: []byte("{}"), Model: "other"}); f == nil || f.Err.Code != wire.CodeModelNotFound {
		t.Errorf("a model that the pool lacks: %+v", f)
	}
	broken := errors.New("the ledger is away")
	if _, err := b.Upload(t.Context(), "mark", func(func([]byte) error) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("lines that break off: %v", err)
	}
	for status, refused := range map[int]bool{400: true, 401: true, 408: false, 429: true, 500: false, 503: false} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = w.Write([]byte(`{"error":{"message":"the prompt was geheim"}}`)) // or the client is gone
		}))
		e, err := engine.New(engine.Config{Pool: "p", Adapter: "openai", BaseURL: srv.URL})
		if err != nil {
			t.Fatal(err)
		}
		b, _ := e.Bundles()
		_, err = b.State(t.Context(), "x")
		if !errors.As(err, &f) || f.Refused() != refused || f.HTTP != status || strings.Contains(err.Error(), "geheim") {
			t.Errorf("%d: %v", status, err)
		}
		srv.Close()
		_, err = b.Upload(t.Context(), "mark", func(each func([]byte) error) error { return each(make([]byte, 1<<20)) })
		if !errors.As(err, &f) || f.Refused() || f.HTTP != 0 || strings.Contains(err.Error(), "127.0.0.1") {
			t.Errorf("nobody there: %v", err)
		}
		e.Close()
	}
}

// TestBundleAnswerTooLong: a result that is longer than an answer may be is a
// failure of its line, and of no other.
func TestBundleAnswerTooLong(t *testing.T) {
	text := strings.Repeat("a", 2<<20)
	long := `{"id":"r","custom_id":"x-1","response":{"status_code":200,"body":{"choices":[{"message":{"content":"` + text + `"}}]}},"error":null}`
	short := `{"id":"r","custom_id":"x-2","response":{"status_code":200,"body":{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2}}},"error":null}`
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := `{"id":"b","status":"completed","output_file_id":"f"}`
		if strings.HasSuffix(r.URL.Path, "/content") {
			body = long + "\n\n" + short
		}
		_, _ = w.Write([]byte(body)) // or the client is gone
	}))
	defer srv.Close()
	e, err := engine.New(engine.Config{Pool: "p", Adapter: "openai", BaseURL: srv.URL, MaxAnswer: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	b, _ := e.Bundles()
	x, err := b.State(t.Context(), "b")
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]wire.Code{}
	err = b.Results(t.Context(), x, func(r adapter.BundleResult) error {
		out := b.Outcome(lineCall(1, wire.ChatCompletions), r)
		got[r.ID] = ""
		if out.Err != nil {
			got[r.ID] = out.Err.Code
		}
		return nil
	})
	if err != nil || len(got) != 2 || got["x-1"] != wire.CodeTooLarge || got["x-2"] != "" {
		t.Errorf("%v, %v", got, err)
	}
}
