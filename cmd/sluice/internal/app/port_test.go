package app

import (
	"net"
	"testing"
)

// TestAnyPort: port 0 becomes one that is free, another stays, and what is no
// address is an error.
func TestAnyPort(t *testing.T) {
	addr, err := anyPort("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if _, port, _ := net.SplitHostPort(addr); port == "0" {
		t.Errorf("port 0 became %s", addr)
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatalf("nobody can listen at %s: %v", addr, err)
	}
	defer func() { _ = l.Close() }()
	if same, err := anyPort(addr); err != nil || same != addr {
		t.Errorf("%s became %s (%v), although it is taken", addr, same, err)
	}
	for _, bad := range []string{"", "127.0.0.1", "nowhere.invalid:0"} {
		if got, err := anyPort(bad); err == nil {
			t.Errorf("%q became %s", bad, got)
		}
	}
}
