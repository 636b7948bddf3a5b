package dispatch

import (
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/sluicehq/sluice/router"
	"github.com/sluicehq/sluice/sdk/wire"
)

func testTable(t *testing.T, pools ...string) *router.Table {
	t.Helper()
	var ps []router.Pool
	var cs []router.CandidateSpec
	for _, p := range pools {
		ps = append(ps, router.Pool{Name: p, Concurrency: 10})
		cs = append(cs, router.CandidateSpec{Pool: p, Model: "m", Weight: 1})
	}
	table, err := router.NewTable(ps, []router.RouteSpec{{Name: "chat", Strategy: "round_robin", Candidates: cs}})
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// TestTally: the depth is the server's count and our own publishes that it
// could not have counted, each once.
func TestTally(t *testing.T) {
	var s wire.Subjects
	table := testTable(t, "a", "b")
	var x tally
	x.reset(table, s)
	want := func(what string, a, b int32) {
		t.Helper()
		if x.load[0].Depth != a || x.load[1].Depth != b {
			t.Errorf("%s: depths %d and %d, want %d and %d", what, x.load[0].Depth, x.load[1].Depth, a, b)
		}
	}
	look := func(last uint64, a, b uint64) {
		x.look(depths{bySubject: map[string]uint64{s.Work("a"): a, s.Work("b"): b}, last: last})
	}
	want("at first", 0, 0)
	look(10, 3, 4)
	want("a look", 3, 4)
	x.sent(0)
	want("sent", 4, 4)
	look(11, 3, 4)
	want("a look before the acknowledgement", 4, 4)
	x.settled(outcome{pool: 0, table: table, seq: 12})
	want("acknowledged", 4, 4)
	look(11, 3, 4)
	want("a look that is older than the publish", 4, 4)
	look(12, 4, 4)
	want("a look that has counted it", 4, 4)
	look(20, 0, 4)
	want("worked off", 0, 4)
	x.sent(1)
	x.settled(outcome{pool: 1, table: table, err: errors.New("refused")})
	want("refused", 0, 4)
	look(20, 0, 4)
	want("a look after the refusal", 0, 4)

	x.sent(0)
	x.reset(testTable(t, "b", "a", "c"), s)
	x.settled(outcome{pool: 0, table: table, seq: 21}) // of the table before
	if x.unacked[0] != 0 || len(x.own) != 0 {
		t.Errorf("a publish by the old table counts in the new one: %+v", x)
	}
}

// TestTallyOracle: against a server that counts for itself, whatever order
// publishes, acknowledgements, work and looks come in. Between looks the
// tally may be above the truth by what was worked off since, never below it.
func TestTallyOracle(t *testing.T) {
	var s wire.Subjects
	table := testTable(t, "a", "b")
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		var x tally
		x.reset(table, s)
		var depth [2]int32 // truth
		var seq uint64
		var unacked []outcome
		var pending depths // a look that was taken and has not arrived
		for step := range 400 {
			switch pool := r.IntN(2); r.IntN(6) {
			case 0, 1: // the message is stored at once, acknowledged later
				x.sent(pool)
				seq++
				depth[pool]++
				unacked = append(unacked, outcome{pool: pool, table: table, seq: seq})
			case 2:
				if len(unacked) > 0 {
					x.settled(unacked[0])
					unacked = unacked[1:]
				}
			case 3:
				depth[pool] = max(depth[pool]-1, 0)
			case 4:
				pending = depths{bySubject: map[string]uint64{s.Work("a"): uint64(depth[0]), s.Work("b"): uint64(depth[1])}, last: seq}
			case 5:
				if pending.bySubject != nil {
					x.look(pending)
					pending = depths{}
				}
			}
			for p := range depth {
				if x.load[p].Depth < depth[p] {
					t.Fatalf("seed %d, step %d: pool %d has %d, the tally says %d", seed, step, p, depth[p], x.load[p].Depth)
				}
			}
		}
		for _, o := range unacked {
			x.settled(o)
		}
		x.look(depths{bySubject: map[string]uint64{s.Work("a"): uint64(depth[0]), s.Work("b"): uint64(depth[1])}, last: seq})
		if x.load[0].Depth != depth[0] || x.load[1].Depth != depth[1] || len(x.own) != 0 {
			t.Fatalf("seed %d: at rest %d and %d, want %v", seed, x.load[0].Depth, x.load[1].Depth, depth)
		}
	}
}
