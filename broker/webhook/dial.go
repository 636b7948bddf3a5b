package webhook

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"time"
)

// errPrivate is why an address was not dialled.
var errPrivate = errors.New("a private or reserved address (webhooks.allow_private is off)")

// reserved are the networks that are not the public internet, beside those
// that netip knows.
var reserved = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("192.88.99.0/24"), netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("2001::/23"), netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("2002::/16"),
}

// unicast6 is all that is given out of IPv6. Outside of it, IPv4 is written in
// IPv6 in several ways.
var unicast6 = netip.MustParsePrefix("2000::/3")

// public reports whether an address may be called by anybody's wish.
func public(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	if !a.IsGlobalUnicast() || a.IsPrivate() || a.Is6() && !unicast6.Contains(a) {
		return false
	}
	for _, p := range reserved {
		if p.Contains(a) {
			return false
		}
	}
	return true
}

// guard looks at each address when it is dialled: what a name resolved to when
// somebody else asked is of no interest (I2).
func guard(_, address string, _ syscall.RawConn) error {
	a, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("address %q: %w", address, err)
	}
	if !public(a.Addr()) {
		return errPrivate
	}
	return nil
}

// newTransport makes connections to whatever hosts jobs name, so it keeps few
// of them, and never goes through a proxy, whose address would be looked at
// instead.
func newTransport(private bool) *http.Transport {
	d := &net.Dialer{Timeout: 10 * time.Second}
	if !private {
		d.Control = guard
	}
	return &http.Transport{DialContext: d.DialContext, TLSHandshakeTimeout: 10 * time.Second, ResponseHeaderTimeout: time.Minute,
		MaxIdleConns: 64, MaxIdleConnsPerHost: 2, IdleConnTimeout: 30 * time.Second, MaxResponseHeaderBytes: 64 << 10, ForceAttemptHTTP2: true}
}
