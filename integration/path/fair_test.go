package path

import (
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/sluicehq/sluice/sdk/wire"
)

// flood publishes n jobs of tenant acme in one go and returns their IDs.
func (r *rig) flood(class wire.Class, n int, body string, headers ...string) []string {
	r.t.Helper()
	ids := make([]string, 0, n)
	for i := range n {
		id := fmt.Sprintf("%s-%d-%d", class, time.Now().UnixNano()%1e12, i)
		m := &nats.Msg{Subject: r.subj.Jobs("acme", class), Data: []byte(body), Header: nats.Header{wire.HeaderJobID: {id}}}
		for h := 0; h < len(headers); h += 2 {
			m.Header.Set(headers[h], headers[h+1])
		}
		if _, err := r.js.PublishMsgAsync(m); err != nil {
			r.t.Fatal(err)
		}
		ids = append(ids, id)
	}
	<-r.js.PublishAsyncComplete()
	return ids
}

// allSucceed waits for jobs and checks that each ended once, well.
func (r *rig) allSucceed(ids []string) {
	r.t.Helper()
	for _, id := range ids {
		if res := r.result(id); res.Status != wire.Succeeded {
			r.t.Fatalf("%s: %s %s", id, res.Status, res.Body)
		}
		r.history(id)
	}
}

func routeTo(model string) string { return `{"model":"` + model + `","messages":[1]}` }

// TestConcurrency: a pool's bound holds over two workers and two dispatchers,
// counted at the provider, and is made use of.
func TestConcurrency(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		a, b := always(reply{delay: time.Second}), always(reply{delay: 700 * time.Millisecond})
		r := start(t, setup{dir: dir, pools: []pool{{name: "a", concurrency: 3, provider: a}, {name: "b", concurrency: 5, provider: b}}})
		r.dispatcher("d2")
		r.worker("w2")
		began := time.Now()
		ids := append(r.flood(wire.Interactive, 100, chat), r.flood(wire.Batch, 100, chat)...)
		r.allSucceed(ids)
		if a.atOnce() != 3 || b.atOnce() != 5 {
			t.Errorf("%d and %d calls at once, want 3 and 5", a.atOnce(), b.atOnce())
		}
		if a.count()+b.count() != 200 {
			t.Errorf("%d calls for 200 jobs", a.count()+b.count())
		}
		// 3 + 5/0.7 calls a second, if no slot is ever free.
		near(t, "all done", time.Since(began), 19*time.Second, 2*time.Second)
		r.empty()
	})
}

// TestWeightedRoundRobin: shares are exact where there is room.
func TestWeightedRoundRobin(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		p := []*script{{}, {}, {}}
		r := start(t, setup{dir: dir, strategy: "weighted_round_robin", pools: []pool{
			{name: "a", weight: 5, concurrency: 1000, provider: p[0]}, {name: "b", weight: 3, concurrency: 1000, provider: p[1]},
			{name: "c", weight: 1, concurrency: 1000, provider: p[2]}}})
		r.allSucceed(r.flood(wire.Standard, 450, chat))
		if p[0].count() != 250 || p[1].count() != 150 || p[2].count() != 50 {
			t.Errorf("%d, %d, %d calls, want 250, 150, 50", p[0].count(), p[1].count(), p[2].count())
		}
	})
}

func TestRoundRobin(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		p := []*script{{}, {}, {}}
		r := start(t, setup{dir: dir, strategy: "round_robin", pools: []pool{
			{name: "a", concurrency: 1000, provider: p[0]}, {name: "b", concurrency: 1000, provider: p[1]}, {name: "c", concurrency: 1000, provider: p[2]}}})
		r.allSucceed(r.flood(wire.Standard, 300, chat))
		for i := range p {
			if p[i].count() != 100 {
				t.Errorf("pool %d: %d calls, want 100", i, p[i].count())
			}
		}
	})
}

// TestLeastConnections: a slow pool gets what it can do, and does not hold up
// the rest.
func TestLeastConnections(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		fast, slow := always(reply{delay: 100 * time.Millisecond}), always(reply{delay: time.Second})
		r := start(t, setup{dir: dir, pools: []pool{{name: "fast", concurrency: 4, provider: fast}, {name: "slow", concurrency: 4, provider: slow}}})
		began := time.Now()
		r.allSucceed(r.flood(wire.Standard, 220, chat))
		if share := float64(fast.count()) / float64(slow.count()); share < 7 || share > 13 {
			t.Errorf("%d fast and %d slow calls, want about 10 to 1", fast.count(), slow.count())
		}
		near(t, "all done", time.Since(began), 5*time.Second, 3*time.Second) // 44 a second at best
	})
}

// TestBatchDoesNotBury: an interactive job that comes after 5,000 batch jobs
// is the next to run.
func TestBatchDoesNotBury(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		p := always(reply{delay: time.Second})
		r := start(t, setup{dir: dir, pools: []pool{{name: "a", concurrency: 8, provider: p}}})
		r.dispatcher("d2")
		r.flood(wire.Batch, 5000, chat)
		time.Sleep(5 * time.Second)
		for range 3 {
			began := time.Now()
			res := r.result(r.publish(chat))
			near(t, "interactive answer", res.At.Sub(began), time.Second, time.Second+50*time.Millisecond) // a call of a second, and a look or two
			began = time.Now()
			res = r.result(r.publishAs(wire.Standard, chat))
			near(t, "standard answer", res.At.Sub(began), time.Second, time.Second+50*time.Millisecond) // a call of a second, and a look or two
		}
		if p.atOnce() != 8 {
			t.Errorf("%d calls at once, want 8", p.atOnce())
		}
	})
}

// TestFullRouteDoesNotBlock: far more blocked jobs of one route than a
// dispatcher holds in memory stand before a job of a free route, in the same
// class. They are parked, and lose neither their order nor themselves.
func TestFullRouteDoesNotBlock(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		slow, free := always(reply{delay: time.Second}), &script{}
		r := start(t, setup{dir: dir, held: 64, pools: []pool{
			{name: "slow", concurrency: 10, provider: slow, routes: []string{"slow.route"}},
			{name: "free", concurrency: 10, provider: free, routes: []string{"free"}}}})
		ids := r.flood(wire.Standard, 600, routeTo("slow.route"))
		for range 3 {
			time.Sleep(2 * time.Second)
			began := time.Now()
			r.allSucceed(r.flood(wire.Standard, 20, routeTo("free")))
			near(t, "free route", time.Since(began), 0, 500*time.Millisecond)
		}
		r.allSucceed(ids)
		if slow.count() != 600 {
			t.Errorf("%d calls for 600 jobs", slow.count())
		}
		late := 0
		for i, id := range ids { // 10 a second, in order
			at := r.history(id)[0].Entry
			want := time.Duration(i/10) * time.Second
			if d := time.Duration(at.Attempt.QueueMS) * time.Millisecond; d > want+15*time.Second {
				late++
			}
		}
		if late > 0 {
			t.Errorf("%d jobs were overtaken by more than 15 s of later ones", late)
		}
		r.empty()
	})
}

// TestParkedJobs: parked jobs can be found, cancelled and survive a restart.
func TestParkedJobs(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		slow, free := always(reply{delay: time.Second}), &script{}
		s := setup{dir: dir, held: 64, pools: []pool{
			{name: "slow", concurrency: 4, provider: slow, routes: []string{"slow.route"}},
			{name: "free", provider: free, routes: []string{"free"}}}}
		r := start(t, s)
		ids := r.flood(wire.Standard, 300, routeTo("slow.route"))
		auto := r.publishAs(wire.Standard, routeTo("slow.route"))
		r.allSucceed([]string{r.publishAs(wire.Standard, routeTo("free"))})
		time.Sleep(3 * time.Second)
		if n := r.parked(); n < 100 {
			t.Fatalf("%d jobs are parked, want most of 300", n)
		}
		last := ids[len(ids)-1]
		for _, id := range []string{last, auto} {
			if a := r.status(id); a.Status != wire.Queued || a.Route != "slow.route" {
				t.Errorf("status of parked %s: %+v", id, a)
			}
		}
		if a := ask[wire.Answer](r, r.subj.Cancel("other", last), ""); a.Error == nil {
			t.Errorf("another tenant's cancel: %+v", a)
		}
		for _, id := range []string{last, auto} {
			if a := r.cancelJob(id); a.Status != wire.Cancelled {
				t.Errorf("cancel of parked %s: %+v", id, a)
			}
		}
		r.stop()
		r = start(t, s)
		r.allSucceed(ids[:len(ids)-1])
		for _, id := range []string{last, auto} {
			if got := r.steps(id); got != "cancelled" {
				t.Errorf("%s: %q", id, got)
			}
		}
		if n := slow.count(); n < 299 || n > 303 {
			t.Errorf("%d calls for 299 jobs, want at most 4 repeated", n)
		}
		time.Sleep(time.Minute)
		r.empty()
	})
}

// parked is how many jobs are on the backlog's subjects.
func (r *rig) parked() int {
	r.t.Helper()
	s, err := r.js.Stream(r.t.Context(), r.subj.Stream(wire.StreamJobs))
	if err != nil {
		r.t.Fatal(err)
	}
	n := 0
	for c := range s.ListConsumers(r.t.Context()).Info() {
		if len(c.Name) > 8 && c.Name[:8] == "backlog_" {
			n += int(c.NumPending) + c.NumAckPending
		}
	}
	return n
}

// TestRoutersLookBeforeTheyPlace: jobs come one at a time, to one router after
// the other. Each sees what the others have placed meanwhile, so that the jobs
// are spread as one router would spread them.
func TestRoutersLookBeforeTheyPlace(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		slow := func() *script { return always(reply{delay: time.Hour}) }
		s := setup{dir: dir, bare: true}
		for i := range 6 {
			s.pools = append(s.pools, pool{name: fmt.Sprintf("p%d", i), concurrency: 4, provider: slow()})
		}
		r := start(t, s)
		for i := range 4 {
			r.router(fmt.Sprintf("r%d", i), nil)
		}
		r.serve("w1", "p0", "p1", "p2", "p3", "p4", "p5")
		time.Sleep(10 * time.Second) // they know of each other
		for n := range 12 {
			r.publish(chat)
			time.Sleep(50 * time.Millisecond)
			most, least := 0, 99
			for _, p := range r.setup.pools {
				c := p.provider.(*script).count()
				most, least = max(most, c), min(least, c)
			}
			if most-least > 1 {
				t.Fatalf("after %d jobs one pool has %d and another %d", n+1, most, least)
			}
		}
	})
}
