package bench

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/sluicehq/sluice/sdk/ledger"
)

// Startup is how long a `sluice up` takes from its start, and what it uses
// when it then does nothing.
type Startup struct {
	Jobs   time.Duration // until it takes jobs, without the engine
	Engine time.Duration // until ClickHouse answers questions about jobs, with it
	Idle   int64         // bytes resident of the broker process, engine not counted
}

// startupPools is one simulated pool, which is all that an idle broker needs.
const startupPools = `
pools:
  - {name: fast, adapter: simulated, models: {m: {price: {input: 1, output: 2}}}}
routes:
  - {model: chat, candidates: [{pool: fast, model: m}]}
`

// idleAfter is when the idle memory is read.
const idleAfter = 5 * time.Second

// MeasureStartup starts the command twice in an empty data folder.
func MeasureStartup(ctx context.Context, command []string) (*Startup, error) {
	var s Startup
	bare, err := newProcess(command, func(string) string { return startupPools }, io.Discard)
	if err != nil {
		return nil, err
	}
	defer bare.remove()
	bare.environ = []string{"SLUICE_CLICKHOUSE_EMBEDDED_ENABLED=false"}
	begin := time.Now()
	if err := bare.start(ctx); err != nil {
		return nil, err
	}
	s.Jobs = time.Since(begin)
	bare.stop()
	full, err := newProcess(command, func(string) string { return startupPools }, io.Discard)
	if err != nil {
		return nil, err
	}
	defer full.remove()
	begin = time.Now()
	if err := full.start(ctx); err != nil {
		return nil, err
	}
	defer full.stop()
	st, err := awaitStore(ctx, full.dsn)
	if err != nil {
		return nil, err
	}
	s.Engine = time.Since(begin)
	_ = st.Close()
	if err := ledger.Pause(ctx, idleAfter); err != nil {
		return nil, err
	}
	s.Idle, err = resident(full.cmd.Process.Pid)
	return &s, err
}

// resident is a process's resident memory in bytes, as ps reports it.
func resident(pid int) (int64, error) {
	out, err := exec.Command("ps", "-o", "rss=", "-p", strconv.Itoa(pid)).Output()
	if err != nil {
		return 0, fmt.Errorf("ps: %w", err)
	}
	kib, err := strconv.ParseInt(strings.TrimSpace(string(out)), 10, 64)
	return kib << 10, err
}
