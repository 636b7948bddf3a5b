package fleet

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluicehq/sluice/analytics/store/storetest"
)

// bin is where the programs of all fleets are.
var bin struct {
	dir  string
	once sync.Once
}

func TestMain(m *testing.M) {
	code := 1
	dir, err := os.MkdirTemp("", "sluice-fleet-bin-")
	if err == nil {
		bin.dir = dir
		code = m.Run()
		err = os.RemoveAll(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// build makes the programs of a fleet, once.
func build(t *testing.T) Binaries {
	t.Helper()
	dir := bin.dir
	bin.once.Do(func() { programs(t, dir) })
	return Binaries{Sluice: []string{filepath.Join(dir, "sluice")}, NATSServer: filepath.Join(dir, "nats-server"),
		NATSConfig: filepath.Join("..", "..", "..", "..", "deploy", "nats", "cluster.conf")}
}

func programs(t *testing.T, dir string) {
	t.Helper()
	for name, pkg := range map[string]string{"sluice": "github.com/sluicehq/sluice/cmd/sluice", "nats-server": "github.com/nats-io/nats-server/v2"} {
		cmd := exec.Command("go", "build", "-buildvcs=false", "-o", filepath.Join(dir, name), pkg)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("go build: %v\n%s", err, out)
		}
	}
}

// nativeFront lets the ingesters reach the engine over ClickHouse's native
// protocol, through all that is done to it.
func nativeFront(t *testing.T) NativeFront {
	var inserts int64
	t.Cleanup(func() {
		if inserts == 0 && !t.Failed() {
			t.Error("no rows came over the native protocol")
		}
	})
	return func(ctx context.Context, engine, password string) (addr string, err error) {
		err = until(ctx, time.Minute, "ClickHouse", func() error {
			front, err := storetest.Front("127.0.0.1:0", engine, password, nil)
			if err == nil {
				t.Cleanup(func() { inserts += front.Inserts.Load(); front.Close() }) // before the above
				addr = front.Addr()
			}
			return err
		})
		return addr, err
	}
}

// TestChaos is the short form of `make chaos`: a cluster of real processes is
// killed, paused and cut under load, and nothing is lost, doubled or
// miscounted. CHAOS_SEED and CHAOS_JOBS make it another or a longer one.
func TestChaos(t *testing.T) {
	storetest.Need(t)
	o := ChaosOptions{Binaries: build(t), Native: nativeFront(t), Seed: uint64(time.Now().UnixNano() % 100_000), Jobs: 1500, Rate: 100, Clients: 64, Every: 1500 * time.Millisecond, Log: t.Output()}
	if v := os.Getenv("CHAOS_SEED"); v != "" {
		o.Seed, _ = strconv.ParseUint(v, 10, 64)
	}
	if v := os.Getenv("CHAOS_JOBS"); v != "" {
		o.Jobs, _ = strconv.Atoi(v)
	}
	t.Logf("seed %d; the same faults again with: make chaos SEED=%d N=%d RATE=%g ROUTERS=2", o.Seed, o.Seed, o.Jobs, o.Rate)
	r, err := Chaos(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	r.Print(t.Output())
	if err := r.Err(); err != nil {
		t.Error(err)
	}
	if len(r.Faults) == 0 || r.Calls < r.Accepted/2 || r.Costs.Sign() <= 0 || r.Shown < 70 || r.Peak <= int64(r.Limit)/2 {
		t.Errorf("nothing happened: %+v", r)
	}
	if strings.Count(r.Row(), "|") != strings.Count(TableHead[:strings.IndexByte(TableHead, '\n')], "|") {
		t.Errorf("row and head of the table differ: %s", r.Row())
	}
}
