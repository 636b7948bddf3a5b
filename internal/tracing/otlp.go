package tracing

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// client sends spans by OTLP, as protobuf over HTTP. OpenTelemetry's own does
// the same, but links all of gRPC: twelve megabytes for every process.
type client struct {
	url    string
	header http.Header
	zip    bool
	http   http.Client
}

// newClient follows the variables of OTLP's exporter; see [setting]. An error
// names each that cannot be followed.
func newClient(getenv func(string) string) (*client, error) {
	var faults []error
	bad := func(name, format string, args ...any) {
		faults = append(faults, fmt.Errorf("%s "+format, append([]any{name}, args...)...))
	}
	c := &client{header: http.Header{"Content-Type": {"application/x-protobuf"}}}
	c.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse } // keys go nowhere else
	name, v := setting(getenv, "ENDPOINT")
	u, err := url.Parse(v)
	switch {
	case v == "":
		u = &url.URL{Scheme: "http", Host: "localhost:4318", Path: "/v1/traces"}
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		bad(name, "must be a URL such as http://127.0.0.1:4318") // it may hold a password
		u = new(url.URL)
	case !strings.Contains(name, "TRACES"):
		u = u.JoinPath("v1/traces")
	}
	c.url = u.String()
	if name, v = setting(getenv, "PROTOCOL"); v != "" && v != "http/protobuf" {
		bad(name, "is %.40q: only http/protobuf is spoken (port 4318 of most collectors)", v)
	}
	if name, v = setting(getenv, "COMPRESSION"); v != "" && v != "none" && v != "gzip" {
		bad(name, "is %.40q: it must be gzip or none", v)
	}
	c.zip = v == "gzip"
	name, v = setting(getenv, "TIMEOUT")
	ms, err := strconv.Atoi(v)
	if v != "" && (err != nil || ms <= 0) {
		bad(name, "is %.40q: it must be milliseconds above 0", v)
	}
	c.http.Timeout = 10 * time.Second
	if ms > 0 {
		c.http.Timeout = time.Duration(ms) * time.Millisecond
	}
	name, v = setting(getenv, "HEADERS")
	for pair := range strings.SplitSeq(v, ",") {
		if strings.TrimSpace(pair) == "" {
			continue
		}
		key, value, ok := strings.Cut(pair, "=")
		key = strings.TrimSpace(key)
		value, err := url.PathUnescape(strings.TrimSpace(value))
		if !ok || err != nil || key == "" {
			bad(name, "must be name=value pairs with commas between") // they may be keys
			break
		}
		c.header.Set(key, value)
	}
	for _, s := range []string{"CERTIFICATE", "CLIENT_CERTIFICATE", "CLIENT_KEY"} {
		if name, v = setting(getenv, s); v != "" {
			bad(name, "is not followed: the system's certificates count (SSL_CERT_FILE)")
		}
	}
	return c, errors.Join(faults...)
}

// setting is a variable of OTLP's exporter: that for traces, or else that for
// all signals.
func setting(getenv func(string) string, what string) (name, v string) {
	if name = "OTEL_EXPORTER_OTLP_TRACES_" + what; getenv(name) == "" {
		name = "OTEL_EXPORTER_OTLP_" + what
	}
	return name, getenv(name)
}

// Start implements otlptrace.Client.
func (c *client) Start(context.Context) error { return nil }

// Stop implements otlptrace.Client.
func (c *client) Stop(context.Context) error {
	c.http.CloseIdleConnections()
	return nil
}

const (
	firstPause = 500 * time.Millisecond
	lastPause  = 8 * time.Second
)

// UploadTraces implements otlptrace.Client. It tries again, until ctx ends,
// where the collector asks for that or cannot be reached.
func (c *client) UploadTraces(ctx context.Context, spans []*tracepb.ResourceSpans) error {
	body, err := proto.Marshal(&tracepb.TracesData{ResourceSpans: spans}) // on the wire the same as a request
	if err != nil {
		return err
	}
	if c.zip {
		var buf bytes.Buffer
		z := gzip.NewWriter(&buf)
		_, err := z.Write(body)
		if err = errors.Join(err, z.Close()); err != nil {
			return err
		}
		body = buf.Bytes()
	}
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		again, err := c.send(ctx, body)
		if !again {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
		}
	}
}

// send tries once.
func (c *client) send(ctx context.Context, body []byte) (again bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		return false, errors.New("the endpoint is no URL")
	}
	req.Header = c.header.Clone()
	if c.zip {
		req.Header.Set("Content-Encoding", "gzip")
	}
	res, err := c.http.Do(req)
	if err != nil {
		var e *url.Error
		if errors.As(err, &e) { // without its URL, which may hold a password
			err = e.Err
		}
		return ctx.Err() == nil, fmt.Errorf("the collector cannot be reached: %w", err)
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 64<<10)) // so that the connection can be used again
	_ = res.Body.Close()
	switch s := res.StatusCode; {
	case s >= 200 && s <= 299:
		return false, nil
	case s == http.StatusTooManyRequests, s == http.StatusBadGateway, s == http.StatusServiceUnavailable, s == http.StatusGatewayTimeout:
		again = true
	}
	return again, fmt.Errorf("the collector answers %d", res.StatusCode)
}
