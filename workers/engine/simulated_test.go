package engine_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/sluicehq/sluice/workers/engine"
	"github.com/sluicehq/sluice/workers/simulated"
)

// simulate is an endpoint on a simulated provider.
func simulate(t testing.TB, cfg simulated.Config) *engine.Endpoint {
	t.Helper()
	p, err := simulated.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	e, err := engine.New(engine.Config{Pool: "sim", Adapter: "simulated", Transport: p})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e
}

func chatCall(body string) *engine.Call {
	return &engine.Call{
		Meta:  &wire.Meta{ID: "job1", Tenant: "acme", Endpoint: wire.ChatCompletions, BodyBytes: len(body)},
		Model: "sim-1", Attempt: 1, Body: []byte(body),
	}
}

const hello = `{"model":"chat","messages":[{"role":"user","content":"Say hello to the world"}]}`

// TestStreamedEqualsWhole asks for the same answer both ways.
func TestStreamedEqualsWhole(t *testing.T) {
	e := simulate(t, simulated.Config{Seed: 7, CacheShare: 0.5, ReasoningShare: 0.25})
	for _, ep := range []wire.Endpoint{wire.ChatCompletions, wire.Completions, wire.Responses} {
		whole := chatCall(bodies[ep])
		whole.Meta.Endpoint = ep
		a := e.Do(context.Background(), whole)
		streamed := chatCall(bodies[ep])
		streamed.Meta.Endpoint = ep
		var chunks []string
		streamed.Emit = func(events [][]byte, last bool) error {
			for i, ev := range events {
				chunks = append(chunks, string(ev))
				if ends := last && i == len(events)-1; ends != (ev[0] == '[' || strings.Contains(string(ev), "response.completed")) {
					t.Errorf("%s: last is %v for %s", ep, ends, ev)
				}
			}
			return nil
		}
		b := e.Do(context.Background(), streamed)
		if a.Status != wire.Succeeded || b.Status != wire.Succeeded {
			t.Fatalf("%s: %v, %v", ep, a.Err, b.Err)
		}
		if a.Usage != b.Usage || a.Source != wire.UsageFromProvider || b.Source != wire.UsageFromProvider {
			t.Errorf("%s: usage %+v whole, %+v streamed", ep, a.Usage, b.Usage)
		}
		if x, y := canonical(t, a.Body), canonical(t, b.Body); x != y {
			t.Errorf("%s: whole\n%s\nstreamed\n%s", ep, x, y)
		}
		if int64(len(chunks)) < a.Usage.Output {
			t.Errorf("%s: %d chunks for %d tokens", ep, len(chunks), a.Usage.Output)
		}
	}
}

var bodies = map[wire.Endpoint]string{
	wire.ChatCompletions: hello,
	wire.Completions:     `{"model":"chat","prompt":"Say hello to the world"}`,
	wire.Responses:       `{"model":"chat","input":"Say hello to the world"}`,
	wire.Messages:        `{"model":"chat","max_tokens":9,"messages":[{"role":"user","content":"Say hello to the world"}]}`,
	wire.Embeddings:      `{"model":"chat","input":["hello world","again"],"dimensions":4}`,
}

func canonical(t testing.TB, b []byte) string {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatalf("%v in %s", err, b)
	}
	out, _ := json.MarshalIndent(v, "", " ")
	return string(out)
}

func BenchmarkWhole1KiB(b *testing.B)    { benchmark(b, false) }
func BenchmarkStreamed1KiB(b *testing.B) { benchmark(b, true) }

func benchmark(b *testing.B, stream bool) {
	e := simulate(b, simulated.Config{})
	c := chatCall(`{"model":"chat","max_tokens":16,"messages":[{"role":"user","content":"` + strings.Repeat("lorem ipsum ", 80) + `"}]}`)
	if stream {
		c.Emit = func([][]byte, bool) error { return nil }
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	b.ReportAllocs()
	for b.Loop() {
		if o := e.Do(ctx, c); o.Status != wire.Succeeded {
			b.Fatal(o.Err)
		}
	}
}
