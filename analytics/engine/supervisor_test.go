package engine

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// until polls for a condition that another process brings about.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}

func alive(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	// A zombie that nobody waited for is dead.
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || !strings.Contains(string(stat), ") Z ")
}

func TestRestartAfterKill(t *testing.T) {
	s, addr := startEngine(t)
	sql(t, addr, "CREATE TABLE t (a Int32) ENGINE = MergeTree ORDER BY a")
	sql(t, addr, "INSERT INTO t VALUES (1)")
	for i := 1; i <= 2; i++ {
		before := s.State()
		must(t, syscall.Kill(before.PID, syscall.SIGKILL))
		until(t, "restart", func() bool { return s.State().Restarts == i && s.State().Phase == PhaseReady })
		after := s.State()
		if after.Addr != addr || after.PID == before.PID {
			t.Errorf("before %+v, after %+v", before, after)
		}
		if got := sql(t, addr, "SELECT a FROM t"); got != "1\n" {
			t.Errorf("after restart %d: %q", i, got)
		}
	}
}

// Every acknowledged insert survives, and every insert is there whole or not
// at all, when the engine is killed in the middle of inserts.
func TestKillInTheMiddleOfInserts(t *testing.T) {
	s, addr := startEngine(t)
	sql(t, addr, "CREATE TABLE t (batch UInt64, a UInt64, s String) ENGINE = MergeTree ORDER BY batch")
	const rows = 2000
	var next atomic.Uint64
	var ackedBatches sync.Map
	for round := range 4 {
		ctx, cancel := context.WithCancel(context.Background())
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() { insertBatches(ctx, addr, &next, rows, &ackedBatches) })
		}
		time.Sleep(time.Duration(300+100*round) * time.Millisecond)
		must(t, syscall.Kill(s.State().PID, syscall.SIGKILL))
		cancel()
		wg.Wait()
		until(t, "restart", func() bool { return s.State().Restarts == round+1 && s.State().Phase == PhaseReady })
	}
	there := map[uint64]bool{}
	for line := range strings.Lines(sql(t, addr, "SELECT batch, count() FROM t GROUP BY batch")) {
		var batch, n uint64
		fmt.Sscan(line, &batch, &n)
		there[batch] = true
		if n != rows {
			t.Errorf("batch %d has %d rows of %d", batch, n, rows)
		}
	}
	count := 0
	ackedBatches.Range(func(batch, _ any) bool {
		count++
		if !there[batch.(uint64)] {
			t.Errorf("acknowledged batch %d is lost", batch)
		}
		return true
	})
	t.Logf("%d batches acknowledged, %d there, of %d begun, 4 kills", count, len(there), next.Load())
	if count < 20 {
		t.Errorf("only %d batches were acknowledged: the test proves nothing", count)
	}
}

func insertBatches(ctx context.Context, addr string, next *atomic.Uint64, rows int, acked *sync.Map) {
	for ctx.Err() == nil {
		n := next.Add(1)
		c := call{body: fmt.Sprintf("INSERT INTO t SELECT %d, number, toString(number) FROM numbers(%d)", n, rows)}
		if n%2 == 0 {
			c = call{values: []string{"query", "INSERT INTO t FORMAT CSV"}, body: strings.Repeat(fmt.Sprintf("%d,7,x\n", n), rows)}
		}
		if status, err := tryCall(c, addr); err == nil && status == 200 {
			acked.Store(n, true)
		}
	}
}

func tryCall(c call, addr string) (int, error) {
	res, err := client.RoundTrip(c.request(addr))
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	return res.StatusCode, nil
}

func TestGracefulStop(t *testing.T) {
	lib := needEngine(t)
	s := New(SupervisorConfig{
		Engine:  Config{Lib: lib, Path: t.TempDir() + "/data", Listen: "127.0.0.1:0", Password: testPassword, StopWait: 3 * time.Second},
		Command: []string{os.Args[0]}, Env: []string{envRole + "=child"},
	})
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	<-s.Ready()
	state := s.State()
	var wg sync.WaitGroup
	wg.Go(func() {
		if got := sql(t, state.Addr, "SELECT sleep(1)"); got != "0\n" {
			t.Errorf("a running statement got %q", got)
		}
	})
	time.Sleep(200 * time.Millisecond)
	stop()
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
	wg.Wait()
	if alive(state.PID) || s.State().Phase != PhaseStopped {
		t.Errorf("still there: %+v", s.State())
	}
	if _, err := s.Await(context.Background()); err == nil {
		t.Error("Await after the end gives no error")
	}
}

// A statement that does not end is killed when the time to stop is over.
func TestStopKillsStatements(t *testing.T) {
	lib := needEngine(t)
	s := New(SupervisorConfig{
		Engine:  Config{Lib: lib, Path: t.TempDir() + "/data", Listen: "127.0.0.1:0", Password: testPassword, StopWait: 300 * time.Millisecond},
		Command: []string{os.Args[0]}, Env: []string{envRole + "=child"},
	})
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	<-s.Ready()
	addr := s.State().Addr
	var wg sync.WaitGroup
	wg.Go(func() { tryCall(call{body: endless}, addr) })
	time.Sleep(200 * time.Millisecond)
	began := time.Now()
	stop()
	<-done
	wg.Wait()
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("the stop took %v", took)
	}
}

func TestFirstStartFails(t *testing.T) {
	lib := needEngine(t)
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer busy.Close()
	good := Config{Lib: lib, Path: t.TempDir() + "/data", Listen: "127.0.0.1:0", Password: "p", LockWait: 200 * time.Millisecond}
	for name, c := range map[string]struct {
		change func(*Config)
		want   string
	}{
		"port in use":        {func(c *Config) { c.Listen = busy.Addr().String() }, "address already in use"},
		"no library":         {func(c *Config) { c.Lib = "/nope/libchdb.so" }, "make engine"},
		"no password":        {func(c *Config) { c.Password = "" }, "no password"},
		"open to the world":  {func(c *Config) { c.Listen, c.Password = "0.0.0.0:0", "" }, "not a loopback address"},
		"path is a file":     {func(c *Config) { c.Path = lib }, "data directory"},
		"path with a quote":  {func(c *Config) { c.Path += "'" }, "must not contain"},
		"too much of things": {func(c *Config) { c.Connections = 1000 }, "connections 1000"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := good
			c.change(&cfg)
			s := New(SupervisorConfig{Engine: cfg, Command: []string{os.Args[0]}, Env: []string{envRole + "=child"}})
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			defer cancel()
			err := s.Run(ctx)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}

func TestOneProcessPerPath(t *testing.T) {
	first, _ := startEngine(t)
	cfg := first.cfg
	cfg.Engine.LockWait = 300 * time.Millisecond
	second := New(cfg)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	err := second.Run(ctx)
	if err == nil || !strings.Contains(err.Error(), "held by another process (pid "+strconv.Itoa(first.State().PID)) {
		t.Errorf("a second engine on the same path: %v", err)
	}
}

// The child must not outlive its parent, whatever ended that.
func TestChildDiesWithParent(t *testing.T) {
	lib := needEngine(t)
	parent := exec.Command(os.Args[0])
	parent.Env = append(os.Environ(), envRole+"=parent", EnvLib+"="+lib, "SLUICE_TEST_ENGINE_PATH="+t.TempDir()+"/data")
	parent.Stderr = os.Stderr
	out, err := parent.StdoutPipe()
	must(t, err)
	must(t, parent.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	must(t, err)
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	must(t, err)
	if !alive(pid) {
		t.Fatalf("child %d is not there", pid)
	}
	must(t, parent.Process.Kill())
	parent.Wait()
	until(t, "the end of the child", func() bool { return !alive(pid) })
}

// runParent is a program that supervises an engine and prints its child's pid.
func runParent() {
	s := New(SupervisorConfig{
		Engine:  Config{Path: os.Getenv("SLUICE_TEST_ENGINE_PATH"), Listen: "127.0.0.1:0", Password: testPassword},
		Command: []string{os.Args[0]}, Env: []string{envRole + "=child"},
	})
	done := make(chan error, 1)
	go func() { done <- s.Run(context.Background()) }()
	select {
	case <-s.Ready():
		fmt.Println(s.State().PID)
	case err := <-done:
		fmt.Println(err)
		os.Exit(1)
	}
	<-done
}

// The end of its input ends the child, where the kernel does not.
func TestEndOfInputStopsChild(t *testing.T) {
	lib := needEngine(t)
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), envRole+"=child")
	in, err := child.StdinPipe()
	must(t, err)
	out, err := child.StdoutPipe()
	must(t, err)
	must(t, child.Start())
	fmt.Fprintf(in, `{"lib":%q,"path":%q,"listen":"127.0.0.1:0","password":"p"}`, lib, t.TempDir()+"/data")
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || !strings.Contains(line, "ready") {
		t.Fatalf("%q %v", line, err)
	}
	in.Close()
	if err := child.Wait(); err != nil {
		t.Errorf("the child ended with %v", err)
	}
}
