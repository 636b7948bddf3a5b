package engine

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// Native is streamed: a failure comes after the first bytes, and must not look
// like an end.
func TestFailureInTheMiddleOfAnAnswer(t *testing.T) {
	_, addr := startEngine(t)
	res, err := client.RoundTrip(call{
		body: "SELECT number, throwIf(number = 900000) FROM numbers(1000000) FORMAT Native", values: []string{"max_threads", "1"},
	}.request(addr))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err == nil {
		t.Errorf("%d bytes and a clean end", len(body))
	}
	tag := res.Header.Get("X-ClickHouse-Exception-Tag")
	if tail := string(body[max(0, len(body)-500):]); tag == "" || !strings.Contains(tail, "__exception__\r\n"+tag+"\r\nCode: 395.") {
		t.Errorf("no exception %q at the end: %q", tag, tail)
	}
}

func TestParallelQueries(t *testing.T) {
	_, addr := startEngine(t, func(c *SupervisorConfig) { c.Engine.Connections = 4 })
	began := time.Now()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if got := sql(t, addr, "SELECT sleep(0.5)"); got != "0\n" {
				t.Errorf("got %q", got)
			}
		})
	}
	wg.Wait()
	if took := time.Since(began); took < 900*time.Millisecond || took > 3*time.Second {
		t.Errorf("8 half-second queries on 4 connections took %v", took)
	}
}

const endless = "SELECT sum(sleepEachRow(0.01)) FROM numbers(100000) SETTINGS max_block_size = 1, function_sleep_max_microseconds_per_block = 1000000000"

func TestClientGoesAway(t *testing.T) {
	_, addr := startEngine(t, func(c *SupervisorConfig) { c.Engine.Connections = 1 })
	for _, format := range []string{"TSV", "Native"} {
		t.Run(format, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
			defer cancel()
			req := call{body: endless, values: []string{"default_format", format}}.request(addr)
			if _, err := client.RoundTrip(req.WithContext(ctx)); err == nil {
				t.Fatal("it ended")
			}
			began := time.Now()
			// The only connection must come free.
			if got := sql(t, addr, "SELECT 1"); got != "1\n" {
				t.Error(got)
			}
			if took := time.Since(began); took > 2*time.Second {
				t.Errorf("the statement of a client that is gone blocked the next for %v", took)
			}
		})
	}
	t.Run("while waiting", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		var wg sync.WaitGroup
		wg.Go(func() {
			client.RoundTrip(call{body: endless}.request(addr).WithContext(ctx))
		})
		time.Sleep(100 * time.Millisecond)
		short, cancelShort := context.WithTimeout(ctx, 100*time.Millisecond)
		defer cancelShort()
		_, err := client.RoundTrip(call{body: "INSERT INTO nope VALUES (1)"}.request(addr).WithContext(short))
		if err == nil {
			t.Error("a waiting request was answered")
		}
		wg.Wait()
	})
	t.Run("half an upload", func(t *testing.T) {
		sql(t, addr, "CREATE TABLE t (a Int32) ENGINE = MergeTree ORDER BY a")
		pr, pw := io.Pipe()
		req := call{values: []string{"query", "INSERT INTO t FORMAT TSV"}}.request(addr)
		req.Body, req.ContentLength = pr, -1
		var wg sync.WaitGroup
		wg.Go(func() { client.RoundTrip(req) })
		io.WriteString(pw, strings.Repeat("1\n", 100_000))
		pw.CloseWithError(io.ErrUnexpectedEOF)
		wg.Wait()
		if got := sql(t, addr, "SELECT count() FROM t"); got != "0\n" {
			t.Errorf("half an upload left %s rows", got)
		}
	})
}

func TestQueryTimeout(t *testing.T) {
	_, addr := startEngine(t, func(c *SupervisorConfig) { c.Engine.QueryTimeout = 500 * time.Millisecond })
	r := call{body: endless}.do(t, addr)
	if r.status != 408 || r.header.Get("X-ClickHouse-Exception-Code") != "159" {
		t.Errorf("status %d: %s", r.status, r.body)
	}
}

// A result far larger than what may be in memory at once.
func TestLargeResult(t *testing.T) {
	s, addr := startEngine(t)
	for _, format := range []string{"Native", "RowBinary", "TSV"} {
		res, err := client.RoundTrip(call{body: "SELECT number, repeat('x', 80) FROM numbers(4000000) FORMAT " + format}.request(addr))
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, res.Body)
		res.Body.Close()
		if err != nil || n < 340_000_000 {
			t.Errorf("%s: %d bytes: %v", format, n, err)
		}
	}
	if peak := peakMemory(t, s.State().PID); peak > 700<<20 {
		t.Errorf("the child took %d MiB for results of 350 MB", peak>>20)
	}
}

// peakMemory is the most resident memory of a process so far, on Linux.
func peakMemory(t testing.TB, pid int) int64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Skip("no /proc here")
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	var kib int64
	fmt.Sscan(rest, &kib)
	return kib << 10
}
