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
		seq, err := readAck(m)
		if seq != c.seq || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: got %d, %v; want %d, %q", c.name, seq, err, c.seq, c.err)
		}
	}
}

func FuzzReadAck(f *testing.F) {
	f.Add([]byte(`{"stream":"S","seq":42}`))
	f.Add([]byte(`{"error":{"err_code":1}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		seq, err := readAck(&nats.Msg{Data: data})
		if (seq == 0) == (err == nil) {
			t.Errorf("%q: sequence %d and error %v", data, seq, err)
		}
	})
}
