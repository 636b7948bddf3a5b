package control

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/sluicehq/sluice/broker/natsd/natstest"
	"github.com/sluicehq/sluice/broker/topology"
	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
)

// bench is a server with Sluice's streams and a running Service.
type bench struct {
	t  *testing.T
	nc *nats.Conn
	js jetstream.JetStream
	s  wire.Subjects
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, js: natstest.JetStream(t, t.TempDir())}
	b.nc = b.js.Conn()
	if err := topology.Ensure(t.Context(), b.js, topology.Config{Subjects: b.s}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- New(Config{JS: b.js, Subjects: b.s, Ledger: ledger.New(b.js, b.s), Logger: slog.New(slog.DiscardHandler)}).Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	for b.nc.NumSubscriptions() < 4 {
		time.Sleep(time.Millisecond)
	}
	return b
}

func (b *bench) store(subject string, size int, headers ...string) {
	b.t.Helper()
	h := nats.Header{}
	for i := 0; i < len(headers); i += 2 {
		h[headers[i]] = []string{headers[i+1]}
	}
	if _, err := b.js.PublishMsg(b.t.Context(), &nats.Msg{Subject: subject, Header: h, Data: make([]byte, size)}); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) chunk(job string, attempt, index, size int) {
	b.store(b.s.Chunks("acme", job), size, wire.HeaderAttempt, strconv.Itoa(attempt), wire.HeaderIndex, strconv.Itoa(index))
}

// ask asks once, and gives the answer as "attempt.index" of each message.
func (b *bench) ask(subject, body string) (string, wire.ReplayEnd) {
	b.t.Helper()
	inbox := b.nc.NewInbox()
	sub, err := b.nc.SubscribeSync(inbox)
	if err != nil {
		b.t.Fatal(err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := b.nc.PublishRequest(subject, inbox, []byte(body)); err != nil {
		b.t.Fatal(err)
	}
	var got []string
	for {
		m, err := sub.NextMsg(5 * time.Second)
		if err != nil {
			b.t.Fatal(err)
		}
		for k := range m.Header {
			if !strings.HasPrefix(k, "Sluice-") {
				b.t.Errorf("a header of the server's: %s", k)
			}
		}
		more := m.Header.Get("Sluice-More")
		if more == "" {
			one := m.Header.Get(wire.HeaderStatus) + m.Header.Get(wire.HeaderAttempt) + "." + m.Header.Get(wire.HeaderIndex)
			if n := wire.PackedEvents(m.Header.Get(wire.HeaderSizes)); n > 1 {
				one += "+" + strconv.Itoa(n)
			}
			if m.Header.Get(wire.HeaderEnd) != "" {
				one += "$"
			}
			got = append(got, one)
			continue
		}
		var end wire.ReplayEnd
		if err := json.Unmarshal(m.Data, &end); err != nil || more != strconv.FormatBool(end.More) || end.Error == nil && end.Messages != len(got) {
			b.t.Errorf("%d messages, then %s, More: %s, %v", len(got), m.Data, more, err)
		}
		return strings.Join(got, " "), end
	}
}

func TestReplayFromAPlace(t *testing.T) {
	b := newBench(t)
	for i := range 3 {
		b.chunk("j", 1, i, 1)
		b.chunk("other", 1, i, 1)
	}
	b.chunk("j", 2, 0, 1)
	b.chunk("j", 1, 3, 1) // of a worker that lost its job
	b.chunk("j", 2, 1, 1)
	b.store(b.s.Chunks("acme", "j"), 1, "Sluice-Attempt", "x")
	for body, want := range map[string]string{
		"":                                   "1.0 1.1 1.2 2.0 1.3 2.1",
		"{}":                                 "1.0 1.1 1.2 2.0 1.3 2.1",
		`{"attempt":1,"index":1}`:            "1.1 1.2 2.0 1.3 2.1",
		`{"attempt":2}`:                      "2.0 2.1",
		`{"attempt":2,"index":9}`:            "",
		`{"attempt":1,"after":6}`:            "2.0 1.3 2.1",
		`{"after":18446744073709551615}`:     "",
		`{"of":"chunks","after":1000000000}`: "",
	} {
		got, end := b.ask(b.s.Replay("acme", "j"), body)
		if got != want || end.More || end.Error != nil {
			t.Errorf("%s gives %q, %+v; want %q", body, got, end, want)
		}
	}
	if got, end := b.ask(b.s.Replay("other", "j"), ""); got != "" || end.Error != nil || end.More {
		t.Errorf("another tenant's job of the same name: %q, %+v", got, end)
	}
}

// Chunks that are stored together are given one by one, unless the reader knows
// how to part them.
func TestReplayOfPackedChunks(t *testing.T) {
	b := newBench(t)
	pack := func(index int, sizes string, more ...string) {
		b.store(b.s.Chunks("acme", "j"), 6, append(more, wire.HeaderAttempt, "1", wire.HeaderIndex, strconv.Itoa(index), wire.HeaderSizes, sizes)...)
	}
	pack(0, "1 2 3")
	b.chunk("j", 1, 3, 6)
	pack(4, "2 4", wire.HeaderEnd, "true")
	pack(6, "2 5") // not its size: nobody's chunk
	b.chunk("j", 2, 0, 1)
	for body, want := range map[string]string{
		"":                                      "1.0 1.1 1.2 1.3 1.4 1.5$ 2.0",
		`{"attempt":1,"index":2}`:               "1.2 1.3 1.4 1.5$ 2.0",
		`{"attempt":1,"index":5}`:               "1.5$ 2.0",
		`{"attempt":2}`:                         "2.0",
		`{"after":1}`:                           "1.3 1.4 1.5$ 2.0",
		`{"packed":true,"attempt":1,"index":2}`: "1.0+3 1.3 1.4+2$ 1.6+2 2.0",
		`{"packed":true,"attempt":1,"index":3}`: "1.3 1.4+2$ 1.6+2 2.0",
	} {
		got, end := b.ask(b.s.Replay("acme", "j"), body)
		if got != want || end.More || end.Error != nil {
			t.Errorf("%s gives %q, %+v; want %q", body, got, end, want)
		}
	}
	got, end := b.ask(b.s.Replay("acme", "j"), `{"most":2}`)
	rest, last := b.ask(b.s.Replay("acme", "j"), fmt.Sprintf(`{"after":%d}`, end.Seq))
	if got != "1.0 1.1 1.2" || !end.More || rest != "1.3 1.4 1.5$ 2.0" || last.More {
		t.Errorf("two at most: %q, %+v, then %q, %+v", got, end, rest, last)
	}
}

func TestReplayRecords(t *testing.T) {
	b := newBench(t)
	for _, status := range []string{"running", "waiting", "succeeded"} {
		b.store(b.s.Ledger("acme", "j"), 3, wire.HeaderStatus, status)
	}
	b.store(b.s.Ledger("acme", "other"), 3, wire.HeaderStatus, "running")
	got, end := b.ask(b.s.Replay("acme", "j"), `{"of":"records"}`)
	if got != "running. waiting. succeeded." || end.Seq != 3 || end.More {
		t.Errorf("%q, %+v", got, end)
	}
	if got, _ := b.ask(b.s.Replay("acme", "j"), `{"of":"records","after":2}`); got != "succeeded." {
		t.Errorf("behind the second: %q", got)
	}
}

// An answer is bounded in messages and bytes, and the next goes on behind it.
func TestReplayIsBounded(t *testing.T) {
	for name, tc := range map[string]struct{ chunks, size, answers int }{
		"messages":           {2*replayMost + 1, 1, 3},
		"exactly":            {replayMost, 1, 1},
		"bytes":              {40, replayBytes / 16, 3},
		"one is above bound": {3, replayBytes + 1, 3},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			for i := range tc.chunks {
				b.chunk("j", 1, i, tc.size)
				if i%2 == 0 {
					b.chunk("other", 1, i, 1)
				}
			}
			n, answers := 0, 0
			for end := (wire.ReplayEnd{More: true}); end.More; answers++ {
				var got string
				got, end = b.ask(b.s.Replay("acme", "j"), fmt.Sprintf(`{"after":%d}`, end.Seq))
				for _, chunk := range strings.Fields(got) {
					if want := fmt.Sprintf("1.%d", n); chunk != want {
						t.Fatalf("chunk %s, want %s", chunk, want)
					}
					n++
				}
				if end.Messages == 0 && end.More || end.Messages > replayMost {
					t.Fatalf("answer %d: %+v", answers, end)
				}
			}
			if n != tc.chunks || answers != tc.answers {
				t.Errorf("%d of %d chunks in %d answers, want %d", n, tc.chunks, answers, tc.answers)
			}
		})
	}
}

// What does not match is read over without an answer for each page of it.
func TestReplayReadsOver(t *testing.T) {
	b := newBench(t)
	const n = 3*replayMost + 5
	for i := range n {
		b.chunk("j", 1, i, 1)
	}
	if got, end := b.ask(b.s.Replay("acme", "j"), fmt.Sprintf(`{"attempt":1,"index":%d}`, n-1)); got != fmt.Sprintf("1.%d", n-1) || end.More {
		t.Errorf("%q, %+v", got, end)
	}
}

func TestReplayRefused(t *testing.T) {
	b := newBench(t)
	for _, tc := range []struct {
		subject, body string
		code          wire.Code
	}{
		{"sluice.replay.acme.j", "[]", wire.CodeInvalidJSON},
		{"sluice.replay.acme.j", "{", wire.CodeInvalidJSON},
		{"sluice.replay.acme.j", `{"attempt":-1}`, wire.CodeInvalidRequest},
		{"sluice.replay.acme.j", `{"index":-1}`, wire.CodeInvalidRequest},
		{"sluice.replay.acme.j", `{"of":"jobs"}`, wire.CodeInvalidRequest},
		{"sluice.replay.ac=me.j", "", wire.CodeInvalidSubject},
		{"sluice.replay.acme." + strings.Repeat("j", 65), "", wire.CodeInvalidSubject},
	} {
		if got, end := b.ask(tc.subject, tc.body); end.Error == nil || end.Error.Code != tc.code || got != "" {
			t.Errorf("%s %s: %q, %+v", tc.subject, tc.body, got, end)
		}
	}
	if err := b.js.DeleteStream(t.Context(), b.s.Stream(wire.StreamChunks)); err != nil {
		t.Fatal(err)
	}
	if _, end := b.ask("sluice.replay.acme.j", ""); end.Error == nil || end.Error.Code != wire.CodeUnavailable {
		t.Errorf("without the stream: %+v", end)
	}
}
