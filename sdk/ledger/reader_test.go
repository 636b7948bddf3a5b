package ledger

import (
	"testing"
	"time"
)

func TestParseReply(t *testing.T) {
	want := Delivery{Stream: "S", Seq: 7, Delivered: 3, Pending: 2, At: time.Unix(0, 1700000000000000001).UTC()}
	for _, reply := range []string{
		"$JS.ACK.S.C.1.7.3.1700000000000000001.2",
		"$JS.ACK.dom.acct.S.C.1.7.3.1700000000000000001.2",
		"$JS.ACK._.acct.S.C.1.7.3.1700000000000000001.2.rnd",
	} {
		if got, err := ParseReply(reply); err != nil || got != want {
			t.Errorf("%s: %+v, %v", reply, got, err)
		}
	}
	for _, reply := range []string{"", "$JS.ACK.S.C.1.7", "$JS.ACK.S.C.1.x.3.4.5"} {
		if _, err := ParseReply(reply); err == nil {
			t.Errorf("%q gave no error", reply)
		}
	}
}
