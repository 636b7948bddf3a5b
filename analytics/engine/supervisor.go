package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// SupervisorConfig says how the engine's child process is run.
type SupervisorConfig struct {
	// Engine is what the child serves. Its Log and OnReady are not used.
	Engine Config
	// Command starts the child; it must call Main. Defaults to this
	// executable with the argument "engine".
	Command []string
	// Env is added to the child's environment.
	Env []string
	// Stderr receives the child's log. Defaults to os.Stderr.
	Stderr io.Writer
	// StartTimeout bounds the time from start to ready. Defaults to 1 min.
	StartTimeout time.Duration
	// MinBackoff and MaxBackoff bound the pause before a restart, which doubles
	// with each crash in a row. Default to 100 ms and 10 s.
	MinBackoff, MaxBackoff time.Duration
	// Log receives starts and crashes. Defaults to slog.Default().
	Log *slog.Logger
}

// Phase is where the child is in its life.
type Phase string

// The phases of a child.
const (
	PhaseIdle     Phase = "idle"     // Run was not called
	PhaseStarting Phase = "starting" // started, not serving yet
	PhaseReady    Phase = "ready"    // serving
	PhaseWaiting  Phase = "waiting"  // crashed, to be restarted after a pause
	PhaseStopped  Phase = "stopped"  // Run has returned
)

// State is a snapshot of a Supervisor.
type State struct {
	Phase    Phase
	Addr     string // that is or was served; the same after every restart
	PID      int    // of the child, 0 while there is none
	Restarts int    // since Run began
	Err      error  // why the last child ended, if not because it was told to
}

// Supervisor keeps the engine running in a child process: a crash of the
// engine then costs a second, not the whole program. The child never outlives
// its parent.
type Supervisor struct {
	cfg   SupervisorConfig
	ready chan struct{}

	mu      sync.Mutex
	state   State         // written by Run
	changed chan struct{} // closed and replaced at every change of state
}

// New prepares a Supervisor. It starts nothing.
func New(cfg SupervisorConfig) *Supervisor {
	if cfg.Stderr == nil {
		cfg.Stderr = os.Stderr
	}
	if cfg.StartTimeout == 0 {
		cfg.StartTimeout = time.Minute
	}
	if cfg.MinBackoff == 0 {
		cfg.MinBackoff = 100 * time.Millisecond
	}
	if cfg.MaxBackoff == 0 {
		cfg.MaxBackoff = 10 * time.Second
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	cfg.Engine = cfg.Engine.withDefaults()
	return &Supervisor{
		cfg: cfg, ready: make(chan struct{}),
		state: State{Phase: PhaseIdle}, changed: make(chan struct{}),
	}
}

// Ready is closed when the engine serves for the first time.
func (s *Supervisor) Ready() <-chan struct{} { return s.ready }

// State tells how the child is doing.
func (s *Supervisor) State() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}

// Await waits until the engine serves and returns its address. It fails when
// ctx ends or Run has returned.
func (s *Supervisor) Await(ctx context.Context) (string, error) {
	for {
		s.mu.Lock()
		state, changed := s.state, s.changed
		s.mu.Unlock()
		switch state.Phase {
		case PhaseReady:
			return state.Addr, nil
		case PhaseStopped:
			return "", errors.Join(errors.New("engine: it is stopped"), state.Err)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return "", errors.Join(ctx.Err(), state.Err)
		}
	}
}

func (s *Supervisor) update(change func(*State)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.state)
	close(s.changed)
	s.changed = make(chan struct{})
}

// A child that served this long before it crashed is restarted as if it were
// the first crash.
const healthyAfter = time.Minute

// Run starts the child, restarts it after a crash, and stops it when ctx ends.
// It returns nil then, and an error at once if the very first start fails for
// a reason that a repetition does not cure.
func (s *Supervisor) Run(ctx context.Context) (err error) {
	defer func() {
		s.update(func(st *State) { st.Phase, st.PID, st.Err = PhaseStopped, 0, err })
	}()
	if err := s.cfg.Engine.validate(); err != nil {
		return err
	}
	pause := s.cfg.MinBackoff
	for {
		began := time.Now()
		err := s.once(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if s.State().Addr == "" {
			return err
		}
		if time.Since(began) > healthyAfter {
			pause = s.cfg.MinBackoff
		}
		s.cfg.Log.Error("clickhouse engine crashed, restarting", "error", err, "pause", pause)
		s.update(func(st *State) { st.Phase, st.PID, st.Err = PhaseWaiting, 0, err; st.Restarts++ })
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
		pause = min(2*pause, s.cfg.MaxBackoff)
	}
}

// once runs one child to its end. On Linux the kernel kills the child when the
// *thread* that started it ends, so the goroutine keeps its thread meanwhile.
func (s *Supervisor) once(ctx context.Context) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd, err := s.command()
	if err != nil {
		return err
	}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return fmt.Errorf("engine: start the child: %w", err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("engine: start the child: %w", err)
	}
	s.update(func(st *State) { st.Phase = PhaseStarting })
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("engine: start the child: %w", err)
	}
	s.update(func(st *State) { st.PID = cmd.Process.Pid })
	exited, served := make(chan struct{}), make(chan struct{})
	var stopper sync.WaitGroup
	stopper.Go(func() { s.watch(ctx, cmd, stdin, served, exited) })
	_ = json.NewEncoder(stdin).Encode(s.childConfig())
	reported := s.listen(stdout, served)
	err = cmd.Wait()
	close(exited)
	stopper.Wait()
	if reported != nil {
		return reported
	}
	return fmt.Errorf("engine: the child ended: %w", errors.Join(err, noStatus(err)))
}

func noStatus(err error) error {
	if err == nil {
		return errors.New("exit status 0 without being told to stop")
	}
	return nil
}

func (s *Supervisor) command() (*exec.Cmd, error) {
	args := s.cfg.Command
	if len(args) == 0 {
		exe, err := os.Executable()
		if err != nil {
			return nil, fmt.Errorf("engine: find this executable: %w", err)
		}
		args = []string{exe, "engine"}
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), s.cfg.Env...)
	cmd.Stderr = s.cfg.Stderr
	cmd.SysProcAttr = childAttr()
	cmd.WaitDelay = time.Second
	return cmd, nil
}

// childConfig keeps the address of the first start, should it have been :0.
func (s *Supervisor) childConfig() Config {
	cfg := s.cfg.Engine
	if addr := s.State().Addr; addr != "" {
		cfg.Listen = addr
	}
	return cfg
}

// listen follows the child's reports until it closes its output, and returns
// the failure that it reported.
func (s *Supervisor) listen(stdout io.Reader, served chan struct{}) error {
	dec := json.NewDecoder(stdout)
	var failure error
	for {
		var r report
		if err := dec.Decode(&r); err != nil {
			return failure
		}
		if r.Error != "" {
			failure = errors.New(r.Error)
		}
		if r.Ready != "" {
			close(served)
			first := s.State().Addr == ""
			s.update(func(st *State) { st.Phase, st.Addr = PhaseReady, r.Ready })
			if first {
				close(s.ready)
			}
		}
	}
}

// watch ends the child: politely when ctx ends, at once when it does not serve
// in time.
func (s *Supervisor) watch(ctx context.Context, cmd *exec.Cmd, stdin io.Closer, served, exited <-chan struct{}) {
	late := time.NewTimer(s.cfg.StartTimeout)
	defer late.Stop()
	for {
		select {
		case <-exited:
			return
		case <-served:
			served = nil
			late.Stop()
		case <-late.C:
			s.cfg.Log.Error("clickhouse engine did not start in time, killing it", "after", s.cfg.StartTimeout)
			_ = cmd.Process.Kill()
			<-exited
			return
		case <-ctx.Done():
			s.end(cmd, stdin, exited)
			return
		}
	}
}

// end stops the child: its input ends, then SIGTERM, then SIGKILL.
func (s *Supervisor) end(cmd *exec.Cmd, stdin io.Closer, exited <-chan struct{}) {
	_ = stdin.Close()
	steps := []func(){
		func() { _ = cmd.Process.Signal(syscall.SIGTERM) },
		func() { _ = cmd.Process.Kill() },
	}
	// The child itself kills statements after StopWait; twice that and a
	// second later it is stuck.
	wait := 2*s.cfg.Engine.StopWait + 2*time.Second
	for _, step := range steps {
		select {
		case <-exited:
			return
		case <-time.After(wait):
			step()
			wait = 2 * time.Second
		}
	}
	<-exited
}
