package fleet

import (
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/sluicehq/sluice/broker/peek"
)

// TestAuditPeak: what is paid and held at once is added up as it was, whatever
// comes in between: copies, repeats, candidates that change, and gaps.
func TestAuditPeak(t *testing.T) {
	hold := func(job string, sub, n, usd int) string {
		return fmt.Sprintf(`{"j":{"t":"acme","i":%q,"s":%d},"a":%d,"c":{"f":{"p":"quick"},"at":1,"$":%d}}`, job, sub, n, usd)
	}
	other := `{"j":{"t":"acme","i":"x","s":9},"a":1,"c":{"f":{"p":"cheap"},"at":1,"$":1000}}`
	end := func(at int, job string, sub uint64, n int, key string, terminal bool) ending {
		return ending{at: time.Unix(int64(at), 0), job: job, seq: sub, n: n, key: key, terminal: terminal}
	}
	type msg struct {
		seq, at int
		state   bool
		text    string
	}
	taken := func(seq, at int, holds ...string) msg {
		text := `{"by":"r1","holds":[`
		for i, h := range holds {
			if i > 0 {
				text += ","
			}
			text += h
		}
		return msg{seq, at, false, text + "]}"}
	}
	state := func(seq, at int, holds string) msg {
		return msg{seq, at, true, `{"v":1,"log":1,"holds":[` + holds + `]}`}
	}
	for name, c := range map[string]struct {
		msgs []msg
		ends []ending
		want int64
		gaps int
	}{
		"two at once":            {[]msg{taken(1, 1, hold("a", 1, 1, 60)), taken(2, 2, hold("b", 2, 1, 50), other)}, nil, 110, 0},
		"one after the other":    {[]msg{taken(1, 1, hold("a", 1, 1, 60)), taken(2, 3, hold("b", 2, 1, 50))}, []ending{end(2, "a", 1, 1, "ka", true)}, 60, 0},
		"what was paid stays":    {[]msg{taken(1, 1, hold("a", 1, 1, 60)), taken(2, 3, hold("b", 2, 1, 55))}, []ending{end(2, "a", 1, 1, "ka", true)}, 62, 0},
		"the same again":         {[]msg{taken(1, 1, hold("a", 1, 1, 60)), taken(2, 2, hold("a", 1, 1, 50)), taken(3, 3, hold("a", 1, 1, 70))}, nil, 70, 0},
		"an attempt, then more":  {[]msg{taken(1, 1, hold("a", 1, 1, 60)), taken(2, 3, hold("a", 1, 2, 60))}, []ending{end(2, "a", 1, 1, "ka", false)}, 67, 0},
		"a copy that cannot run": {[]msg{taken(1, 1, hold("a", 1, 1, 60)), taken(2, 2, hold("a", 5, 1, 60))}, []ending{end(3, "a", 1, 1, "ka", true)}, 60, 0},
		"after its end":          {[]msg{taken(1, 3, hold("a", 1, 1, 60))}, []ending{end(2, "a", 1, 0, "", true)}, 0, 0},
		"a state says nothing":   {[]msg{taken(1, 1, hold("a", 1, 1, 60)), state(2, 2, ""), taken(3, 3, hold("b", 2, 1, 50))}, nil, 110, 0},
		"a state after a gap": {[]msg{taken(1, 1, hold("a", 1, 1, 60)), state(9, 2, `{"j":{"t":"acme","i":"c","s":3},"a":1,"s":4,"at":1,"c":[{"f":{"p":"quick"},"at":1,"$":30}]}`),
			taken(10, 3, hold("b", 2, 1, 50))}, nil, 80, 1},
	} {
		a := &audit{budget: "quick", by: map[string]bool{}}
		for _, m := range c.msgs {
			stored := "sluice.holds.taken"
			if m.state {
				stored = "sluice.holds.state"
			}
			a.take(&peek.Message{Msg: &nats.Msg{Data: []byte(m.text)}, Stored: stored, Seq: uint64(m.seq), At: time.Unix(int64(m.at), 0)}, "sluice.holds.state")
		}
		if got := a.peak(c.ends, map[string]int64{"ka": 7}); got != c.want || a.Gaps != c.gaps {
			t.Errorf("%s: at most %d paid and held, %d gaps; want %d and %d", name, got, a.Gaps, c.want, c.gaps)
		}
	}
}
