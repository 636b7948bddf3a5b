package engine

import (
	"net"
	"net/http"
	"time"
)

// newTransport is a pooled transport for one provider. It does not follow
// redirects (a RoundTripper never does), so a key goes to no other host; and
// it does not ask for compression, which would hold back a stream's events.
func newTransport() *http.Transport {
	dialer := &net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            dialer.DialContext,
		ForceAttemptHTTP2:      true,
		MaxIdleConnsPerHost:    1024,
		IdleConnTimeout:        60 * time.Second,
		TLSHandshakeTimeout:    10 * time.Second,
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: 256 << 10,
		DisableCompression:     true,
		ReadBufferSize:         16 << 10,
		WriteBufferSize:        16 << 10,
	}
}
