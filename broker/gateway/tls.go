package gateway

import (
	"crypto/tls"
	"os"
	"sync"
	"time"
)

// Certificate reads a TLS certificate and its key from PEM files, and again
// whenever a handshake finds them changed, so that a renewed certificate needs
// no restart. While the files are bad the last good pair stays in use. It is
// safe for use from many goroutines.
type Certificate struct {
	cert, key string

	mu     sync.Mutex
	pair   *tls.Certificate
	seen   [2]time.Time // when the files were last changed
	looked time.Time
}

// lookEvery is how often handshakes look at the files.
const lookEvery = time.Second

// LoadCertificate reads the files for the first time.
func LoadCertificate(cert, key string) (*Certificate, error) {
	c := &Certificate{cert: cert, key: key}
	return c, c.load()
}

func (c *Certificate) load() error {
	c.seen = [2]time.Time{changed(c.cert), changed(c.key)}
	pair, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err != nil {
		return err
	}
	c.pair = &pair
	return nil
}

func changed(path string) time.Time {
	info, err := os.Stat(path)
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}

// get is the pair in force; it is for tls.Config.GetCertificate.
func (c *Certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now(); now.Sub(c.looked) >= lookEvery {
		c.looked = now
		if c.seen != [2]time.Time{changed(c.cert), changed(c.key)} {
			_ = c.load() // the last good pair stays
		}
	}
	return c.pair, nil
}
