package storetest

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
)

// Native is a server of ClickHouse's native protocol (TCP) before the real
// engine, which has none: it hands statements and the blocks of inserts to the
// engine's HTTP endpoint and its answers back, so that clickhouse-go runs over
// clickhouse:// as it is. What stands in columns is the engine's own, byte by
// byte; packets are those of a server (ch-go's proto). Query parameters,
// settings, compression, exceptions, progress and cancel are there; external
// tables and logs are not.
type Native struct {
	// Inserts, Compressed and Cancelled count inserts by blocks, queries that
	// asked for compressed blocks, and queries that clients cancelled.
	Inserts, Compressed, Cancelled atomic.Int64
	// Mute makes it read and answer nothing, as a server that hangs.
	Mute atomic.Bool

	upstream string
	ln       net.Listener
	client   *http.Client
	version  [3]int
	timezone string
	served   chan struct{}
	mu       sync.Mutex
	conns    map[net.Conn]bool // nil once it is closed
}

// Front starts a native server at listen (127.0.0.1:0 for any port) before the
// engine's HTTP endpoint at upstream; secret is the password of default. With
// a certificate it speaks TLS. Close it.
func Front(listen, upstream, secret string, cert *tls.Config) (*Native, error) {
	ln, err := net.Listen("tcp", listen)
	if err != nil {
		return nil, err
	}
	if cert != nil {
		ln = tls.NewListener(ln, cert)
	}
	n := &Native{upstream: upstream, ln: ln, client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}},
		conns: map[net.Conn]bool{}, served: make(chan struct{})}
	var row struct{ Data [][]string }
	if err := n.ask(context.Background(), statement{user: "default", password: secret, sql: "SELECT version(), timezone() FORMAT JSONCompact"}, &row); err != nil {
		return nil, errors.Join(err, ln.Close())
	}
	if _, err := fmt.Sscanf(row.Data[0][0], "%d.%d.%d", &n.version[0], &n.version[1], &n.version[2]); err != nil {
		return nil, errors.Join(err, ln.Close())
	}
	n.timezone = row.Data[0][1]
	go func() {
		defer close(n.served) // Close waits for it
		n.accept()
	}()
	return n, nil
}

// Addr is where it listens.
func (n *Native) Addr() string { return n.ln.Addr().String() }

// Drop cuts every connection, as a restart of a server would.
func (n *Native) Drop() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for c := range n.conns {
		_ = c.Close()
	}
}

// Close stops it, and waits until nothing of it runs.
func (n *Native) Close() {
	_ = n.ln.Close()
	n.mu.Lock()
	for c := range n.conns {
		_ = c.Close()
	}
	n.conns = nil
	n.mu.Unlock()
	<-n.served
	n.client.CloseIdleConnections()
}

func (n *Native) accept() {
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		conn, err := n.ln.Accept()
		if err != nil {
			return
		}
		n.mu.Lock()
		if n.conns == nil {
			_ = conn.Close()
		} else {
			n.conns[conn] = true
			wg.Go(func() {
				newSession(n, conn).serve()
				_ = conn.Close()
				n.mu.Lock()
				delete(n.conns, conn)
				n.mu.Unlock()
			})
		}
		n.mu.Unlock()
	}
}

// statement is what goes to the engine.
type statement struct {
	user, password, database string
	sql                      string
	values                   url.Values // settings and parameters
	body                     io.Reader  // of an insert
}

// send runs a statement. An exception of the engine is an *exception; every
// other error means that the engine is not there.
func (n *Native) send(ctx context.Context, st statement) (*http.Response, error) {
	values := url.Values{"default_format": {"Native"}}
	for k, v := range st.values {
		values[k] = v
	}
	if st.database != "" {
		values.Set("database", st.database)
	}
	body := st.body
	if body == nil {
		body = strings.NewReader(st.sql)
	} else {
		values.Set("query", st.sql)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+n.upstream+"/?"+values.Encode(), body)
	if err != nil {
		return nil, err
	}
	req.SetBasicAuth(st.user, st.password)
	resp, err := n.client.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	return nil, asException(resp.Header.Get("X-ClickHouse-Exception-Code"), string(text))
}

// ask runs a statement whose answer is JSON, into v, or of no interest.
func (n *Native) ask(ctx context.Context, st statement, v any) error {
	resp, err := n.send(ctx, st)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || v == nil {
		return err
	}
	return json.NewDecoder(bytes.NewReader(text)).Decode(v)
}
