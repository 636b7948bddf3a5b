package path

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker/topology"
	"github.com/sluicehq/sluice/sdk/wire"
	said "github.com/sluicehq/sluice/workers/text"
)

// keeps is a policy that leaves out cards and email addresses.
func keeps(t *testing.T) map[string]*said.Policy {
	t.Helper()
	r, err := said.NewRedactor([]said.Rule{{Kind: "card"}, {Kind: "email"}})
	if err != nil {
		t.Fatal(err)
	}
	return map[string]*said.Policy{"acme": {Keep: time.Hour, Share: 1, MaxBytes: 1000, Redactor: r}}
}

// texts are what is in the stream of texts, by attempt; one that is there twice
// is a fault.
func (r *rig) texts() map[string]*wire.Text {
	r.t.Helper()
	st, err := r.js.Stream(r.t.Context(), r.subj.Stream(wire.StreamTexts))
	if err != nil {
		r.t.Fatal(err)
	}
	out := map[string]*wire.Text{}
	for seq, last := uint64(1), st.CachedInfo().State.LastSeq; seq <= last; seq++ {
		m, err := st.GetMsg(r.t.Context(), seq)
		if err != nil {
			r.t.Fatal(err)
		}
		x, err := wire.DecodeText(m.Data)
		if err != nil {
			r.t.Fatal(err)
		}
		if out[x.ID()] != nil {
			r.t.Errorf("%s is there twice", x.ID())
		}
		out[x.ID()] = x
	}
	return out
}

const secretChat = `{"model":"chat","messages":[{"role":"user","content":"I am jo@ex.org"}]}`

// What is said is kept for a tenant that wants it, whole answers and streamed
// ones, where a secret lies across chunks; an attempt that fails has no answer.
// Nothing is kept otherwise.
func TestTexts(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		p := &script{reply: func(n int, _ string) reply {
			switch n {
			case 1:
				return reply{status: 500, body: `{"error":{"message":"jo@ex.org broke it"}}`}
			case 2:
				return reply{body: answer("card 4111 1111 1111 1111.")}
			}
			return reply{events: words("card 4111 11", "11 1111 ", "1111.")}
		}}
		r := start(t, setup{dir: dir, pools: []pool{{name: "a", provider: p}}, texts: keeps(t)})
		w := r.procs[len(r.procs)-1]
		first := r.publish(secretChat)
		r.result(first)
		second := r.publish(secretChat, wire.HeaderStream, "true")
		r.result(second)
		got := r.texts()
		if len(got) != 3 {
			t.Fatalf("texts of %d attempts: %v", len(got), got)
		}
		for id, want := range map[string][2]string{"acme." + first + ".1": {"failed", ""}, "acme." + first + ".2": {"succeeded", "card [card]."}, "acme." + second + ".1": {"succeeded", "card [card]."}} {
			x := got[id]
			if x == nil || string(x.Status) != want[0] || x.Answer != want[1] || x.Prompt != "user: I am [email]" || x.Bytes[0] != 20 || x.Pool != "a" || x.Route != "chat" || x.Redacted["email"] != 1 ||
				x.Expires < time.Now().Add(59*time.Minute).Unix() || x.Expires > time.Now().Add(time.Hour).Unix() {
				t.Errorf("%s is %+v", id, x)
			}
		}
		if c := w.texts.Counts(); c.Kept != 3 || c.Redacted["card"] != 2 || c.Redacted["email"] != 3 || c.Dropped["full"]+c.Dropped["unavailable"] != 0 || c.Bytes == 0 {
			t.Errorf("%+v", c)
		}
		w.texts.Set(nil) // from now on nothing is
		r.result(r.publish(secretChat))
		if n := len(r.texts()); n != 3 {
			t.Errorf("%d texts after the tenant stopped keeping them", n)
		}
		w.texts.Set(map[string]*said.Policy{"other": keeps(t)["acme"]})
		r.result(r.publish(secretChat))
		if n := len(r.texts()); n != 3 {
			t.Errorf("%d texts, one of a tenant that does not keep them", n)
		}
		r.empty()
	})
}

// A share of the jobs is kept, and the same whoever decides.
func TestTextsShare(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		policy := keeps(t)
		policy["acme"].Share = 0.3
		r := start(t, setup{dir: dir, pools: []pool{{name: "a", provider: always(reply{body: answer("x")}), concurrency: 16}}, texts: policy})
		for i := range 200 {
			r.publish(secretChat, wire.HeaderJobID, fmt.Sprint("share-", i))
		}
		for i := range 200 {
			r.result(fmt.Sprint("share-", i))
		}
		if n := len(r.texts()); n < 30 || n > 90 {
			t.Errorf("%d of 200 are kept", n)
		}
	})
}

// A worker that is killed after any of its messages leaves each attempt at most
// one text, and no success without one.
func TestTextsOfAKilledWorker(t *testing.T) {
	for after := range 7 {
		t.Run(fmt.Sprint(after), func(t *testing.T) {
			bubble(t, func(t *testing.T, dir string) {
				r := start(t, setup{dir: dir, pools: []pool{{name: "a", provider: always(reply{body: answer("yes"), delay: time.Second})}}, texts: keeps(t)})
				w := r.procs[len(r.procs)-1]
				w.gate.set(func() { w.gate.limit = w.gate.sent + after })
				id := r.publish(secretChat)
				time.Sleep(5 * time.Second)
				r.worker("w2")
				res := r.result(id)
				at := res.Entry.Attempt
				x := r.texts()[fmt.Sprintf("acme.%s.%d", id, at.N)]
				if res.Status != wire.Succeeded || x == nil || x.Answer != "yes" {
					t.Errorf("%s after %q: %+v", res.Status, r.steps(id), x)
				}
			})
		})
	}
}

// A full stream of texts, or one that does not answer, drops texts and counts
// them; jobs end as ever.
func TestTextsDropped(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		r := start(t, setup{dir: dir, pools: []pool{{name: "a", provider: always(reply{body: answer(strings.Repeat("word ", 150))})}}, texts: keeps(t)})
		w := r.procs[len(r.procs)-1]
		if err := topology.Ensure(t.Context(), r.js, topology.Config{Subjects: r.subj, TextsMax: 4000}); err != nil {
			t.Fatal(err)
		}
		for range 10 {
			r.result(r.publish(secretChat))
		}
		c := w.texts.Counts()
		if c.Kept < 2 || c.Kept > 4 || c.Dropped["full"] != 10-c.Kept {
			t.Errorf("%+v", c)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := r.js.DeleteStream(ctx, r.subj.Stream(wire.StreamTexts)); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		r.result(r.publish(secretChat))
		if d := time.Since(began); d > 5*time.Second {
			t.Errorf("a job took %s without a stream of texts", d)
		}
		if now := w.texts.Counts(); now.Dropped["unavailable"] != 1 || now.Kept != c.Kept || !maps.Equal(map[string]uint64{"full": c.Dropped["full"], "unavailable": 1}, now.Dropped) {
			t.Errorf("%+v", now)
		}
		r.empty()
	})
}
