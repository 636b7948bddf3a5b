package path

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/sluicehq/sluice/sdk/wire"
)

// body is a request of a route that names its tenant, for the provider.
func body(route, tenant string) string {
	return `{"model":"` + route + `","messages":[{"role":"user","content":"` + tenant + `"}]}`
}

// floodAs publishes n jobs of a tenant in one go.
func (r *rig) floodAs(tenant string, class wire.Class, n int, route string, headers ...string) {
	r.t.Helper()
	for range n {
		m := &nats.Msg{Subject: r.subj.Jobs(tenant, class), Data: []byte(body(route, tenant)), Header: nats.Header{}}
		for h := 0; h < len(headers); h += 2 {
			m.Header.Set(headers[h], headers[h+1])
		}
		if _, err := r.js.PublishMsgAsync(m); err != nil {
			r.t.Fatal(err)
		}
	}
	<-r.js.PublishAsyncComplete()
}

// of counts the calls for a tenant, and says when the last one came.
func (s *script) of(tenant string) (n int, last time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.calls {
		if strings.Contains(c.Body, `"content":"`+tenant+`"`) {
			n, last = n+1, c.At
		}
	}
	return n, last
}

// calledFor waits until a provider has had n calls for a tenant, and says how
// long that took; more than n fail the test.
func (r *rig) calledFor(s *script, tenant string, n int) time.Duration {
	r.t.Helper()
	began := time.Now()
	for time.Since(began) < patience {
		if got, last := s.of(tenant); got > n {
			r.t.Fatalf("%s: %d calls for %d jobs", tenant, got, n)
		} else if got == n {
			return last.Sub(began)
		}
		time.Sleep(time.Second / 10)
	}
	got, _ := s.of(tenant)
	r.t.Fatalf("%s: %d of %d jobs after %s of fake time; queues: %s", tenant, got, n, patience, r.queues())
	return 0
}

// TestFairShare: tenants that queue 100 jobs behind 100,000 of another one get
// their share of the pool at once, with one router and with two; and so does
// who queued the 100,000.
func TestFairShare(t *testing.T) {
	for _, routers := range []int{1, 2} {
		t.Run(fmt.Sprint(routers, " routers"), func(t *testing.T) {
			bubble(t, func(t *testing.T, dir string) {
				p := always(reply{delay: time.Second})
				r := start(t, setup{dir: dir, bare: true, pools: []pool{{name: "a", concurrency: 10, provider: p}}})
				r.serve("w1", "a")
				for i := range routers {
					r.router(fmt.Sprint("d", i), nil)
				}
				r.floodAs("acme", wire.Batch, 100_000, "chat")
				time.Sleep(5 * time.Second)
				jobs, err := r.js.Stream(t.Context(), r.subj.Stream(wire.StreamJobs))
				if err != nil {
					t.Fatal(err)
				}
				if n := jobs.CachedInfo().State.Msgs; n < 99_000 {
					t.Fatalf("%d jobs are queued of 100,000", n)
				}
				before, _ := p.of("acme")
				r.floodAs("bob", wire.Batch, 100, "chat")
				r.floodAs("carol", wire.Batch, 100, "chat")
				began, took := time.Now(), time.Duration(0)
				for _, tenant := range []string{"bob", "carol"} {
					r.calledFor(p, tenant, 100)
					_, last := p.of(tenant)
					took = max(took, last.Sub(began))
				}
				t.Logf("200 jobs of two tenants behind 100,000 took %s, their share of 10 a second takes 30 s", took)
				if took > 36*time.Second { // 200 of 300 calls, 10 a second, and two routers do not see each other's picks
					t.Errorf("200 jobs of two tenants behind 100,000 took %s, their share of 10 a second takes 30 s", took)
				}
				if n, _ := p.of("acme"); n-before < 90 {
					t.Errorf("%d jobs of the first tenant meanwhile, want its third of 300", n-before)
				}
			})
		})
	}
}

// TestShareOfMany: of many tenants with deep backlogs, queued one behind the
// other, each has its share all the time, in whatever class they queue.
func TestShareOfMany(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		const tenants = 40
		p := always(reply{delay: time.Second})
		r := start(t, setup{dir: dir, held: 64, pools: []pool{{name: "a", concurrency: 40, provider: p}}})
		for i := range tenants {
			r.floodAs(fmt.Sprintf("t%02d", i), wire.Standard, 200, "chat")
		}
		time.Sleep(2 * time.Second)
		base := map[int]int{}
		for i := range tenants {
			base[i], _ = p.of(fmt.Sprintf("t%02d", i))
		}
		time.Sleep(60 * time.Second)
		for i := range tenants {
			n, _ := p.of(fmt.Sprintf("t%02d", i))
			if n -= base[i]; n < 48 || n > 72 {
				t.Errorf("tenant %d had %d calls of 2,400, want about 60", i, n)
			}
		}
	})
}

// TestSharedEnds: everything that is lifted and delivered runs once, over
// restarts of the router in the middle.
func TestSharedEnds(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		p := always(reply{delay: 100 * time.Millisecond})
		r := start(t, setup{dir: dir, held: 64, bare: true, pools: []pool{{name: "a", concurrency: 10, provider: p}}})
		r.serve("w1", "a")
		d := r.router("d1", nil)
		for _, tenant := range []string{"acme", "bob", "carol"} {
			r.floodAs(tenant, wire.Standard, 400, "chat")
		}
		for i := range 4 {
			time.Sleep(2 * time.Second)
			if i%2 == 0 {
				d.stop()
			} else {
				d.gate.kill()
			}
			d = r.router(fmt.Sprint("e", i), nil)
		}
		for _, tenant := range []string{"acme", "bob", "carol"} {
			r.calledFor(p, tenant, 400)
		}
		time.Sleep(2 * time.Minute)
		for _, tenant := range []string{"acme", "bob", "carol"} {
			if n, _ := p.of(tenant); n != 400 {
				t.Errorf("%s: %d calls for 400 jobs", tenant, n)
			}
		}
		r.empty()
	})
}

// TestShareOfDelayed: jobs whose time has come share too; their queue is
// another one.
func TestShareOfDelayed(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		p := always(reply{delay: time.Second})
		r := start(t, setup{dir: dir, held: 64, pools: []pool{{name: "a", concurrency: 10, provider: p}}})
		r.floodAs("acme", wire.Standard, 1000, "chat", wire.HeaderNotBefore, "1m")
		r.floodAs("bob", wire.Standard, 20, "chat", wire.HeaderNotBefore, "61s")
		time.Sleep(62 * time.Second)
		if took := r.calledFor(p, "bob", 20); took > 8*time.Second {
			t.Errorf("20 delayed jobs behind 1,000 took %s, want about 4 s", took)
		}
	})
}

// TestShareOfParked: parked jobs share too, and those that an earlier version
// parked, under a subject without a tenant, are found.
func TestShareOfParked(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		slow, free := always(reply{delay: time.Second}), &script{}
		r := start(t, setup{dir: dir, held: 64, pools: []pool{
			{name: "slow", concurrency: 10, provider: slow, routes: []string{"slow.route"}},
			{name: "free", concurrency: 10, provider: free, routes: []string{"free"}}}})
		r.floodAs("acme", wire.Standard, 1000, "slow.route")
		r.floodAs("acme", wire.Standard, 1, "free")
		r.calledFor(free, "acme", 1)
		time.Sleep(2 * time.Second)
		if n := r.parked(); n < 400 {
			t.Fatalf("%d jobs are parked, want most of 1,000", n)
		}
		old := wire.Assignment{Meta: wire.Meta{ID: "old-1", Tenant: "old", Class: wire.Standard, Route: "slow.route", Endpoint: wire.ChatCompletions, SubmittedAt: time.Now().UnixNano(), Seq: 7}}
		m := &nats.Msg{Subject: r.subj.Backlog(wire.Standard, "slow.route", ""), Header: wire.EncodeAssignment(&old), Data: []byte(body("slow.route", "old"))}
		if _, err := r.js.PublishMsg(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		r.floodAs("bob", wire.Standard, 20, "slow.route")
		if took := r.calledFor(slow, "bob", 20); took > 8*time.Second {
			t.Errorf("20 jobs behind those parked took %s, want about 4 s", took)
		}
		r.calledFor(slow, "acme", 1000)
		r.calledFor(slow, "old", 1)
		time.Sleep(time.Minute)
		r.empty()
	})
}

// TestNothingStarves: batch and standard jobs move although interactive ones
// never stop, and do not take more than their turns from them.
func TestNothingStarves(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		p := always(reply{delay: time.Second})
		r := start(t, setup{dir: dir, pools: []pool{{name: "a", concurrency: 10, provider: p}}})
		r.floodAs("std", wire.Standard, 30, "chat")
		r.floodAs("bat", wire.Batch, 30, "chat")
		for range 120 { // twice what the pool can do
			r.floodAs("ia", wire.Interactive, 20, "chat")
			time.Sleep(time.Second)
		}
		std, _ := p.of("std")
		bat, _ := p.of("bat")
		ia, _ := p.of("ia")
		if std < 30 || bat < 30 {
			t.Errorf("%d standard and %d batch jobs of 30 each in two minutes beside endless interactive ones", std, bat)
		}
		if ia < 1000 {
			t.Errorf("%d interactive calls of 1,200", ia)
		}
	})
}

// TestAtomicBatch: jobs that a client publishes as one atomic batch of the
// server's run once each, and a batch that breaks off leaves none.
func TestAtomicBatch(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		p := always(reply{delay: time.Second})
		r := start(t, setup{dir: dir, pools: []pool{{name: "a", concurrency: 10, provider: p}}})
		send := func(tenant string, n int, whole bool) {
			for i := 1; i <= n; i++ {
				m := &nats.Msg{Subject: r.subj.Jobs(tenant, wire.Standard), Data: []byte(body("chat", tenant)), Header: nats.Header{
					"Nats-Batch-Id": {tenant}, "Nats-Batch-Sequence": {strconv.Itoa(i)}}}
				if i < n || !whole {
					if err := r.nc.PublishMsg(m); err != nil {
						t.Fatal(err)
					}
					continue
				}
				m.Header.Set("Nats-Batch-Commit", "1")
				if ack, err := r.js.PublishMsg(t.Context(), m); err != nil || ack.Stream != r.subj.Stream(wire.StreamJobs) {
					t.Fatalf("%+v, %v", ack, err)
				}
			}
		}
		send("cut", 50, false)
		send("acme", 200, true)
		r.calledFor(p, "acme", 200)
		time.Sleep(time.Minute)
		if n, _ := p.of("cut"); n != 0 {
			t.Errorf("%d jobs of a batch that was not committed have run", n)
		}
		if n, _ := p.of("acme"); n != 200 {
			t.Errorf("%d calls for 200 jobs", n)
		}
		r.empty()
	})
}
