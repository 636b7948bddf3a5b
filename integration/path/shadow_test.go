package path

import (
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/sluicehq/sluice/broker/steer"
	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
)

// shadowsOf are the records of shadows, by their subjects' last token.
func (r *rig) shadowsOf() map[string][]wire.Record {
	r.t.Helper()
	out := map[string][]wire.Record{}
	reader, err := ledger.OpenReader(r.t.Context(), r.js, r.subj, 1, time.Time{})
	if err != nil {
		r.t.Fatal(err)
	}
	defer reader.Close()
	for {
		m, err := reader.Read(r.t.Context(), time.Now().Add(time.Second))
		if err != nil {
			return out
		}
		rec, err := m.Record()
		if err != nil {
			r.t.Fatal(err)
		}
		if rec.Entry.Meta.Shadow != "" {
			out[rec.Entry.Meta.ID] = append(out[rec.Entry.Meta.ID], *rec)
		}
	}
}

// TestShadow: each job is mirrored once, whatever becomes of it or of its copy;
// the client hears nothing of that, and it costs the job nothing.
func TestShadow(t *testing.T) {
	for name, mirrored := range map[string]reply{"answers": {}, "fails": {status: 500}, "refuses": {status: 400}, "is slow": {delay: 5 * time.Second}} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, dir string) {
				once := &script{reply: func(n int, _ string) reply {
					if n == 1 {
						return reply{status: 500} // the retry is not mirrored again
					}
					return reply{}
				}}
				to := always(mirrored)
				r := start(t, setup{dir: dir, webhooks: true, pools: []pool{{name: "a", provider: once}, {name: "m", provider: to, only: true, routes: []string{"next"}}},
					plan: steer.New(steer.Config{Shadows: map[string]*steer.Shadow{"chat": {Name: "try", Share: 1, To: "next"}}})})
				heard := make(chan *nats.Msg, 1000)
				for _, subject := range []string{r.subj.Records("acme", "*"), r.subj.Chunks("acme", "*")} {
					if _, err := r.nc.ChanSubscribe(subject, heard); err != nil {
						t.Fatal(err)
					}
				}
				ids := []string{r.publish(chat), r.publish(chat), r.publish(chat, "Sluice-Webhook", "https://example.com/")}
				for _, id := range ids {
					res := r.result(id)
					if p := res.Entry.Progress; res.Status != wire.Succeeded || res.Entry.Attempt.Pool != "a" || p.Spent != 16_000 || p.Unknown {
						t.Errorf("%s: %s at %+v, %+v", id, res.Status, res.Entry.Attempt, p)
					}
				}
				time.Sleep(10 * time.Second)
				if n := to.count(); n != 3 {
					t.Errorf("%d calls of the mirror", n)
				}
				for len(heard) > 0 {
					if m := <-heard; strings.Contains(m.Subject, "shadow") {
						t.Errorf("the tenant hears %s", m.Subject)
					}
				}
				copies := r.shadowsOf()
				for _, id := range ids {
					list := copies[id+"-shadow"]
					if len(list) != 2 || list[0].Status != wire.Running || !list[1].Status.Terminal() {
						t.Fatalf("%s: %+v", id, list)
					}
					e := list[1].Entry
					good := name == "answers" || name == "is slow"
					if e.Attempt.Pool != "m" || e.Attempt.Decision.Route != "next" || e.Meta.Shadow != "try" || e.Meta.Webhook != "" || e.Meta.Tenant != "acme" ||
						(list[1].Status == wire.Succeeded) != good || good && (e.Attempt.Cost == nil || *e.Attempt.Cost != 16_000) {
						t.Errorf("%s: %s, %+v", id, list[1].Status, e.Attempt)
					}
				}
				ledgerStream, err := r.js.Stream(t.Context(), r.subj.Stream(wire.StreamLedger))
				if err != nil {
					t.Fatal(err)
				}
				last, err := ledgerStream.GetLastMsgForSubject(t.Context(), r.subj.RecordsOf(&copies[ids[0]+"-shadow"][0].Entry.Meta))
				if err != nil || name == "answers" && len(last.Data) != 0 {
					t.Errorf("an answer is kept: %q, %v", last.Data, err)
				}
				if len(copies) != 3 {
					t.Errorf("%d copies", len(copies))
				}
				if dead := r.admin("dead.list", "{}"); len(dead["dead"].([]any)) != 0 {
					t.Errorf("%v", dead)
				}
				if jobs := r.admin("jobs", "{}"); len(jobs["jobs"].([]any)) != 3 {
					t.Errorf("%v", jobs)
				}
			})
		})
	}
}

// TestShadowOfAStream: the copy is streamed too, to nobody.
func TestShadowOfAStream(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		stream := reply{events: words("a", "b"), every: 10 * time.Millisecond}
		to := always(stream)
		r := start(t, setup{dir: dir, pools: []pool{{name: "a", provider: always(stream)}, {name: "m", provider: to, only: true, routes: []string{"next"}}},
			plan: steer.New(steer.Config{Shadows: map[string]*steer.Shadow{"chat": {Name: "try", Share: 1, To: "next"}}})})
		heard := make(chan *nats.Msg, 1000)
		if _, err := r.nc.ChanSubscribe(r.subj.Chunks("*", "*"), heard); err != nil {
			t.Fatal(err)
		}
		id := r.publish(chat, "Sluice-Stream", "true")
		if res := r.result(id); res.Status != wire.Succeeded {
			t.Fatalf("%s", res.Body)
		}
		time.Sleep(5 * time.Second)
		list := r.shadowsOf()[id+"-shadow"]
		if len(list) != 2 || list[1].Status != wire.Succeeded || list[1].Entry.Attempt.TTFTMS <= 0 || !strings.Contains(to.seen()[0].Body, `"stream":true`) {
			t.Errorf("%+v after %s", list, to.seen()[0].Body)
		}
		for len(heard) > 0 {
			if m := <-heard; !strings.HasSuffix(m.Subject, "."+id) {
				t.Errorf("chunks on %s", m.Subject)
			}
		}
	})
}
