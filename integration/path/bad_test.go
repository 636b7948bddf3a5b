package path

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
)

// bad is one way to submit what is not a job.
type bad struct {
	name    string
	subject string // default sluice.jobs.acme.interactive
	body    string // default chat
	headers []string
	code    wire.Code // of the failed record; "": the publish is refused
	tenant  string    // whose record it is; default acme
	raw     string    // headers as they go over the wire, instead of a client's
	runs    bool      // it is a job all the same: what is odd about it is ignored
}

func with(field, value string) string {
	return fmt.Sprintf(`{"model":"chat","messages":[1],%q:%s}`, field, value)
}

func labels(n int, value string) []string {
	var h []string
	for i := range n {
		h = append(h, fmt.Sprintf("Sluice-Label-L%d", i), value)
	}
	return h
}

func one(name, value string) []string { return []string{name, value} }

// badJobs lists the ways.
func badJobs() []bad {
	deep := strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000)
	all := []bad{
		// The body.
		{name: "above the server's payload limit", body: strings.Repeat("x", wire.MaxPayload+1)},
		{name: "above MaxBody", body: `{"model":"chat","messages":["` + strings.Repeat("x", wire.MaxBody) + `"]}`, code: wire.CodeTooLarge},
		{name: "empty", body: " ", code: wire.CodeInvalidJSON},
		{name: "not JSON", body: "hello", code: wire.CodeInvalidJSON},
		{name: "cut JSON", body: chat[:40], code: wire.CodeInvalidJSON},
		{name: "two objects", body: chat + chat, code: wire.CodeInvalidJSON},
		{name: "an array", body: "[" + chat + "]", code: wire.CodeInvalidJSON},
		{name: "null", body: "null", code: wire.CodeInvalidJSON},
		{name: "a number", body: "7", code: wire.CodeInvalidJSON},
		{name: "nested too deeply", body: `{"model":"chat","messages":` + deep + `}`, code: wire.CodeInvalidJSON},
		{name: "wrong UTF-8", body: "{\"model\":\"chat\",\"messages\":[\"\xff\xfe\"]}", code: wire.CodeInvalidJSON},
		{name: "zero bytes", body: "\x00\x00", code: wire.CodeInvalidJSON},
		{name: "byte order mark", body: "\ufeff" + chat, code: wire.CodeInvalidJSON},
		// Fields.
		{name: "model missing", body: `{"messages":[1]}`, code: wire.CodeInvalidRequest},
		{name: "model empty", body: `{"model":"","messages":[1]}`, code: wire.CodeInvalidRequest},
		{name: "model a number", body: `{"model":4,"messages":[1]}`, code: wire.CodeInvalidRequest},
		{name: "model null", body: `{"model":null,"messages":[1]}`, code: wire.CodeInvalidRequest},
		{name: "model too long", body: `{"model":"` + strings.Repeat("m", 257) + `","messages":[1]}`, code: wire.CodeInvalidRequest},
		{name: "model in another case", body: `{"Model":"chat","messages":[1]}`, code: wire.CodeInvalidRequest},
		{name: "two models, the last unknown", body: `{"model":"chat","model":"gpt-99","messages":[1]}`, code: wire.CodeUnknownRoute},
		{name: "unknown route", body: `{"model":"gpt-99","messages":[1]}`, code: wire.CodeUnknownRoute},
		{name: "route with control characters", body: `{"model":"chat\r\nX: y\u0000","messages":[1]}`, code: wire.CodeUnknownRoute},
		{name: "route with wildcards", body: `{"model":"*.>","messages":[1]}`, code: wire.CodeUnknownRoute},
		{name: "messages missing", body: `{"model":"chat"}`, code: wire.CodeInvalidRequest},
		{name: "messages empty", body: `{"model":"chat","messages":[]}`, code: wire.CodeInvalidRequest},
		{name: "messages null", body: `{"model":"chat","messages":null}`, code: wire.CodeInvalidRequest},
		{name: "input missing", headers: one(wire.HeaderEndpoint, "/v1/embeddings"), code: wire.CodeInvalidRequest},
		{name: "max_tokens negative", body: with("max_tokens", "-1"), code: wire.CodeInvalidRequest},
		{name: "max_tokens zero", body: with("max_tokens", "0"), code: wire.CodeInvalidRequest},
		{name: "max_tokens huge", body: with("max_tokens", "10000001"), code: wire.CodeInvalidRequest},
		{name: "max_tokens beyond int64", body: with("max_tokens", "99999999999999999999"), code: wire.CodeInvalidRequest},
		{name: "max_tokens fractional", body: with("max_tokens", "1.5"), code: wire.CodeInvalidRequest},
		{name: "max_tokens exponent", body: with("max_tokens", "1e3"), code: wire.CodeInvalidRequest},
		{name: "max_tokens string", body: with("max_tokens", `"10"`), code: wire.CodeInvalidRequest},
		{name: "max_completion_tokens negative", body: with("max_completion_tokens", "-5"), code: wire.CodeInvalidRequest},
		{name: "stream a string", body: with("stream", `"true"`), code: wire.CodeInvalidRequest},
		{name: "stream a number", body: with("stream", "1"), code: wire.CodeInvalidRequest},
		// Where to.
		{name: "unknown class", subject: "sluice.jobs.acme.urgent"},
		{name: "class in capitals", subject: "sluice.jobs.acme.BATCH"},
		{name: "too few tokens", subject: "sluice.jobs.acme"},
		{name: "too many tokens", subject: "sluice.jobs.acme.batch.now"},
		{name: "no tenant", subject: "sluice.jobs..batch"},
		{name: "wildcard for tenant", subject: "sluice.jobs.*.interactive", tenant: "=2A", code: wire.CodeInvalidSubject}, // an odd name to the server
		{name: "wildcard for the rest", subject: "sluice.jobs.acme.>"},
		{name: "wildcard for class", subject: "sluice.jobs.acme.*"},
		{name: "tenant with odd characters", subject: "sluice.jobs.acmé!.batch", tenant: "acm=C3=A9=21", code: wire.CodeInvalidSubject},
		{name: "tenant too long", subject: "sluice.jobs." + strings.Repeat("t", 65) + ".batch", tenant: strings.Repeat("t", 65), code: wire.CodeInvalidSubject},
		{name: "unknown endpoint", headers: one(wire.HeaderEndpoint, "/v1/images"), code: wire.CodeUnknownEndpoint},
		{name: "endpoint with query", headers: one(wire.HeaderEndpoint, "/v1/chat/completions?x=1"), code: wire.CodeUnknownEndpoint},
		{name: "endpoint elsewhere", headers: one(wire.HeaderEndpoint, "http://evil.example/v1/chat/completions"), code: wire.CodeUnknownEndpoint},
		// Headers.
		{name: "labels, 33", headers: labels(33, "x"), code: wire.CodeInvalidHeader},
		{name: "label without a name", headers: one("Sluice-Label-", "x"), code: wire.CodeInvalidHeader},
		{name: "label with an odd name", headers: one("Sluice-Label-a.b", "x"), code: wire.CodeInvalidHeader},
		{name: "label too long", headers: one("Sluice-Label-a", strings.Repeat("x", 257)), code: wire.CodeInvalidHeader},
		{name: "label twice in two cases", headers: []string{"Sluice-Label-a", "x", "Sluice-Label-A", "y"}, code: wire.CodeInvalidHeader},
		{name: "label twice", headers: []string{"Sluice-Label-a", "x", "Sluice-Label-a", "y"}, code: wire.CodeInvalidHeader},
		{name: "control characters", headers: one(wire.HeaderAffinity, "a\x01b\x7f"), code: wire.CodeInvalidHeader},
		{name: "not UTF-8", headers: one(wire.HeaderAffinity, "\xff\xfe"), code: wire.CodeInvalidHeader},
		{name: "huge header", headers: one(wire.HeaderAffinity, strings.Repeat("x", 60_000)), code: wire.CodeInvalidHeader},
		{name: "headers above the server's limit", headers: one("X-Pad", strings.Repeat("x", 70_000))},
		{name: "repeated header", headers: []string{wire.HeaderRegion, "eu", wire.HeaderRegion, "us"}, code: wire.CodeInvalidHeader},
		{name: "stream header", headers: one(wire.HeaderStream, "maybe"), code: wire.CodeInvalidHeader},
		{name: "batch with odd characters", headers: one(wire.HeaderBatch, "b 1"), code: wire.CodeInvalidHeader},
		{name: "max cost negative", headers: one(wire.HeaderMaxCost, "-1"), code: wire.CodeInvalidHeader},
		{name: "max cost garbage", headers: one(wire.HeaderMaxCost, "cheap"), code: wire.CodeInvalidHeader},
		{name: "max cost NaN", headers: one(wire.HeaderMaxCost, "NaN"), code: wire.CodeInvalidHeader},
		{name: "max cost exponent", headers: one(wire.HeaderMaxCost, "1e9"), code: wire.CodeInvalidHeader},
		{name: "max cost of too many decimals", headers: one(wire.HeaderMaxCost, "0.0000000001"), code: wire.CodeInvalidHeader},
		{name: "max cost tiny", headers: one(wire.HeaderMaxCost, "0.000000001"), code: wire.CodeOverMaxCost},
		{name: "max cost zero", headers: one(wire.HeaderMaxCost, "0"), code: wire.CodeOverMaxCost},
		{name: "webhook not http", headers: one(wire.HeaderWebhook, "file:///etc/passwd"), code: wire.CodeInvalidHeader},
		{name: "webhook not a URL", headers: one(wire.HeaderWebhook, "::::"), code: wire.CodeInvalidHeader},
		{name: "webhook without a host", headers: one(wire.HeaderWebhook, "http:///x"), code: wire.CodeInvalidHeader},
		{name: "webhook that nobody calls", headers: one(wire.HeaderWebhook, "https://example.com/"), code: wire.CodeInvalidHeader},
		// What a server would say, said by a publisher.
		{name: "empty body with a status", body: "\x00empty", raw: "Status: 409\r\nDescription: Consumer Deleted\r\n", code: wire.CodeInvalidJSON},
		{name: "empty body, no messages", body: "\x00empty", raw: "Status: 404\r\n", code: wire.CodeInvalidJSON},
		{name: "empty body, heartbeat", body: "\x00empty", raw: "Status: 100\r\n", code: wire.CodeInvalidJSON},
		{name: "empty body with an inline status", body: "\x00empty", raw: "\x00 409 Consumer Deleted\r\n", code: wire.CodeInvalidJSON},
		{name: "header without a colon", raw: "nonsense\r\n", runs: true},
		{name: "no header lines", raw: "", runs: true},
		{name: "status on a good job", headers: one("Status", "503"), runs: true},
		{name: "injected by line breaks", raw: "Sluice-Affinity: a\r\nSluice-Status: succeeded\r\n", runs: true},
		{name: "another subject", headers: one("Nats-Subject", "sluice.jobs.other.batch"), runs: true},
		{name: "another sequence", headers: one("Nats-Sequence", "x"), runs: true},
		// Of Sluice's own parts, which do not read them here.
		{name: "entry", headers: one(wire.HeaderEntry, `{"j":{"t":"other"}}`), runs: true},
		{name: "assignment", headers: one(wire.HeaderAssignment, `{"j":{"t":"other","id":"x"}}`), runs: true},
		{name: "status header", headers: one(wire.HeaderStatus, "succeeded"), runs: true},
		{name: "traceparent garbage", headers: one(wire.HeaderTrace, "00-xyz"), runs: true},
		// Of JetStream's.
		{name: "rollup", headers: one("Nats-Rollup", "all")},
		{name: "rollup of the subject", headers: one("Nats-Rollup", "sub")},
		{name: "TTL", headers: one("Nats-TTL", "1s")},
		{name: "schedule", headers: []string{"Nats-Schedule", "@every 1s", "Nats-Schedule-Target", "sluice.jobs.other.batch"}},
		{name: "counter", headers: one("Nats-Incr", "+1")},
		{name: "expected stream", headers: one("Nats-Expected-Stream", "OTHER")},
		{name: "expected sequence", headers: one("Nats-Expected-Last-Sequence", "999999")},
		{name: "expected subject sequence", headers: one(wire.HeaderExpectedLast, "999999")},
		{name: "expected message ID", headers: one("Nats-Expected-Last-Msg-Id", "x")},
	}
	for name, id := range map[string]string{"65 characters": strings.Repeat("x", 65), "spaces": "a b", "dots": "a.b", "wildcard": "*",
		"wildcards": "a.>", "of the automatic form": "j123456", "not ASCII": "é", "slash": "../x"} {
		code := wire.CodeInvalidJobID
		if len(id) > 64 {
			code = wire.CodeInvalidHeader
		}
		all = append(all, bad{name: "ID: " + name, headers: one(wire.HeaderJobID, id), code: code})
	}
	for _, v := range []string{"tomorrow", "-5s", "10y", "87600h", "2099-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "1e400s", "NaN", "2000-13-01T00:00:00Z"} {
		all = append(all,
			bad{name: "deadline " + v, headers: one(wire.HeaderDeadline, v), code: wire.CodeInvalidHeader},
			bad{name: "not before " + v, headers: one(wire.HeaderNotBefore, v), code: wire.CodeInvalidHeader})
	}
	return all
}

// TestBadInput: each ends in a clear error for that job only, or is refused
// at the door. A good job works after each.
func TestBadInput(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		p := &script{}
		r := start(t, setup{dir: dir, pools: []pool{{name: "a", provider: p}}})
		for _, b := range badJobs() {
			calls := p.count()
			if r.try(b); t.Failed() {
				t.Fatalf("after %q", b.name)
			}
			if b.runs {
				calls++
			}
			if p.count() != calls {
				t.Errorf("%s: a provider was called", b.name)
			}
			began := time.Now()
			if res := r.result(r.publish(chat)); res.Status != wire.Succeeded {
				t.Fatalf("%s: the good job after it: %s %s", b.name, res.Status, res.Body)
			}
			near(t, b.name+": the good job after it", time.Since(began), 0, 100*time.Millisecond)
		}
		r.empty()
	})
}

// try submits a bad job and checks what becomes of it.
func (r *rig) try(b bad) {
	r.t.Helper()
	if b.subject == "" {
		b.subject = "sluice.jobs.acme.interactive"
	}
	if b.body == "" {
		b.body = chat
	}
	if b.tenant == "" {
		b.tenant = "acme"
	}
	send := func() (string, error) { return r.send(b.subject, b.body, b.headers...) }
	if b.raw != "" {
		send = func() (string, error) { return r.sendRaw(b) }
	}
	before := r.streamSeq(wire.StreamJobs)
	id, err := send()
	if b.code == "" && !b.runs {
		if err == nil {
			r.t.Errorf("%s: accepted as %s, want a refusal", b.name, id)
		}
		if after := r.streamSeq(wire.StreamJobs); after != before {
			r.t.Errorf("%s: refused, and stored", b.name)
		}
		return
	}
	if err != nil {
		r.t.Errorf("%s: refused (%v), want a record", b.name, err)
		return
	}
	began := time.Now()
	synctest.Wait()
	for time.Since(began) < 5*time.Second {
		last, err := r.led.Last(r.t.Context(), b.tenant, id)
		if err != nil {
			r.t.Fatal(err)
		}
		if last == nil || !last.Status.Terminal() {
			time.Sleep(10 * time.Millisecond)
			continue
		}
		if b.runs {
			if last.Status != wire.Succeeded {
				r.t.Errorf("%s: %s %s, want success", b.name, last.Status, last.Body)
			}
			return
		}
		var body struct {
			Error struct{ Message, Code string }
		}
		err = json.Unmarshal(last.Body, &body)
		if last.Status != wire.Failed || last.Entry.Error != b.code || err != nil || body.Error.Code != string(b.code) || len(body.Error.Message) < 20 || len(body.Error.Message) > 1000 {
			r.t.Errorf("%s: %s/%s %s, want failed/%s", b.name, last.Status, last.Entry.Error, last.Body, b.code)
		}
		return
	}
	r.t.Errorf("%s: no record of %s", b.name, id)
}

func (r *rig) streamSeq(kind string) uint64 {
	r.t.Helper()
	s, err := r.js.Stream(r.t.Context(), r.subj.Stream(kind))
	if err != nil {
		r.t.Fatal(err)
	}
	return s.CachedInfo().State.LastSeq
}

// sendRaw publishes with header bytes that no client library writes.
func (r *rig) sendRaw(b bad) (string, error) {
	conn := r.dialRaw()
	defer func() { _ = conn.Close() }()
	in := bufio.NewReader(conn)
	if _, err := in.ReadString('\n'); err != nil { // INFO
		return "", err
	}
	body := b.body
	if body == "\x00empty" {
		body = ""
	}
	header := "NATS/1.0\r\n" + b.raw + "\r\n"
	if inline, ok := strings.CutPrefix(b.raw, "\x00"); ok {
		header = "NATS/1.0" + inline + "\r\n"
	}
	before := r.streamSeq(wire.StreamJobs)
	if _, err := fmt.Fprintf(conn, "CONNECT {\"verbose\":false,\"headers\":true,\"protocol\":1}\r\nHPUB %s %d %d\r\n%s%s\r\nPING\r\n",
		b.subject, len(header), len(header)+len(body), header, body); err != nil {
		return "", err
	}
	line, err := in.ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "PONG") {
		return "", fmt.Errorf("server says %q, %w", line, err)
	}
	synctest.Wait()
	if after := r.streamSeq(wire.StreamJobs); after != before+1 {
		return "", fmt.Errorf("not stored")
	}
	return wire.AutoID(before + 1), nil
}

// dialRaw is a connection to the server without a client library.
func (r *rig) dialRaw() net.Conn {
	r.t.Helper()
	conn, err := r.procs[0].gate.inner.InProcessConn()
	if err != nil {
		r.t.Fatal(err)
	}
	return conn
}

// TestDuplicateIDsBadBody: a bad body under an ID that belongs to a good job
// changes nothing for that job.
func TestDuplicateIDsBadBody(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		p := always(reply{delay: time.Second})
		r := start(t, setup{dir: dir, pools: []pool{{name: "a", provider: p}}})
		r.publish(chat, wire.HeaderJobID, "mine")
		time.Sleep(time.Millisecond)
		second := r.publish("{", wire.HeaderJobID, "mine")
		if res := r.result(second); res.Status != wire.Failed || res.Entry.Error != wire.CodeIDConflict {
			t.Errorf("second: %s/%s", res.Status, res.Entry.Error)
		}
		if res := r.result("mine"); res.Status != wire.Succeeded {
			t.Errorf("first: %s", res.Status)
		}
		r.history("mine")
		r.empty()
	})
}

// TestOthersJobByHeaders: a publisher cannot make its job pass for another
// tenant's by naming the headers that the server adds to a message it reads.
func TestOthersJobByHeaders(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		r := start(t, setup{dir: dir, bare: true, pools: []pool{{name: "a", provider: &script{}}}})
		auto, err := r.send("sluice.jobs.evil.batch", chat, "Nats-Subject", "sluice.jobs.acme.batch", "Nats-Sequence", "7")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.send("sluice.jobs.evil.batch", chat, wire.HeaderJobID, "x", "Nats-Subject", "sluice.jobs.acme.batch", "Status", "404"); err != nil {
			t.Fatal(err)
		}
		for _, id := range []string{"x", auto} {
			if a := r.cancelJob(id); a.Error == nil || a.Error.Code != wire.CodeNotFound {
				t.Errorf("acme's cancel of %s: %+v", id, a)
			}
			if a := ask[wire.Answer](r, "sluice.cancel.evil."+id, ""); a.Status != wire.Cancelled {
				t.Errorf("evil's cancel of its own %s: %+v %+v", id, a, a.Error)
			}
			if h := r.history(id); len(h) != 0 {
				t.Errorf("acme has records of %s", id)
			}
		}
	})
}

// TestGarbageInQueues: what only Sluice's parts should publish is garbage
// without tenants too, where anyone on the machine may. It stops nothing.
func TestGarbageInQueues(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		r := start(t, setup{dir: dir, pools: []pool{{name: "a", provider: &script{}}}})
		for _, subject := range []string{"sluice.requeue.acme.interactive", "sluice.work.a", "sluice.dead.acme.x", "sluice.backlog.interactive.chat"} {
			for _, h := range [][]string{nil, one(wire.HeaderAssignment, "{"), one(wire.HeaderAssignment, "{}"), one(wire.HeaderAssignment, `{"j":{"t":"a.b","id":"*","c":"huge","m":"chat"}}`)} {
				if _, err := r.send(subject, "x", h...); err != nil {
					t.Errorf("%s: %v", subject, err)
				}
			}
		}
		began := time.Now()
		if res := r.result(r.publish(chat)); res.Status != wire.Succeeded {
			t.Errorf("good job: %s", res.Status)
		}
		near(t, "good job", time.Since(began), 0, 100*time.Millisecond)
		time.Sleep(time.Minute)
		r.admin("dead.list", "")
		r.empty()
	})
}
