package path

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/sluicehq/sluice/broker/topology"
	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
)

func (r *rig) hear() {
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.heard)
	r.heard = make(chan struct{})
}

func (r *rig) listen() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.heard
}

// patience is how much fake time a test waits for something.
const patience = 30 * time.Minute

// await waits until a job's last record satisfies ok.
func (r *rig) await(job string, what string, ok func(*ledger.Stored) bool) *ledger.Stored {
	r.t.Helper()
	end := time.After(patience)
	for {
		heard := r.listen()
		synctest.Wait() // a record is heard before it is stored, or refused
		last, err := r.led.Last(r.t.Context(), "acme", job)
		if err != nil {
			r.t.Fatal(err)
		}
		if last != nil && ok(last) {
			return last
		}
		select {
		case <-heard:
		case <-end:
			r.t.Fatalf("job %s: no %s record after %s of fake time; last: %+v; queues: %s", job, what, patience, last, r.queues())
		}
	}
}

// result waits for a job's terminal record.
func (r *rig) result(job string) *ledger.Stored {
	r.t.Helper()
	return r.await(job, "terminal", func(s *ledger.Stored) bool { return s.Status.Terminal() })
}

// reached waits until the job's last record has a status.
func (r *rig) reached(job string, status wire.Status) *ledger.Stored {
	r.t.Helper()
	return r.await(job, string(status), func(s *ledger.Stored) bool { return s.Status == status })
}

// history is all of a job's records; it checks that exactly one of them is
// terminal if the job has ended, the last.
func (r *rig) history(job string) []*ledger.Stored {
	r.t.Helper()
	records, err := r.led.History(r.t.Context(), "acme", job)
	if err != nil {
		r.t.Fatal(err)
	}
	for i, s := range records {
		if s.Status.Terminal() && i != len(records)-1 {
			r.t.Errorf("job %s: record %d of %d is terminal (%s)", job, i+1, len(records), s.Status)
		}
	}
	return records
}

// steps is a job's history in short, such as "running waiting/retry succeeded".
func (r *rig) steps(job string) string {
	r.t.Helper()
	r.history(job)
	return r.stepsOf(job)
}

// stepsOf is the same of a job that may have been requeued after its end.
func (r *rig) stepsOf(job string) string {
	r.t.Helper()
	out := ""
	records, err := r.led.History(r.t.Context(), "acme", job)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, s := range records {
		if out != "" {
			out += " "
		}
		out += string(s.Status)
		if s.Reason != "" {
			out += "/" + string(s.Reason)
		}
		if a := s.Entry.Attempt; a != nil && a.Status == wire.Interrupted {
			out += "(interrupted)"
		}
	}
	return out
}

const chat = `{"model":"chat","messages":[{"role":"user","content":"hi"}],"max_tokens":10}`

// send publishes a job and returns the ID that the broker gives it without
// one, and the error if the publish was refused.
func (r *rig) send(subject, body string, headers ...string) (string, error) {
	m := &nats.Msg{Subject: subject, Data: []byte(body), Header: nats.Header{}}
	for i := 0; i < len(headers); i += 2 {
		m.Header[headers[i]] = append(m.Header[headers[i]], headers[i+1])
	}
	ack, err := r.js.PublishMsg(r.t.Context(), m)
	if err != nil {
		return "", err
	}
	return wire.AutoID(ack.Sequence), nil
}

// publish submits an interactive job of tenant acme.
func (r *rig) publish(body string, headers ...string) string {
	r.t.Helper()
	return r.publishAs(wire.Interactive, body, headers...)
}

func (r *rig) publishAs(class wire.Class, body string, headers ...string) string {
	r.t.Helper()
	id, err := r.send(r.subj.Jobs("acme", class), body, headers...)
	if err != nil {
		r.t.Fatalf("publish: %v", err)
	}
	return id
}

// ask sends a request and decodes its JSON answer.
func ask[T any](r *rig, subject, body string) T {
	r.t.Helper()
	var out T
	// With a context: nats.go's own timers are pooled over bubbles.
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute)
	defer cancel()
	m, err := r.nc.RequestWithContext(ctx, subject, []byte(body))
	if err != nil {
		r.t.Fatalf("%s: %v", subject, err)
	}
	if err := json.Unmarshal(m.Data, &out); err != nil {
		r.t.Fatalf("%s: %v: %s", subject, err, m.Data)
	}
	return out
}

func (r *rig) status(job string) wire.Answer {
	r.t.Helper()
	return ask[wire.Answer](r, r.subj.Status("acme", job), "")
}

func (r *rig) cancelJob(job string) wire.Answer {
	r.t.Helper()
	return ask[wire.Answer](r, r.subj.Cancel("acme", job), "")
}

func (r *rig) admin(op, body string) map[string]any {
	r.t.Helper()
	return ask[map[string]any](r, r.subj.Admin(op), body)
}

// empty checks that nothing is left in the queues, and that the routers say so.
func (r *rig) empty() {
	r.t.Helper()
	time.Sleep(5 * time.Second) // acknowledgements are not waited for by anyone
	for _, kind := range []string{wire.StreamJobs, wire.StreamSched, wire.StreamWork} {
		n, _, err := topology.Messages(r.t.Context(), r.js, r.subj, kind)
		if err != nil {
			r.t.Fatal(err)
		}
		if n != 0 {
			r.t.Errorf("stream %s holds %d messages, want none", kind, n)
		}
		if said := text(r.admin("health", "")); !regexp.MustCompile(`"messages":0,"name":"` + r.subj.Stream(kind) + `"`).MatchString(said) {
			r.t.Errorf("a router says that %s is not empty: %s", r.subj.Stream(kind), said)
		}
	}
}

// near checks a fake time to a tolerance.
func near(t *testing.T, what string, got, want, tolerance time.Duration) {
	t.Helper()
	if got < want || got > want+tolerance {
		t.Errorf("%s after %s, want %s (+%s)", what, got, want, tolerance)
	}
}

// nano formats a cost that may be unknown.
func nano(c *wire.NanoUSD) string {
	if c == nil {
		return "unknown"
	}
	return fmt.Sprint(int64(*c))
}

// queues describes the queues' consumers, for a test that fails.
func (r *rig) queues() string {
	out := ""
	for _, kind := range []string{wire.StreamJobs, wire.StreamSched, wire.StreamWork} {
		s, err := r.js.Stream(r.t.Context(), r.subj.Stream(kind))
		if err != nil {
			return err.Error()
		}
		out += fmt.Sprintf("\n%s: %d messages", kind, s.CachedInfo().State.Msgs)
		for c := range s.ListConsumers(r.t.Context()).Info() {
			out += fmt.Sprintf("\n  %s: delivered %d, ack floor %d, ack pending %d, redelivered %d, pending %d, waiting %d", c.Name,
				c.Delivered.Stream, c.AckFloor.Stream, c.NumAckPending, c.NumRedelivered, c.NumPending, c.NumWaiting)
		}
	}
	return out
}
