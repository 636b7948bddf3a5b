package path

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/sluicehq/sluice/sdk/wire"
)

// chunk is a message on a job's chunks subject.
type chunk struct {
	attempt, index int
	end            bool
	data           string
	at             time.Time
}

// chunks reads what the stream holds of a job's chunks.
func (r *rig) chunks(job string) []chunk {
	r.t.Helper()
	s, err := r.js.Stream(r.t.Context(), r.subj.Stream(wire.StreamChunks))
	if err != nil {
		r.t.Fatal(err)
	}
	var out []chunk
	for seq := uint64(1); ; {
		m, err := s.GetMsg(r.t.Context(), seq, jetstream.WithGetMsgSubject(r.subj.Chunks("acme", job)))
		if err != nil {
			return out
		}
		out = append(out, r.chunk(m.Header, m.Data, m.Time)...)
		seq = m.Sequence + 1
	}
}

// chunk is the chunks of one message.
func (r *rig) chunk(h nats.Header, data []byte, at time.Time) (out []chunk) {
	r.t.Helper()
	attempt, err1 := strconv.Atoi(h.Get("Sluice-Attempt"))
	index, err2 := strconv.Atoi(h.Get("Sluice-Index"))
	events, ok := wire.UnpackEvents(h.Get("Sluice-Sizes"), data)
	if err1 != nil || err2 != nil || !ok {
		r.t.Errorf("chunk with headers %v", h)
	}
	for i, e := range events {
		end := i == len(events)-1 && h.Get("Sluice-End") == "true"
		out = append(out, chunk{attempt, index + i, end, string(e), at})
	}
	return out
}

// checkChunks checks the contract of section 2: from 0, no gap, no repeat
// within an attempt, the end once and last.
func checkChunks(t *testing.T, chunks []chunk, attempts int) {
	t.Helper()
	next, ended := map[int]int{}, map[int]bool{}
	last := 1
	for _, c := range chunks {
		if c.attempt < last {
			t.Errorf("chunk %d of attempt %d comes after attempt %d", c.index, c.attempt, last)
		}
		last = c.attempt
		if c.index != next[c.attempt] {
			t.Errorf("attempt %d: chunk %d, want %d", c.attempt, c.index, next[c.attempt])
		}
		next[c.attempt] = c.index + 1
		if ended[c.attempt] {
			t.Errorf("attempt %d: chunk %d after the end", c.attempt, c.index)
		}
		ended[c.attempt] = c.end
	}
	for n := 1; n <= attempts; n++ {
		if !ended[n] {
			t.Errorf("attempt %d has no end", n)
		}
	}
}

func TestStream(t *testing.T) {
	for name, how := range map[string]struct{ body, header string }{
		"by header": {chat, "true"},
		"by body":   {strings.Replace(chat, "{", `{"stream":true,`, 1), ""},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, dir string) {
				p := always(reply{events: words("one ", "two"), every: time.Second})
				r := start(t, setup{dir: dir, pools: []pool{{name: "a", provider: p}}})
				var live []chunk
				if _, err := r.nc.Subscribe(r.subj.Chunks("acme", "*"), func(m *nats.Msg) {
					live = append(live, r.chunk(m.Header, m.Data, time.Now())...)
				}); err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				id := r.publish(how.body, wire.HeaderStream, how.header)
				res := r.result(id)
				if !strings.Contains(p.seen()[0].Body, `"include_usage":true`) {
					t.Errorf("request to the provider: %s", p.seen()[0].Body)
				}
				if res.Status != wire.Succeeded || nano(res.Entry.Attempt.Cost) != "16000" || res.Entry.Attempt.Source != wire.UsageFromProvider {
					t.Fatalf("%s, attempt %+v", res.Status, res.Entry.Attempt)
				}
				var body struct {
					Object  string
					Choices []struct{ Message struct{ Content string } }
				}
				if err := json.Unmarshal(res.Body, &body); err != nil || body.Object != "chat.completion" || len(body.Choices) != 1 || body.Choices[0].Message.Content != "one two" {
					t.Errorf("body of the record: %s", res.Body)
				}
				stored := r.chunks(id)
				checkChunks(t, stored, 1)
				if len(live) != len(stored) || len(stored) < 4 {
					t.Fatalf("%d chunks live, %d stored", len(live), len(stored))
				}
				if !strings.Contains(stored[0].data, `"one "`) {
					t.Errorf("first chunk %s", stored[0].data)
				}
				near(t, "first chunk", live[0].at.Sub(began), time.Second, 10*time.Millisecond)
				near(t, "second chunk", live[1].at.Sub(began), 2*time.Second, 10*time.Millisecond)
				near(t, "time to first token", time.Duration(res.Entry.Attempt.TTFTMS)*time.Millisecond, time.Second, 10*time.Millisecond)
				r.empty()
			})
		})
	}
}

// TestStreamBurst: events that come together go together, and none waits for the
// next burst. A job that takes packed chunks has them in few messages, any other
// one in each.
func TestStreamBurst(t *testing.T) {
	for _, c := range []struct {
		pack   string
		joined bool
		want   int
	}{
		{"", false, 10},
		{"", true, 10},
		{"true", false, 6}, // the first of a burst does not wait for those that are not read yet
		{"true", true, 4},
	} {
		pack, want := c.pack, c.want
		t.Run(fmt.Sprintf("pack %s joined %v", pack, c.joined), func(t *testing.T) {
			bubble(t, func(t *testing.T, dir string) {
				p := always(reply{events: words("a", "b", "c", "d", "e", "f", "g"), every: 10 * time.Second, burst: 3, joined: c.joined})
				r := start(t, setup{dir: dir, pools: []pool{{name: "a", provider: p}}})
				var live []chunk
				messages := 0
				if _, err := r.nc.Subscribe(r.subj.Chunks("acme", "*"), func(m *nats.Msg) {
					messages++
					live = append(live, r.chunk(m.Header, m.Data, time.Now())...)
				}); err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				id := r.publish(chat, wire.HeaderStream, "true", wire.HeaderPack, pack)
				if res := r.result(id); res.Status != wire.Succeeded || !bytes.Contains(res.Body, []byte("abcdefg")) {
					t.Fatalf("%s: %s", res.Status, res.Body)
				}
				checkChunks(t, live, 1)
				checkChunks(t, r.chunks(id), 1)
				if len(live) != 10 || !strings.Contains(live[6].data, `"g"`) || live[9].data != "[DONE]" || messages != want {
					t.Fatalf("%d chunks in %d messages, want %d: %+v", len(live), messages, want, live)
				}
				for i, c := range live[:9] {
					near(t, "chunk "+strconv.Itoa(i), c.at.Sub(began), time.Duration(i/3+1)*10*time.Second, 10*time.Millisecond)
				}
				r.empty()
			})
		})
	}
}

// TestCutBurst: what a provider sent before its stream broke off is there.
func TestCutBurst(t *testing.T) {
	for _, pack := range []string{"false", "true"} {
		t.Run("pack "+pack, func(t *testing.T) {
			bubble(t, func(t *testing.T, dir string) {
				p := &script{reply: func(n int, _ string) reply {
					if n == 1 {
						return reply{events: words("one ", "two ", "three ")[:3], cut: true}
					}
					return reply{events: words("uno ", "dos")}
				}}
				r := start(t, setup{dir: dir, pools: []pool{{name: "a", provider: p}}})
				id := r.publish(chat, wire.HeaderStream, "true", wire.HeaderPack, pack)
				if res := r.result(id); res.Status != wire.Succeeded || res.Entry.Attempt.N != 2 {
					t.Fatalf("%s by %+v", res.Status, res.Entry.Attempt)
				}
				stored := r.chunks(id)
				checkChunks(t, stored, 2)
				if len(stored) != 4+5 || !strings.Contains(stored[2].data, "three") || !strings.Contains(stored[3].data, "stream_truncated") {
					t.Errorf("chunks %+v", stored)
				}
			})
		})
	}
}

// TestPackedStreamIsBounded: a slow reader holds messages, so none of several
// events is large; and every event is there.
func TestPackedStreamIsBounded(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		list := make([]string, 300)
		for i := range list {
			list[i] = strings.Repeat("x", 1+i%7*200+i/299*20_000)
		}
		p := always(reply{events: words(list...)})
		r := start(t, setup{dir: dir, pools: []pool{{name: "a", provider: p}}})
		packed := 0
		if _, err := r.nc.Subscribe(r.subj.Chunks("acme", "*"), func(m *nats.Msg) {
			n := wire.PackedEvents(m.Header.Get(wire.HeaderSizes))
			if n > 1 {
				packed++
			}
			if n > 64 || n > 1 && len(m.Data) > 8<<10 {
				t.Errorf("%d bytes of %d events", len(m.Data), n)
			}
		}); err != nil {
			t.Fatal(err)
		}
		id := r.publish(chat, wire.HeaderStream, "true", wire.HeaderPack, "true")
		if res := r.result(id); res.Status != wire.Succeeded {
			t.Fatalf("%s: %s", res.Status, res.Body)
		}
		stored := r.chunks(id)
		checkChunks(t, stored, 1)
		if len(stored) != len(list)+3 || packed < 10 {
			t.Errorf("%d chunks, %d messages of several", len(stored), packed)
		}
	})
}

// TestStreamNotAskedFor: without the wish there are no chunks.
func TestStreamNotAskedFor(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		r := start(t, setup{dir: dir, pools: []pool{{name: "a", provider: &script{}}}})
		id := r.publish(chat)
		r.result(id)
		if c := r.chunks(id); len(c) != 0 {
			t.Errorf("chunks %+v", c)
		}
	})
}

// TestCutStream: a stream without its finish is retried; readers see the end
// of the first attempt, then the second from index 0.
func TestCutStream(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		cut := always(reply{events: words("one ", "two ", "three ")[:3], every: time.Second, cut: true})
		good := always(reply{events: words("uno ", "dos"), every: time.Second})
		r := start(t, setup{dir: dir, pools: []pool{{name: "a", weight: 1000, provider: cut}, {name: "b", provider: good}}})
		id := r.publish(chat, wire.HeaderStream, "true")
		res := r.result(id)
		if res.Status != wire.Succeeded || res.Entry.Attempt.N != 2 || !bytes.Contains(res.Body, []byte("uno dos")) || bytes.Contains(res.Body, []byte("three")) {
			t.Fatalf("%s by %+v: %s", res.Status, res.Entry.Attempt, res.Body)
		}
		checkChunks(t, r.chunks(id), 2)
		failed := r.history(id)[1].Entry.Attempt
		if failed.ErrorCode != wire.CodeStreamTruncated || failed.Source != wire.UsageEstimated || failed.Usage.Output < 1 || *failed.Cost == 0 {
			t.Errorf("cut attempt: %+v", failed)
		}
		if spent := res.Entry.Progress.Spent; spent != *failed.Cost+*res.Entry.Attempt.Cost {
			t.Errorf("spent %d, want the sum of both", spent)
		}
		r.empty()
	})
}

// TestChunksStayReadable: at least 10 minutes after the end, from any index.
func TestChunksStayReadable(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		p := always(reply{events: words("one ", "two")})
		r := start(t, setup{dir: dir, pools: []pool{{name: "a", provider: p}}})
		id := r.publish(chat, wire.HeaderStream, "true")
		r.result(id)
		time.Sleep(11 * time.Minute)
		checkChunks(t, r.chunks(id), 1)
	})
}
