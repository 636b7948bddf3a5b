package fleet

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/sluicehq/sluice/sdk/ledger"
)

// Process is one real process of a fleet: it can be killed, paused and started
// again. One goroutine uses it at a time.
type Process struct {
	Name  string
	kind  string
	args  []string
	env   []string // beside this process's own
	input []byte   // written to its standard input, which stays open
	log   string   // file that takes its output

	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stdout io.Reader // only where wantOut
	over   chan struct{}

	wantOut bool
	attr    *syscall.SysProcAttr // nil: childAttr
}

// start runs the process; what it prints goes to its log.
func (p *Process) start() error {
	f, err := os.OpenFile(p.log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // the process has its own
	cmd := exec.Command(p.args[0], p.args[1:]...)
	cmd.Env = append(os.Environ(), p.env...)
	cmd.Stdout, cmd.Stderr = f, f
	if cmd.SysProcAttr = p.attr; p.attr == nil {
		cmd.SysProcAttr = childAttr()
	}
	if p.wantOut {
		cmd.Stdout = nil
		if p.stdout, err = cmd.StdoutPipe(); err != nil {
			return err
		}
	}
	if p.stdin, err = cmd.StdinPipe(); err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.Name, err)
	}
	p.cmd, p.over = cmd, make(chan struct{})
	if len(p.input) > 0 {
		if _, err := p.stdin.Write(p.input); err != nil {
			return fmt.Errorf("start %s: %w", p.Name, err)
		}
	}
	if !p.wantOut { // whoever reads the output must do so before the process is waited for
		p.await()
	}
	return nil
}

// await closes over when the process has ended.
func (p *Process) await() {
	cmd, over := p.cmd, p.over
	go func() { // kill and stop wait for it
		_ = cmd.Wait() // how it ended is in its log
		close(over)
	}()
}

// ended reports whether the process is gone.
func (p *Process) ended() bool {
	if p.cmd == nil {
		return true
	}
	select {
	case <-p.over:
		return true
	default:
		return false
	}
}

// kill ends the process at whatever it is doing.
func (p *Process) kill() {
	if p.cmd == nil {
		return
	}
	if p.wantOut {
		p.await()
	}
	_ = p.cmd.Process.Kill() // fails only if it has ended
	<-p.over
	_ = p.stdin.Close() // the pipe of a dead process
}

// pause stops the process where it is; resume lets it go on.
func (p *Process) pause()  { signal(p.cmd.Process, sigStop) }
func (p *Process) resume() { signal(p.cmd.Process, sigCont) }

// stop asks the process to end in good order.
func (p *Process) stop() { signal(p.cmd.Process, sigTerm) }

// finish waits for the end of a process that was asked to stop, and kills it
// when that takes too long.
func (p *Process) finish(patience time.Duration) (killed bool) {
	select {
	case <-p.over:
	case <-time.After(patience):
		killed = true
	}
	p.kill()
	return killed
}

// tail is the end of the process's log.
func (p *Process) tail(n int) string {
	b, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-n):])
}

// group is the processes of a fleet, in the order of their start.
type group struct {
	dir string
	mu  sync.Mutex
	all []*Process
}

// add makes a process without starting it.
func (g *group) add(kind, name string, args []string, env ...string) *Process {
	p := &Process{Name: name, kind: kind, args: args, env: env, log: filepath.Join(g.dir, name+".log")}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.all = append(g.all, p)
	return p
}

// of lists the processes of a kind.
func (g *group) of(kind string) []*Process {
	g.mu.Lock()
	defer g.mu.Unlock()
	var out []*Process
	for _, p := range g.all {
		if p.kind == kind {
			out = append(out, p)
		}
	}
	return out
}

// close kills what still runs, the last started first.
func (g *group) close() {
	for i := len(g.all) - 1; i >= 0; i-- {
		g.all[i].kill()
	}
}

// until asks again and again, for so long at most.
func until(ctx context.Context, patience time.Duration, what string, ok func() error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		err := ok()
		if err == nil {
			return nil
		}
		if sleepErr := ledger.Pause(ctx, 100*time.Millisecond); sleepErr != nil {
			return fmt.Errorf("%s: not within %s: %w", what, patience, err)
		}
	}
}
