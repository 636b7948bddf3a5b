package webhook

import (
	"bytes"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"testing"
)

func TestPublic(t *testing.T) {
	for a, want := range map[string]bool{
		"8.8.8.8": true, "1.1.1.1": true, "2606:4700::1111": true,
		"127.0.0.1": false, "10.1.2.3": false, "172.16.0.1": false, "192.168.1.1": false, "169.254.169.254": false, "0.0.0.0": false,
		"100.64.0.1": false, "198.18.0.1": false, "192.0.2.1": false, "224.0.0.1": false, "255.255.255.255": false, "240.0.0.1": false,
		"::1": false, "::": false, "fe80::1%eth0": false, "fd00::1": false, "ff02::1": false, "::ffff:127.0.0.1": false, "::ffff:10.0.0.1": false,
		"64:ff9b::7f00:1": false, "2002:7f00:1::": false, "2001:db8::1": false, "fec0::1": false, "::127.0.0.1": false, "::ffff:0:7f00:1": false, "100::1": false,
	} {
		if got := public(netip.MustParseAddr(a)); got != want {
			t.Errorf("%s: %v", a, got)
		}
	}
}

// The guard sits where the address is dialled, so that a name which resolves
// to something else by then is of no use.
func TestPrivateIsNotDialled(t *testing.T) {
	reached := false
	endpoint := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached = true }))
	defer endpoint.Close()
	u, err := url.Parse(endpoint.URL)
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{u.Host, "localhost:" + u.Port(), "[::ffff:127.0.0.1]:" + u.Port(), "0:" + u.Port(), "2130706433:" + u.Port()} {
		s := New(Config{Secret: "x"})
		target, err := url.Parse("http://" + host + "/in")
		if err != nil {
			t.Fatal(err)
		}
		if _, err = s.call(t.Context(), target, &Delivery{Tenant: "acme"}, "{}"); err == nil || reached {
			t.Errorf("%s: called, %v", host, err)
		}
		if strings.Contains(host, "127.0.0.1") && !errors.Is(err, errPrivate) {
			t.Errorf("%s: %v", host, err)
		}
	}
	s := New(Config{Secret: "x", AllowPrivate: true})
	if status, err := s.call(t.Context(), u, &Delivery{Tenant: "acme"}, "{}"); err != nil || status != 200 || !reached {
		t.Errorf("where it is allowed: %d, %v", status, err)
	}
	if p := newTransport(false).Proxy; p != nil {
		t.Error("a proxy would be dialled in the endpoint's place")
	}
}

// FuzzPublic: an address that any job may name is none of a private network,
// in no spelling and behind no way of writing IPv4 in IPv6.
func FuzzPublic(f *testing.F) {
	for _, a := range []string{"8.8.8.8", "10.0.0.1", "::ffff:10.0.0.1", "fe80::1%eth0", "2606:4700::1111", "64:ff9b::7f00:1", "2002:7f00:1::", "::127.0.0.1", "::ffff:0:7f00:1", "fec0::1", "169.254.169.254"} {
		f.Add(netip.MustParseAddr(a).AsSlice(), "eth0", uint16(443))
	}
	f.Fuzz(func(t *testing.T, raw []byte, zone string, port uint16) {
		a, ok := netip.AddrFromSlice(raw)
		if !ok {
			return
		}
		if a.Is6() {
			a = a.WithZone(zone)
		}
		err := guard("tcp", net.JoinHostPort(a.String(), strconv.Itoa(int(port))), nil)
		if ap, perr := netip.ParseAddrPort(net.JoinHostPort(a.String(), strconv.Itoa(int(port)))); perr == nil && (err == nil) != public(ap.Addr()) {
			t.Fatalf("%s: %v", a, err)
		}
		if err != nil {
			return
		}
		// What is in an IPv6 address where IPv4 may be written: mapped, compatible, translated.
		inside := []netip.Addr{a.Unmap().WithZone("")}
		if b := a.As16(); a.Is6() && !a.Is4In6() && bytes.Count(b[:8], []byte{0}) == 8 {
			inside = append(inside, netip.AddrFrom4([4]byte(b[12:])))
		}
		for _, x := range inside {
			ip := net.IP(x.AsSlice())
			if ip.IsPrivate() || ip.IsLoopback() || ip.IsLinkLocalUnicast() || ip.IsMulticast() || ip.IsUnspecified() || ip.Equal(net.IPv4bcast) {
				t.Fatalf("%s may be called, which leads to %s", a, x)
			}
		}
	})
}
