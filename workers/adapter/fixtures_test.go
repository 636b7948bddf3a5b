package adapter

import (
	"bytes"
	"encoding/json"
	"flag"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/sluicehq/sluice/workers/sse"
)

var update = flag.Bool("update", false, "write the golden files anew; look at what changed")

// fixture is an answer of a provider in testdata/<adapter>: streamed in
// NAME.sse, whole in NAME.native.json, and what they become in NAME.chunks and
// NAME.answer.json. NAME.usage.json is its usage.
type fixture struct {
	codec  Codec
	path   string // without the ending
	stream []sse.Event
	native []byte
}

func (f fixture) request() Request {
	return Request{Endpoint: wire.ChatCompletions, Model: "upstream", Stream: true, ID: "job-1"}
}

// fixtures are those of every adapter that has some.
func fixtures(t testing.TB) map[string]fixture {
	t.Helper()
	out := map[string]fixture{}
	for _, name := range Names() {
		files, _ := filepath.Glob("testdata/" + name + "/*.sse")
		for _, file := range files {
			codec, _ := Lookup(name)
			f := fixture{codec: codec, path: strings.TrimSuffix(file, ".sse"), stream: eventsOf(t, read(t, file))}
			if b, err := os.ReadFile(f.path + ".native.json"); err == nil {
				f.native = b
			}
			out[name+"/"+filepath.Base(f.path)] = f
		}
	}
	if len(out) < 4 {
		t.Fatalf("only %d fixtures", len(out))
	}
	return out
}

func read(t testing.TB, file string) []byte {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func eventsOf(t testing.TB, transcript []byte) (out []sse.Event) {
	t.Helper()
	r := sse.NewReader(bytes.NewReader(transcript), 0)
	for {
		ev, err := r.Next()
		if err == io.EOF {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, ev)
	}
}

// golden compares with a golden file, or writes it.
func golden(t *testing.T, file string, got []byte) {
	t.Helper()
	got = append(bytes.TrimSpace(got), '\n')
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if want := read(t, file); !bytes.Equal(got, want) {
		t.Errorf("%s: got\n%s\nwant\n%s", file, got, want)
	}
}

// played is what came of a stream.
type played struct {
	s      Stream
	chunks [][]byte
	last   bool
	f      *Failure
}

// playEvents gives events to a stream as the engine does; closed says that
// the connection then ends cleanly.
func playEvents(c Codec, r Request, events []sse.Event, closed bool) played {
	p := played{s: c.Stream(r)}
	for _, ev := range events {
		step, f := p.s.Event(ev.Name, ev.Data)
		if p.f = f; f != nil {
			return p
		}
		if !step.Converted {
			step.Chunks = [][]byte{ev.Data}
		}
		p.chunks = append(p.chunks, step.Chunks...)
		if p.last = step.Last; p.last {
			return p
		}
	}
	if closed {
		step, ok := p.s.End()
		p.chunks, p.last = append(p.chunks, step.Chunks...), ok
	}
	return p
}

// TestFixtures compares what each fixture becomes with the golden files, and
// the streamed answer with the whole one.
func TestFixtures(t *testing.T) {
	for name, f := range fixtures(t) {
		t.Run(name, func(t *testing.T) {
			p := playEvents(f.codec, f.request(), f.stream, true)
			if p.f != nil || !p.last {
				t.Fatalf("last %v, %+v", p.last, p.f)
			}
			golden(t, f.path+".chunks", bytes.Join(p.chunks, []byte("\n")))
			golden(t, f.path+".answer.json", p.s.Answer())
			sum := p.s.Sum()
			usage, _ := json.Marshal(sum.Usage)
			golden(t, f.path+".usage.json", usage)
			if !sum.Reported {
				t.Error("the usage was not reported")
			}
			checkChunks(t, p.chunks, p.s.Answer(), sum.Usage)
			whole, a, fail := f.codec.Decode(f.request(), f.native)
			if fail != nil || a.Usage != sum.Usage || !a.Reported {
				t.Fatalf("whole: %+v, usage %+v, want %+v", fail, a.Usage, sum.Usage)
			}
			if got, want := withArguments(t, whole), withArguments(t, p.s.Answer()); !reflect.DeepEqual(got, want) {
				t.Errorf("whole and streamed answers differ:\n%s\n%s", whole, p.s.Answer())
			}
		})
	}
}

// withArguments decodes an answer with the arguments of its calls decoded too,
// since a whole answer and a stream may have other spaces in them.
func withArguments(t *testing.T, answer []byte) any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal(answer, &v); err != nil {
		t.Fatalf("%v in %s", err, answer)
	}
	choices, _ := v["choices"].([]any)
	for _, c := range choices {
		calls, _ := c.(map[string]any)["message"].(map[string]any)["tool_calls"].([]any)
		for _, call := range calls {
			fn := call.(map[string]any)["function"].(map[string]any)
			var args any
			if err := json.Unmarshal([]byte(fn["arguments"].(string)), &args); err != nil {
				t.Errorf("arguments %s: %v", fn["arguments"], err)
			}
			fn["arguments"] = args
		}
	}
	return v
}

// checkChunks is what every client relies on: the role first, one finish
// reason a choice, the usage last, then the marker; and the OpenAI codec makes
// the same of the chunks.
func checkChunks(t *testing.T, chunks [][]byte, answer []byte, usage wire.Usage) {
	t.Helper()
	type chunk struct {
		ID, Object, Model string
		Choices           []struct {
			Index  int
			Delta  map[string]any
			Finish *string `json:"finish_reason"`
		}
		Usage json.RawMessage
	}
	again := openAI{}.Stream(Request{Endpoint: wire.ChatCompletions})
	finished := map[int]int{}
	roles := map[int]bool{}
	for i, raw := range chunks {
		step, f := again.Event("", raw)
		if f != nil || step.Last != (i == len(chunks)-1) {
			t.Fatalf("chunk %d of %d: %+v %+v: %s", i, len(chunks), step, f, raw)
		}
		if step.Last {
			break
		}
		var c chunk
		if err := json.Unmarshal(raw, &c); err != nil || c.Object != "chat.completion.chunk" || c.ID == "" || c.Model == "" {
			t.Errorf("%v: %s", err, raw)
		}
		if isUsage := i == len(chunks)-2; isUsage != (c.Usage != nil) || isUsage != (len(c.Choices) == 0) {
			t.Errorf("chunk %d of %d: %s", i, len(chunks), raw)
		}
		for _, ch := range c.Choices {
			if role := ch.Delta["role"] == "assistant"; role == roles[ch.Index] {
				t.Errorf("chunk %d: the role, again or not at all: %s", i, raw)
			}
			roles[ch.Index] = true
			if ch.Finish != nil {
				finished[ch.Index]++
			} else if finished[ch.Index] > 0 {
				t.Errorf("chunk %d comes after the finish reason: %s", i, raw)
			}
		}
	}
	for i := range roles {
		if finished[i] != 1 {
			t.Errorf("choice %d has %d finish reasons", i, finished[i])
		}
	}
	if got := again.Answer(); !bytes.Equal(got, answer) {
		t.Errorf("the OpenAI codec makes of the chunks\n%s\nnot\n%s", got, answer)
	}
	if got := again.Sum(); got.Usage != usage {
		t.Errorf("the chunks say %+v, the provider %+v", got.Usage, usage)
	}
}

// TestI3FixturesCut drops events from the end of each fixture: the rest is
// never a whole answer.
func TestI3FixturesCut(t *testing.T) {
	for name, f := range fixtures(t) {
		whole := len(playEvents(f.codec, f.request(), f.stream, true).chunks)
		for n := range len(f.stream) - 1 {
			p := playEvents(f.codec, f.request(), f.stream[:n], true)
			if p.f != nil {
				t.Errorf("%s: the first %d events: %+v", name, n, p.f)
			}
			if p.last && len(p.chunks) < whole-1 { // all but the usage
				t.Errorf("%s: the first %d of %d events pass as a whole answer", name, n, len(f.stream))
			}
			if sum := p.s.Sum(); !p.last && sum.Reported && n < len(f.stream)-2 {
				t.Errorf("%s: the first %d events already have the usage %+v", name, n, sum.Usage)
			}
		}
	}
}

// TestFixturesGarbled cuts each event, changes bytes and leaves events out or
// repeats them: what comes of it is a failure, or chunks that are sound.
func TestFixturesGarbled(t *testing.T) {
	for name, f := range fixtures(t) {
		for i, ev := range f.stream {
			for _, cut := range []int{0, 1, len(ev.Data) / 2, len(ev.Data) - 1} {
				events := append([]sse.Event{}, f.stream...)
				events[i].Data = ev.Data[:cut]
				p := playEvents(f.codec, f.request(), events, true)
				if p.f == nil || p.f.Err.Code != wire.CodeStreamGarbled || p.f.Verdict != RetryElsewhere {
					t.Errorf("%s: event %d cut to %d bytes: %+v", name, i, cut, p.f)
				}
			}
		}
		r := rand.New(rand.NewPCG(7, uint64(len(f.stream))))
		for range 300 {
			events := append([]sse.Event{}, f.stream...)
			for range 1 + r.IntN(3) {
				i := r.IntN(len(events))
				switch r.IntN(3) {
				case 0:
					data := bytes.Clone(events[i].Data)
					if len(data) > 0 {
						data[r.IntN(len(data))] = byte(r.IntN(256))
					}
					events[i].Data = data
				case 1:
					events[i] = events[r.IntN(len(events))]
				case 2:
					events[i], events[r.IntN(len(events))] = events[r.IntN(len(events))], events[i]
				}
			}
			soundAfterAll(t, playEvents(f.codec, f.request(), events, true))
		}
	}
}

func soundAfterAll(t testing.TB, p played) {
	t.Helper()
	for _, c := range p.chunks {
		if !json.Valid(c) && string(c) != doneMarker {
			t.Fatalf("an unsound chunk: %s", c)
		}
	}
	if p.last && !json.Valid(p.s.Answer()) {
		t.Fatalf("an unsound answer: %s", p.s.Answer())
	}
	u := p.s.Sum().Usage
	if min(u.Input, u.CacheRead, u.CacheWrite, u.Output, u.Reasoning) < 0 {
		t.Fatalf("usage below zero: %+v", u)
	}
}

// TestDecodeGarbled cuts whole answers anywhere.
func TestDecodeGarbled(t *testing.T) {
	for name, f := range fixtures(t) {
		body := bytes.TrimSpace(f.native)
		for n := range len(body) {
			if _, _, fail := f.codec.Decode(f.request(), body[:n]); fail == nil || fail.Verdict != RetryElsewhere {
				t.Errorf("%s: the first %d bytes pass: %+v", name, n, fail)
			}
		}
	}
}

// TestEncodeFixtures encodes testdata/<adapter>/*.request.json.
func TestEncodeFixtures(t *testing.T) {
	for _, name := range Names() {
		codec, _ := Lookup(name)
		files, _ := filepath.Glob("testdata/" + name + "/*.request.json")
		for _, file := range files {
			in := read(t, file)
			before := bytes.Clone(in)
			for _, stream := range []bool{false, true} {
				enc, f := codec.Encode(Request{Endpoint: wire.ChatCompletions, Body: in, Model: "up", Stream: stream})
				if f != nil {
					t.Errorf("%s: %+v", file, f.Err)
					break
				}
				if enc.Stream != stream || !bytes.Equal(in, before) {
					t.Errorf("%s: stream %v, the body was changed: %v", file, enc.Stream, !bytes.Equal(in, before))
				}
				var b bytes.Buffer
				b.WriteString(enc.Method + " " + enc.Path + "\n")
				if err := json.Indent(&b, enc.Body, "", " "); err != nil {
					t.Errorf("%s: %v", file, err)
				}
				golden(t, strings.TrimSuffix(file, ".request.json")+map[bool]string{false: ".encoded", true: ".streamed"}[stream], b.Bytes())
			}
		}
	}
}
