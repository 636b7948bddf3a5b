package simulated_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"

	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/sluicehq/sluice/workers/simulated"
)

const question = `{"model":"sim-1","max_tokens":5,"messages":[{"role":"user","content":"How does water flow?"}]}`

// A provider inside the process: no socket, no time.
func ExampleProvider_RoundTrip() {
	p, err := simulated.New(simulated.Config{Seed: 1})
	if err != nil {
		fmt.Println(err)
		return
	}
	client := http.Client{Transport: p}
	resp, err := client.Post("http://sim.invalid/v1/chat/completions", "application/json", strings.NewReader(question))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = resp.Body.Close() }()
	var answer struct {
		Usage struct {
			Prompt     int `json:"prompt_tokens"`
			Completion int `json:"completion_tokens"`
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		fmt.Println(err)
	}
	fmt.Println(resp.StatusCode, answer.Usage.Prompt, answer.Usage.Completion)
	// Output: 200 7 5
}

// The same provider behind a real socket, for tests of other programs.
func ExampleProvider_ServeHTTP() {
	p, err := simulated.New(simulated.Config{ErrorShare: 1, Faults: []simulated.Fault{simulated.RateLimit}})
	if err != nil {
		fmt.Println(err)
		return
	}
	srv := httptest.NewServer(p)
	defer srv.Close()
	resp, err := http.Post(srv.URL+"/v1/chat/completions", "application/json", strings.NewReader(question))
	if err != nil {
		fmt.Println(err)
		return
	}
	_ = resp.Body.Close()
	fmt.Println(resp.StatusCode, resp.Header.Get("Retry-After"))
	// Output: 429 1
}

// What the provider says it has earned.
func ExampleReadBooks() {
	dir, err := os.MkdirTemp("", "books")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = os.RemoveAll(dir) }()
	path := filepath.Join(dir, "books")
	books, err := simulated.OpenBooks(path)
	if err != nil {
		fmt.Println(err)
		return
	}
	p, err := simulated.New(simulated.Config{Books: books, Fill: true,
		Prices: map[string]wire.Price{"sim-1": {Input: 150_000, Output: 600_000}}})
	if err != nil {
		fmt.Println(err)
		return
	}
	req, err := http.NewRequest("POST", "http://sim.invalid/v1/chat/completions", strings.NewReader(question))
	if err != nil {
		fmt.Println(err)
		return
	}
	req.Header.Set("Idempotency-Key", "acme-job1-1")
	resp, err := p.RoundTrip(req)
	if err != nil {
		fmt.Println(err)
		return
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = books.Close()
	lines, torn, err := simulated.ReadBooks(path)
	fmt.Println(len(lines), torn, err)
	fmt.Println(lines[0].Key, lines[0].Outcome, lines[0].Input, lines[0].Output, simulated.Total(lines), "nano-dollars")
	// Output:
	// 1 0 <nil>
	// acme-job1-1 ok 7 5 4050 nano-dollars
}
