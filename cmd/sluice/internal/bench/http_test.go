package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/analytics/store/storetest"
)

// TestHTTP measures in small: Sluice and Go's reverse proxy before the
// upstream, all as processes of their own.
func TestHTTP(t *testing.T) {
	storetest.Need(t)
	rep, err := HTTP(t.Context(), HTTPOptions{Command: sluice(t), Rounds: 1, Rate: 40, Connections: 4,
		Latency: 500 * time.Millisecond, Pressed: 500 * time.Millisecond, Streams: 20, Hops: true, Log: t.Output()})
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := rep.Print(&out); err != nil {
		t.Fatal(err)
	}
	t.Log(out.String())
	if err := rep.Err(); err != nil {
		t.Error(err)
	}
	if len(rep.Rows) != 3 || !rep.Rows[1].Own {
		t.Fatalf("rows %+v, want the upstream, Sluice and the proxy", rep.Rows)
	}
	for i, row := range rep.Rows {
		if row.Streamed != 20 || row.Own && row.Cut > 0 {
			t.Errorf("%s: %d of %d streams cut, want 20 streams", row.Name, row.Cut, row.Streamed)
		}
		if row.Requests <= 0 || row.Streams <= 0 || row.Own && row.Failed > 0 {
			t.Errorf("%s: %+v", row.Name, row)
		}
		// The proxy's few answers may take less than a tick of the clock.
		if i > 0 && row.Peak <= 0 || row.Own && (row.RequestCPU <= 0 || row.StreamCPU <= 0) {
			t.Errorf("%s used no CPU or memory: %+v", row.Name, row)
		}
	}
	if hops := rep.Rows[1].Hops; len(hops) != int(places) || hops[0].P50 <= 0 || rep.Rows[2].Hops != nil {
		t.Errorf("hops %+v", hops)
	} else {
		for _, h := range hops {
			if h.Name == "" || h.P10 > h.P50 {
				t.Errorf("%q takes %v, a tenth less than %v", h.Name, h.P50, h.P10)
			}
		}
	}
	if rep.Rows[0].Added.P50 <= 0 || rep.Rows[1].PeakBelow <= 0 || rep.Rows[2].PeakBelow != 0 {
		t.Errorf("the upstream takes %v; memory below Sluice %d, below the proxy %d", rep.Rows[0].Added.P50, rep.Rows[1].PeakBelow, rep.Rows[2].PeakBelow)
	}
	for _, want := range []string{"upstream directly", "Sluice", "httputil.ReverseProxy", "aim", "Where the time of Sluice's requests goes", "CPU s/1,000", "cut     0 of 20 streams: Sluice"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the table does not say %q", want)
		}
	}
}

// A measured answer that is not whole is a failure, not a fast answer.
func TestLoadChecksAnswers(t *testing.T) {
	good := strings.Repeat(upstreamWord, upstreamWords)
	for name, c := range map[string]struct {
		status int
		body   string
		stream bool
		ok     bool
	}{
		"whole":        {200, good, false, true},
		"a word short": {200, good[len(upstreamWord):], false, false},
		"an error":     {500, good, false, false},
		"stream":       {200, good + "\n\ndata: [DONE]\n\n", true, true},
		"no end":       {200, good + "\n\n", true, false},
	} {
		t.Run(name, func(t *testing.T) {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(c.status)
				_, _ = io.WriteString(w, c.body)
			}))
			defer srv.Close()
			l := newLoader(srv.URL, nil)
			defer l.close()
			if err := l.ask(t.Context(), Prompt(100), c.stream); (err == nil) != c.ok {
				t.Errorf("error %v", err)
			}
			if got := l.pressed(t.Context(), Prompt(100), c.stream, 3, 0, 7); len(got.took)+got.failed != 7 || (got.failed == 0) != c.ok {
				t.Errorf("%d whole answers, %d failed, of 7", len(got.took), got.failed)
			}
			if got := l.steady(t.Context(), Prompt(100), 100, 50*time.Millisecond); got.failed+len(got.took) != 5 || !c.stream && (got.failed == 0) != c.ok {
				t.Errorf("%d answers, %d failed", len(got.took), got.failed)
			}
		})
	}
}

// The two parts speak to each other, and end with their input.
func TestHTTPParts(t *testing.T) {
	start := func(part HTTPPart, target string) (string, func()) {
		in, end := io.Pipe()
		out, w := io.Pipe()
		done := make(chan error, 1)
		go func() { done <- ServeHTTPPart(t.Context(), part, target, in, w) }() // ends with in, below
		buf := make([]byte, 100)
		n, err := out.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		return "http://" + string(bytes.TrimSpace(buf[:n])), func() {
			_ = end.Close()
			if err := <-done; err != nil {
				t.Errorf("%s: %v", part, err)
			}
		}
	}
	up, stop := start(Upstream, "")
	defer stop()
	proxy, stop := start(Proxy, up)
	defer stop()
	for _, url := range []string{up, proxy} {
		l := newLoader(url, nil)
		for _, stream := range []bool{false, true} {
			body := fmt.Appendf(nil, `{"model":"m","stream":%v}`, stream)
			if err := l.ask(t.Context(), body, stream); err != nil {
				t.Errorf("%s, stream %v: %v", url, stream, err)
			}
		}
		l.close()
	}
	for part, target := range map[HTTPPart]string{"pump": "", Proxy: "nowhere"} {
		if err := ServeHTTPPart(t.Context(), part, target, strings.NewReader(""), io.Discard); err == nil {
			t.Errorf("%s to %q is served", part, target)
		}
	}
}

func TestAims(t *testing.T) {
	own := HTTPRow{Name: "Sluice", Own: true, Added: Quantiles{P50: aimAdded}, RequestCPU: 300 * time.Millisecond, RequestBelow: 50 * time.Millisecond,
		StreamCPU: aimStream, Requests: 100, Streams: 50}
	slow := HTTPRow{Name: "slow", Full: true, Added: Quantiles{P50: 2 * time.Millisecond}, Requests: 99, Streams: 49}
	plain := HTTPRow{Name: "plain", Requests: 1000, Streams: 1000}
	missed := func(rows ...HTTPRow) (n int) {
		for _, a := range (&HTTPReport{Rows: rows}).Aims() {
			if !a.Met {
				n++
			}
		}
		return n
	}
	if n := missed(plain, own, slow); n != 0 {
		t.Errorf("%d aims missed by one that meets all", n)
	}
	fast, late, hungry := slow, own, own
	fast.Streams, late.Added.P50, hungry.RequestBelow, hungry.StreamBelow = 51, aimAdded+1, 51*time.Millisecond, 1
	for n, rows := range map[int][]HTTPRow{1: {own, fast}, 2: {hungry, slow}, 3: {late, fast, HTTPRow{Name: "best", Full: true, Requests: 1000}}} {
		if got := missed(rows...); got != n {
			t.Errorf("%d aims missed, want %d", got, n)
		}
	}
	rep := &HTTPReport{Rows: []HTTPRow{own}, Options: HTTPOptions{Parts: []string{partStreams}}}
	if aims := rep.Aims(); len(aims) != 1 || !strings.Contains(aims[0].Text, "streams") {
		t.Errorf("aims of what was not measured: %v", aims)
	}
	if rep.Rows[0].Failed, rep.Rows[0].Fault = 1, context.Canceled; !errors.Is(rep.Err(), context.Canceled) {
		t.Error("a failed request is no error")
	}
}

// TestTree looks at this very process and a child of it.
func TestTree(t *testing.T) {
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("SKIPPED: there is no /proc")
	}
	if u := usageOf(1); u.below < usageOf(os.Getpid()).own {
		t.Logf("process 1 is not above this one: %+v", u) // in a container it need not be
	}
	if own, _ := peakOf(os.Getpid()); own < 1<<20 {
		t.Errorf("this process has %d bytes", own)
	}
	if got := treeOf(os.Getppid()); len(got) == 0 {
		t.Error("the parent of this process has no child")
	}
}
