package path

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/sluicehq/sluice/broker/budget/account"
	"github.com/sluicehq/sluice/broker/natsd"
	"github.com/sluicehq/sluice/sdk/wire"
)

var keyed = []natsd.Tenant{{Name: "acme", Key: "acme-key", Keys: []natsd.Key{{Name: "ci", Key: "ci-key"}, {Name: "web", Key: "web-key"}}}}

// with is a connection of acme's that has logged in with a key.
func (r *rig) with(key string) jetstream.JetStream {
	r.t.Helper()
	nc, err := nats.Connect("", nats.InProcessServer(r.procs[0].gate.inner), nats.UserInfo("acme", key))
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		r.t.Fatal(err)
	}
	return js
}

// perKey is a provider with a till for each key, by what is in the prompt.
func perKey(tills map[string]*till) *script {
	return &script{reply: func(n int, body string) reply {
		for prompt, x := range tills {
			if strings.Contains(body, prompt) {
				return x.script.reply(n, body)
			}
		}
		return reply{}
	}}
}

// TestKeysHaveBudgets: two keys of a tenant, each with a budget, at three routers
// and many jobs at a time: neither is exceeded, not even with what is under way,
// neither pays for the other, and the tenant's own key for none. That a client
// calls itself another key changes nothing. What is tried again counts for its
// key as before.
func TestKeysHaveBudgets(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		jobs := map[string]int{"ci-key": 40, "web-key": 90, "acme-key": 60}
		prompts := map[string]string{"ci-key": "[1]", "web-key": "[2]", "acme-key": "[3]"}
		limit := func(n int) int { return n*trueCost + worstCost }
		defs := []account.Definition{
			{Scope: "key:acme/ci", LimitUSD: dollars(limit(20)), Window: "total", OnExceeded: "reject"},
			{Scope: "key:acme/web", LimitUSD: dollars(limit(50)), Window: "total", OnExceeded: "reject"},
			{Scope: "key:acme", LimitJobs: whole(60), Window: "total", OnExceeded: "reject"},
			{Scope: "tenant:acme", LimitJobs: whole(500), Window: "total"},
		}
		tills := map[string]*till{"[1]": newTill(t, limit(20)), "[2]": newTill(t, limit(50))}
		p := perKey(tills)
		inner := p.reply
		p.reply = func(n int, body string) reply {
			if n%20 == 7 { // refused, which costs nothing: the job comes again by another queue
				return reply{status: 500}
			}
			return inner(n, body)
		}
		r := start(t, setup{dir: dir, bare: true, tenants: keyed, attempts: 10, pools: []pool{{name: "a", concurrency: 64, provider: p}}})
		var last *proc
		for i := range 3 {
			last = r.payer(fmt.Sprint("r", i), defs...)
		}
		r.worker("w1")
		ids := map[string][]string{}
		for key, n := range jobs {
			js := r.with(key)
			for i := range n {
				id := fmt.Sprintf("%s-%d", key, i)
				m := &nats.Msg{Subject: r.subj.Jobs("acme", wire.Standard), Data: []byte(strings.Replace(shortChat, "[1]", prompts[key], 1)),
					Header: nats.Header{wire.HeaderJobID: {id}, "Sluice-Key": {"web"}}}
				if _, err := js.PublishMsgAsync(m); err != nil {
					t.Fatal(err)
				}
				ids[key] = append(ids[key], id)
			}
			<-js.PublishAsyncComplete()
		}
		done := map[string]int{}
		for key, list := range ids {
			for _, id := range list {
				res := r.result(id)
				if want := map[string]string{"ci-key": "ci", "web-key": "web"}[key]; res.Entry.Meta.Key != want {
					t.Errorf("%s was submitted with %s and counts for %q", id, key, res.Entry.Meta.Key)
				}
				switch {
				case res.Status == wire.Succeeded:
					done[key]++
				case res.Entry.Error != wire.CodeBudget || !strings.Contains(string(res.Body), "key:acme/"+strings.TrimSuffix(key, "-key")):
					t.Errorf("%s: %s %s", id, res.Status, res.Body)
				}
			}
		}
		// Room for n true costs and one worst case is room for one job more.
		if done["ci-key"] != 21 || done["web-key"] != 51 || done["acme-key"] != 60 {
			t.Errorf("%v ran, want 21, 51 and 60", done)
		}
		time.Sleep(20 * time.Second)
		for i, s := range r.standing(defs...) {
			want := map[string]int64{"key:acme/ci": 21 * trueCost, "key:acme/web": 51 * trueCost, "key:acme": 60}[s.Budget.Scope.String()]
			if s.Budget.Scope.String() == "tenant:acme" {
				want = max(s.Spent, 132) // and those that were rejected when they came again
			}
			if s.Spent != want || s.Held != 0 {
				t.Errorf("budget %d, %s: %d spent and %d held, want %d and 0", i, s.Budget.ID(), s.Spent, s.Held, want)
			}
		}
		// Of a tenant's budgets every key of it is told, and nobody else's.
		for tenant, want := range map[string]int{"": 4, "acme": 4, "acme=ci": 0, "acme/ci": 0, "globex": 0} {
			if list := last.book.List(tenant, time.Now()); len(list) != want {
				t.Errorf("%q is told of %d budgets, want %d", tenant, len(list), want)
			}
		}
		r.empty()
	})
}

// TestKeyedJobWaits: a job of a named key that waits can be asked for and
// cancelled by whichever key of its tenant, and by no other tenant.
func TestKeyedJobWaits(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		r := start(t, setup{dir: dir, bare: true, tenants: keyed, pools: []pool{{name: "a", provider: &script{}}}})
		m := &nats.Msg{Subject: r.subj.Jobs("acme", wire.Batch), Data: []byte(shortChat), Header: nats.Header{wire.HeaderJobID: {"mine"}}}
		if _, err := r.with("ci-key").PublishMsg(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		if a := r.status("mine"); a.Status != wire.Queued || a.Class != wire.Batch || a.Key != "ci" {
			t.Errorf("%+v", a)
		}
		a, err := r.with("web-key").Conn().Request(r.subj.Cancel("acme", "mine"), nil, 5*time.Second)
		if err != nil || !strings.Contains(string(a.Data), `"cancelled"`) {
			t.Fatalf("%v, %v", a, err)
		}
		r.dispatcher("d1")
		r.worker("w1")
		if a := r.status("mine"); a.Key != "ci" {
			t.Errorf("%+v", a)
		}
		if res := r.result("mine"); res.Status != wire.Cancelled || res.Entry.Meta.Key != "ci" {
			t.Errorf("%s, key %q", res.Status, res.Entry.Meta.Key)
		}
		r.empty()
	})
}

// TestKeysShareTheirTenant: the jobs of a tenant's named key stand behind those of
// another tenant as its own would, and get the tenant's one share: they are
// neither buried nor a second turn.
func TestKeysShareTheirTenant(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		p := always(reply{delay: time.Second})
		r := start(t, setup{dir: dir, held: 32, tenants: append([]natsd.Tenant{{Name: "flood", Key: "flood-key"}}, keyed...), pools: []pool{{name: "a", concurrency: 4, provider: p}}})
		flood, ci, own := r.login("flood"), r.with("ci-key"), r.with("acme-key")
		js, err := jetstream.New(flood.Conn)
		if err != nil {
			t.Fatal(err)
		}
		for range 1000 {
			if _, err := js.PublishMsgAsync(&nats.Msg{Subject: r.subj.Jobs("flood", wire.Standard), Data: []byte(chat)}); err != nil {
				t.Fatal(err)
			}
		}
		<-js.PublishAsyncComplete()
		time.Sleep(5 * time.Second)
		began := time.Now()
		var ids []string
		for i := range 40 {
			from, id := ci, fmt.Sprint("k", i)
			if i%2 == 1 {
				from = own
			}
			if _, err := from.PublishMsg(t.Context(), &nats.Msg{Subject: r.subj.Jobs("acme", wire.Standard), Data: []byte(chat), Header: nats.Header{wire.HeaderJobID: {id}}}); err != nil {
				t.Fatal(err)
			}
			ids = append(ids, id)
		}
		r.allSucceed(ids)
		// Half of four slots are acme's: 40 jobs of a second take 20. With a third
		// of them for each key it would be 15.
		near(t, "40 jobs of two keys beside a flood", time.Since(began), 20*time.Second, 3*time.Second)
	})
}
