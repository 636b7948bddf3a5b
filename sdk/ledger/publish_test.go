package ledger

import (
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
)

func TestReadAck(t *testing.T) {
	for _, c := range []struct {
		name, data, status string
		seq                uint64
		err                string
	}{
		{"stored", `{"stream":"SLUICE_WORK","seq":42}`, "", 42, ""},
		{"duplicate", `{"stream":"S","seq":7,"duplicate":true}`, "", 7, ""},
		{"other order", `{"seq":18446744073709551615,"stream":"S","domain":"d"}`, "", 1<<64 - 1, ""},
		{"refused", `{"error":{"code":400,"err_code":10071,"description":"wrong last sequence: 5"},"stream":"S","seq":0}`, "", 0, "wrong last sequence: 5 (10071)"},
		{"no stream", ``, "503", 0, "no stream"},
		{"empty", ``, "", 0, "without a sequence"},
		{"garbage", `nonsense`, "", 0, "without a sequence"},
		{"strange", `{"stream":"S","seq":"x"}`, "", 0, "strange sequence"},
	} {
		m := &nats.Msg{Data: []byte(c.data), Header: nats.Header{}}
		if c.status != "" {
			m.Header.Set("Status", c.status)
		}
		a, plain, err := readAck(m)
		if seq := a.seq; seq != c.seq || plain != (c.name == "stored" || c.name == "other order") || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: got %d, %v, %v; want %d, %q", c.name, a.seq, plain, err, c.seq, c.err)
		}
	}
}

func FuzzReadAck(f *testing.F) {
	f.Add([]byte(`{"stream":"S","seq":42}`))
	f.Add([]byte(`{"error":{"err_code":1}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		a, plain, err := readAck(&nats.Msg{Data: data})
		if (a.seq == 0) == (err == nil) || plain && err != nil {
			t.Errorf("%q: sequence %d, %v and error %v", data, a.seq, plain, err)
		}
	})
}

// answer is what a stream says to the last message of a publisher's slot.
func answer(f *Future, data string) {
	f.p.acknowledged(&nats.Msg{Subject: f.slot.reply, Data: []byte(data)})
}

func ended(f *Future) bool {
	select {
	case <-f.Done():
		return true
	default:
		return false
	}
}

// A subject is used again, and an answer that comes twice does not pass for
// that of the next message.
func TestPublisherSlots(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		p := NewPublisher(w.js.Conn())
		send := func() *Future {
			f, err := p.expect()
			if err != nil {
				t.Fatal(err)
			}
			return f
		}
		first := send()
		answer(first, `{"stream":"A","seq":7}`)
		second := send()
		if second.slot != first.slot {
			t.Fatal("the subject was not used again")
		}
		third := send()
		if third.slot == second.slot {
			t.Fatal("two messages wait at one subject")
		}
		for _, again := range []string{`{"stream":"A","seq":7}`, `{"stream":"A","seq":3}`} {
			if answer(second, again); ended(second) {
				t.Fatalf("%s was taken for the next message's", again)
			}
		}
		answer(second, `{"stream":"B","seq":2}`) // streams count for themselves
		if seq, err := second.Result(); !ended(second) || seq != 2 || err != nil {
			t.Fatalf("stored at %d, %v", seq, err)
		}
		for name, last := range map[string]func(f *Future){
			"refused":     func(f *Future) { answer(f, `{"error":{"err_code":10071},"seq":0}`) },
			"a duplicate": func(f *Future) { answer(f, `{"stream":"A","seq":5,"duplicate":true}`) },
			"forgotten":   func(f *Future) { f.Forget() },
		} {
			f := send()
			last(f)
			if name != "forgotten" && !ended(f) {
				t.Errorf("%s: not answered", name)
			}
			for range 3 {
				if g := send(); g.slot.token == f.slot.token {
					t.Errorf("%s: a late answer could be taken for another message's", name)
				}
			}
			answer(f, `{"stream":"A","seq":9}`) // nobody waits
		}
	})
}
