package gateway

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
)

// writeCertificate makes a self-signed pair for 127.0.0.1 with a serial
// number, as files of an age.
func writeCertificate(t *testing.T, dir string, serial int64, age time.Duration) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "sluice"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, b := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: pkcs8}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(b), 0o600); err != nil {
			t.Fatal(err)
		}
		at := time.Now().Add(-age)
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

func TestTLS(t *testing.T) {
	dir := t.TempDir()
	cert, key := writeCertificate(t, dir, 1, time.Hour)
	pair, err := LoadCertificate(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	b := newBroker(t, t.TempDir(), answer(completion("x"), opening, delta("a"), closing, doneSSE))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var serving sync.WaitGroup
	g := New(b.config(func(c *Config) { c.TLS = pair }))
	serving.Go(func() {
		if err := g.Serve(ctx, l); err != nil {
			t.Error(err)
		}
	})
	defer serving.Wait()
	defer stop()
	for _, http2 := range []bool{false, true} {
		tr := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: http2}
		res, err := (&http.Client{Transport: tr}).Post("https://"+l.Addr().String()+"/v1/chat/completions", "application/json", strings.NewReader(streamBody))
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		if err != nil || !strings.HasSuffix(string(body), "[DONE]\n\n") || res.ProtoMajor == 2 != http2 {
			t.Errorf("HTTP/2 %v: %s %q, %v", http2, res.Proto, body, err)
		}
		_ = res.Body.Close()
		tr.CloseIdleConnections()
	}
	// A new pair is served without a restart; a broken one never.
	serial := func() int64 {
		pair.mu.Lock()
		pair.looked = time.Time{} // as if a second had passed
		pair.mu.Unlock()
		c, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		return c.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
	}
	if err := os.WriteFile(key, []byte("broken"), 0o600); err != nil || serial() != 1 {
		t.Errorf("with a broken key: %v", err)
	}
	writeCertificate(t, dir, 2, 0)
	if got := serial(); got != 2 {
		t.Errorf("after a renewal: certificate %d", got)
	}
	if _, err := LoadCertificate(cert, cert); err == nil {
		t.Error("a bad pair is taken at the start")
	}
}

func TestOriginsThatMayAsk(t *testing.T) {
	b := newBroker(t, t.TempDir(), answer(completion("x")))
	f := b.newFront(func(c *Config) { c.Origins = []string{"https://app.example.com"} })
	for _, c := range []struct {
		origin  string
		status  int // of a request
		allowed bool
	}{{"https://app.example.com", 200, true}, {"https://evil.example", 403, false}, {"http://app.example.com", 403, false}, {"", 200, false}} {
		head := []string{"Sec-Fetch-Site", "cross-site", "Origin", c.origin}
		if c.origin == "" {
			head = nil
		}
		r := f.post("/v1/chat/completions", chatBody, head...)
		if r.status != c.status || (r.header.Get("Access-Control-Allow-Origin") == c.origin) != (c.allowed || c.origin == "") {
			t.Errorf("%q: %d %v", c.origin, r.status, r.header)
		}
		ask := f.do(t.Context(), http.MethodOptions, "/v1/chat/completions", "", "Origin", c.origin,
			"Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "authorization")
		if got := ask.status == 204 && ask.header.Get("Access-Control-Allow-Headers") == "authorization"; got != c.allowed {
			t.Errorf("%q asks first: %d %v", c.origin, ask.status, ask.header)
		}
	}
	if g := New(Config{Origins: []string{"app.example.com"}}); g.fault == nil || !strings.Contains(g.fault.Error(), "app.example.com") {
		t.Errorf("a bad origin: %v", g.fault)
	}
	// Off unless configured.
	if r := b.newFront().do(t.Context(), http.MethodOptions, "/v1/models", "", "Origin", "https://app.example.com",
		"Access-Control-Request-Method", "GET"); r.status == 204 || r.header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("without origins: %d %v", r.status, r.header)
	}
}

// A client that waits may be given a deadline by the gateway; one that names
// its own, or does not wait, is not.
func TestDeadlineOfTheGateway(t *testing.T) {
	b := newBroker(t, t.TempDir(), answer(completion("x")))
	f := b.newFront(func(c *Config) { c.Deadline = time.Minute })
	for _, c := range []struct {
		head []string
		want time.Duration
	}{{nil, time.Minute}, {[]string{"Sluice-Deadline", "5m"}, 5 * time.Minute}, {[]string{"Sluice-Keep", "true"}, 0}} {
		before := time.Now()
		if r := f.post("/v1/chat/completions", chatBody, c.head...); r.status != 200 {
			t.Fatalf("%v: %d %s", c.head, r.status, r.body)
		}
		got := b.newest().Deadline
		if c.want == 0 && got != 0 || c.want != 0 && (time.Unix(0, got).Sub(before)-c.want).Abs() > 10*time.Second {
			t.Errorf("%v: deadline %d", c.head, got)
		}
	}
}

// A Go server that answers before it has read the body may cut its own answer
// off; here the whole body is read first (I1), and no stream is ever cut.
// SLUICE_TEST_STREAMS=100000 is the long form.
func TestNoStreamIsCut(t *testing.T) {
	const parallel = 32
	streams := int64(1000)
	if n, err := strconv.ParseInt(os.Getenv("SLUICE_TEST_STREAMS"), 10, 64); err == nil && n > 0 {
		streams = n
	}
	chunks := []string{opening}
	for range 20 {
		chunks = append(chunks, delta("word"))
	}
	chunks = append(chunks, closing, doneSSE)
	b := newBroker(t, t.TempDir(), answer(completion("x"), chunks...))
	f := b.newFront()
	want := sse(chunks...)
	body := strings.Replace(streamBody, "hi", strings.Repeat("long ", 20_000), 1) // more than the server's buffers
	var cut, next atomic.Int64
	var all sync.WaitGroup
	for range parallel {
		all.Go(func() {
			for next.Add(1) <= streams {
				res, err := f.Client().Post(f.URL+string(wire.ChatCompletions), "application/json", strings.NewReader(body))
				if err != nil {
					cut.Add(1)
					continue
				}
				got, err := io.ReadAll(res.Body)
				_ = res.Body.Close()
				if err != nil || string(got) != want {
					cut.Add(1)
				}
			}
		})
	}
	all.Wait()
	if n := cut.Load(); n != 0 {
		t.Errorf("%d of %d streams were cut", n, streams)
	}
}

// A client that does not read holds up neither its job's worker nor others.
func TestSlowClientHoldsNobodyUp(t *testing.T) { // I5
	done := make(chan struct{})
	big := delta(strings.Repeat("x", 64<<10))
	b := newBroker(t, t.TempDir(), func(b *broker, job wire.Job) {
		if job.Affinity != "slow" {
			answer(completion("x"))(b, job)
			return
		}
		b.claim(job, 1)
		for i := range 400 { // far more than the sockets hold
			b.chunks(job, 1, i, false, big)
		}
		b.chunks(job, 1, 400, true, doneSSE)
		b.succeed(job, 1, completion("x"))
		close(done)
	})
	f := b.newFront()
	res, _, _ := f.open("/v1/chat/completions", streamBody, "Sluice-Affinity", "slow")
	if res.StatusCode != 200 {
		t.Fatal(res.Status)
	}
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatal("the worker waits for the client")
	}
	if r := f.post("/v1/chat/completions", chatBody); r.status != 200 {
		t.Errorf("another client: %d %s", r.status, r.body)
	}
}
