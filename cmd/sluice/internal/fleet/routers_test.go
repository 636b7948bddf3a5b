package fleet

import (
	"fmt"
	"testing"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
)

// troubled makes the lives of jobs at the pace of the measurement: slow from
// troubleFrom for so long, and without provider b for so long after its end.
func troubled(begin time.Time, slow, away time.Duration) map[string]*life {
	lives := map[string]*life{}
	for i := 0; ; i++ {
		at := time.Duration(float64(i) / troubleRate * float64(time.Second))
		if at > troubleEnd {
			return lives
		}
		took, pool := time.Second, string(rune('a'+i%3))
		if at >= troubleFrom && at < troubleFrom+slow && pool == "b" {
			took = 10 * time.Second
		}
		if pool == "b" && at >= troubleFrom && at < troubleUntil+away {
			pool = "a"
		}
		l := &life{submitted: begin.Add(at), started: begin.Add(at), ended: begin.Add(at + took), status: wire.Succeeded}
		l.attempts = []end{{pool: pool, at: l.ended, status: wire.Succeeded}}
		lives[fmt.Sprint(i)] = l
	}
}

// The measurement finds what is there, and misses its bounds when it should.
func TestJudgeTrouble(t *testing.T) {
	begin := time.Now()
	for _, tc := range []struct {
		slow, away time.Duration
		calm, back time.Duration
		bad        bool
	}{
		{0, 0, 0, 2 * time.Second, false},
		{6 * time.Second, 9 * time.Second, 6 * time.Second, 11 * time.Second, false},
		{12 * time.Second, 9 * time.Second, 12 * time.Second, 11 * time.Second, true},
		{0, 60 * time.Second, 0, -1, true},
	} {
		lives := troubled(begin, tc.slow, tc.away)
		v := judgeTrouble(begin, lives)
		if v.calm != tc.calm || v.back != tc.back || v.before != time.Second || (v.err(len(lives)) != nil) != tc.bad {
			t.Errorf("slow for %s, away for %s: %+v, %v", tc.slow, tc.away, v, v.err(len(lives)))
		}
	}
	lives := troubled(begin, 0, 0)
	lives["7"].status = wire.Failed
	if v := judgeTrouble(begin, lives); v.err(len(lives)) == nil {
		t.Error("a job failed, and nobody noticed")
	}
}

func TestQuantile(t *testing.T) {
	var v []time.Duration
	for i := range 200 {
		v = append(v, time.Duration(200-i))
	}
	if a, b, c := quantile(v, .5), quantile(v, .99), quantile(nil, .5); a != 100 || b != 198 || c != 0 {
		t.Errorf("%d %d %d", a, b, c)
	}
}
