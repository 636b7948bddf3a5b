package wire

import (
	"bytes"
	"testing"
)

func FuzzPackEvents(f *testing.F) {
	f.Add([]byte("one|two||x"), "3 3 0 1")
	f.Add([]byte(""), "")
	f.Add([]byte("|"), "0 0")
	f.Add([]byte("abc"), "-1 4")
	f.Fuzz(func(t *testing.T, text []byte, sizes string) {
		events := bytes.Split(text, []byte("|"))
		body, list := PackEvents(events)
		got, ok := UnpackEvents(list, body)
		if !ok || len(got) != len(events) || PackedEvents(list) != len(events) {
			t.Fatalf("%q packed to %q of %q, and back to %q, %v", events, list, body, got, ok)
		}
		for i := range got {
			if !bytes.Equal(got[i], events[i]) {
				t.Errorf("event %d is %q, was %q", i, got[i], events[i])
			}
		}
		if got, ok := UnpackEvents(sizes, text); ok && (!bytes.Equal(bytes.Join(got, nil), text) || len(got) != PackedEvents(sizes)) {
			t.Errorf("%q by %q is %q", text, sizes, got)
		}
	})
}

func TestUnpackEventsRefuses(t *testing.T) {
	for _, sizes := range []string{"2", "4", "1 1", "1  2", "1 2 ", " 3", "-1 4", "1 18446744073709551615 2", "a", "3,0", "+3"} {
		if got, ok := UnpackEvents(sizes, []byte("abc")); ok {
			t.Errorf("3 bytes by %q are %q", sizes, got)
		}
	}
}
