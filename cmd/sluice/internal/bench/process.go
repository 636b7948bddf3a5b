package bench

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/sluicehq/sluice/cmd/sluice/internal/ports"
	"github.com/sluicehq/sluice/sdk"
	"github.com/sluicehq/sluice/sdk/ledger"
)

// process is a `sluice up` of its own, which can be killed and started again.
type process struct {
	command []string
	dir     string
	config  string
	nats    string // host:port
	http    string // host:port
	dsn     string
	log     io.Writer
	environ []string // beside this process's own
	flags   []string // of `up`, beside --config
	cmd     *exec.Cmd
}

// newProcess prepares a process with pools and routes for a data folder.
func newProcess(command []string, pools func(dir string) string, log io.Writer) (*process, error) {
	dir, err := os.MkdirTemp("", "sluice-replay-")
	if err != nil {
		return nil, err
	}
	if log == nil {
		log = io.Discard
	}
	port, err := ports.Free(3)
	if err != nil {
		return nil, err
	}
	p := &process{command: command, dir: dir, config: filepath.Join(dir, "sluice.yaml"), log: log,
		nats: fmt.Sprintf("127.0.0.1:%d", port[0]), http: fmt.Sprintf("127.0.0.1:%d", port[1])}
	ch := port[2]
	p.dsn = fmt.Sprintf("http://default:bench@127.0.0.1:%d", ch)
	text := fmt.Sprintf("nats: {embedded: {listen: %q}}\nclickhouse: {embedded: {listen: \"127.0.0.1:%d\", password: bench}}\n"+
		"http: {listen: %q}\ndata_dir: %s\n%s", p.nats, ch, p.http, filepath.Join(dir, "data"), pools(dir))
	return p, os.WriteFile(p.config, []byte(text), 0o600)
}

// start runs the process and waits until it takes connections.
func (p *process) start(ctx context.Context) error {
	args := append(p.command[1:len(p.command):len(p.command)], append([]string{"up", "--config", p.config}, p.flags...)...)
	cmd := exec.Command(p.command[0], args...)
	cmd.Stdout, cmd.Stderr = p.log, p.log
	cmd.Env = append(os.Environ(), p.environ...)
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start sluice: %w", err)
	}
	p.cmd = cmd
	for end := time.Now().Add(60 * time.Second); ; {
		c, err := net.DialTimeout("tcp", p.nats, time.Second)
		if err == nil {
			return c.Close()
		}
		if time.Now().After(end) {
			return fmt.Errorf("sluice up does not answer on %s: %w", p.nats, err)
		}
		if err := ledger.Pause(ctx, 5*time.Millisecond); err != nil {
			return err
		}
	}
}

// kill ends the process with SIGKILL, at whatever it is doing.
func (p *process) kill() error {
	if err := p.cmd.Process.Kill(); err != nil {
		return err
	}
	_ = p.cmd.Wait() // says that it was killed
	return nil
}

// stop ends the process in good order, or kills it after 15 seconds.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // fails only if it has ended
	t := time.AfterFunc(15*time.Second, func() { _ = p.cmd.Process.Kill() })
	defer t.Stop()
	_ = p.cmd.Wait()
}

func (p *process) remove() { _ = os.RemoveAll(p.dir) }

// dial connects a client that survives restarts of the process.
func (p *process) dial(ctx context.Context) (*sdk.Client, error) {
	return sdk.Dial(ctx, "nats://"+p.nats, sdk.WithTenant(traceTenant),
		sdk.WithNATS(nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond)))
}

const traceTenant = "trace"

// killer kills and restarts the process at random moments, spread over the
// time that the replay takes.
func (p *process) killer(ctx context.Context, o TraceOptions, jobs int) error {
	if o.Kills == 0 || jobs == 0 {
		return nil
	}
	r := rand.New(rand.NewPCG(o.Seed, 2))
	span := time.Duration(float64(o.Arrivals[jobs-1].At) / o.Speed)
	mean := max(span/time.Duration(o.Kills), 500*time.Millisecond)
	for i := range o.Kills {
		wait := mean/4 + time.Duration(r.Int64N(int64(mean*3/2)))
		if err := ledger.Pause(ctx, wait); err != nil {
			return err
		}
		if err := p.kill(); err != nil {
			return fmt.Errorf("kill %d: %w", i+1, err)
		}
		fmt.Fprintf(p.log, "--- kill %d of %d\n", i+1, o.Kills)
		if err := p.start(ctx); err != nil {
			return fmt.Errorf("start after kill %d: %w", i+1, err)
		}
	}
	return nil
}

// books is the path of a pool's journal.
func (p *process) books(pool string) string { return filepath.Join(p.dir, pool+".books") }

// jobOfKey takes job and attempt out of an Idempotency-Key of the replay.
func jobOfKey(key string) (job, attempt string, ok bool) {
	rest, ok := strings.CutPrefix(key, traceTenant+"-")
	if !ok {
		return "", "", false
	}
	return strings.Cut(rest, "-")
}
