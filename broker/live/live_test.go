package live

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sluicehq/sluice/broker/natsd/natstest"
	"github.com/sluicehq/sluice/broker/topology"
	"github.com/sluicehq/sluice/sdk/wire"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// ended is the record of a job whose only attempt ended so.
func ended(job, pool string, status wire.Status, latency int64, cost *wire.NanoUSD) *wire.Record {
	a := &wire.Attempt{N: 1, Pool: pool, Provider: "simulated", Model: "m", Status: status, LatencyMS: latency, TTFTMS: latency / 4,
		Usage: wire.Usage{Input: 10, Output: 20}, Cost: cost,
		Decision: &wire.Decision{Route: "chat", Pool: pool, Model: "m", Candidates: []wire.Candidate{{Pool: pool, Model: "m"}, {Pool: "x", Model: "m", Excluded: "full"}}}}
	rec := &wire.Record{Status: status, Entry: wire.Entry{Attempt: a, Meta: wire.Meta{ID: job, Tenant: "acme", Class: wire.Standard, Route: "chat", Endpoint: wire.ChatCompletions, SubmittedAt: 1}}}
	rec.Entry.Progress.Add(a)
	return rec
}

func TestSnapshot(t *testing.T) {
	var m Meter
	cents := wire.NanoUSD(500)
	at := noon
	for i := range 300 { // ten a second, for 30 seconds
		at = noon.Add(time.Duration(i) * 100 * time.Millisecond)
		status, cost := wire.Succeeded, &cents
		switch i % 10 {
		case 3:
			status, cost = wire.Failed, nil
		case 4:
			status = wire.Cancelled
		}
		m.Add(at, ended(fmt.Sprint("j", i), []string{"a", "b"}[i%2], status, int64(100+i), cost).Encode())
	}
	shadow := ended("s", "a", wire.Succeeded, 5000, &cents)
	shadow.Entry.Meta.Shadow = "j1"
	m.Add(at, shadow.Encode())
	claim := ended("c", "a", "", 0, nil)
	claim.Status = wire.Running
	m.Add(at, claim.Encode())
	m.Add(at, map[string][]string{wire.HeaderStatus: {"succeeded"}, wire.HeaderEntry: {"{nonsense"}})
	s := m.Snapshot(noon.Add(30 * time.Second))
	if s.Total.Attempts != 10 || s.Total.Jobs != 10 || s.Total.Tokens != 200 || s.Total.Ended != 270 || s.Total.Failed != 30 || s.Total.Unknown != 30 ||
		s.Total.Spend != 271*500 || math.Abs(s.Total.Success-240.0/270) > 1e-9 {
		t.Errorf("total %+v", s.Total)
	}
	if p := s.Total.Latency; p.P50 < 230 || p.P50 > 270 || p.P99 < 370 || p.P99 > 420 || s.Total.TTFT.P95 < 85 || s.Total.TTFT.P95 > 105 {
		t.Errorf("latency %+v, first token %+v", p, s.Total.TTFT)
	}
	if len(s.Pools) != 2 || s.Pools[0].Name != "a" || s.Pools[0].Attempts != 5 || len(s.Routes) != 1 || s.Routes[0].Jobs != 10 {
		t.Errorf("pools %+v, routes %+v", s.Pools, s.Routes)
	}
	if len(s.Recent) != recent || s.Recent[0].Job != "s" || s.Recent[1].Job != "j299" || s.Recent[recent-1].Job != fmt.Sprint("j", 300-recent+1) ||
		s.Recent[1].Candidates != 2 || s.Recent[1].Excluded != 1 {
		t.Errorf("recent %+v", s.Recent[:2])
	}
	if s = m.Snapshot(noon.Add(50 * time.Second)); s.Total.Attempts != 0 || s.Total.Ended == 0 {
		t.Errorf("after a pause: %+v", s.Total)
	}
	if s = m.Snapshot(noon.Add(2 * time.Minute)); s.Total.Ended != 0 || s.Total.Success != -1 || len(s.Pools) != 0 {
		t.Errorf("two minutes later: %+v", s)
	}
}

// What the ledger stores is heard, of one tenant only where that is asked.
func TestFollow(t *testing.T) {
	js := natstest.JetStream(t, t.TempDir())
	nc := js.Conn()
	var subjects wire.Subjects
	if err := topology.Ensure(t.Context(), js, topology.Config{Subjects: subjects}); err != nil {
		t.Fatal(err)
	}
	all, stop, err := Follow(nc, subjects, "*")
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	other, stopOther, err := Follow(nc, subjects, "globex")
	if err != nil {
		t.Fatal(err)
	}
	defer stopOther()
	rec := ended("j", "a", wire.Succeeded, 10, nil)
	if _, err := js.PublishMsg(t.Context(), &nats.Msg{Subject: subjects.Ledger("acme", "j"), Header: rec.Encode()}); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); all.Snapshot(time.Now()).Total.Ended == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the record is not heard")
		}
	}
	if n := other.Snapshot(time.Now()).Total.Ended; n != 0 {
		t.Errorf("another tenant hears %d", n)
	}
}
