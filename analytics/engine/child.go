package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
)

// report is a line that the child writes to its standard output.
type report struct {
	Ready string `json:"ready,omitempty"` // the address that is served
	Error string `json:"error,omitempty"` // why it could not start or go on
}

// Main is the body of the child process that a Supervisor starts: `sluice
// engine` calls it with standard input and output. It reads its Config as JSON
// from in (so a password is never on a command line or in an environment),
// reports on out, and serves until ctx ends or in does, which is how the child
// notices on every system that its parent is gone.
func Main(ctx context.Context, in io.Reader, out io.Writer) error {
	enc := json.NewEncoder(out)
	var mu sync.Mutex
	say := func(r report) {
		mu.Lock()
		defer mu.Unlock()
		_ = enc.Encode(r)
	}
	err := runChild(ctx, in, say)
	if err != nil {
		say(report{Error: err.Error()})
	}
	return err
}

func runChild(ctx context.Context, in io.Reader, say func(report)) error {
	var cfg Config
	dec := json.NewDecoder(in)
	if err := dec.Decode(&cfg); err != nil {
		return fmt.Errorf("engine: read the configuration from standard input: %w: this command is started by `sluice up`, not by hand", err)
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	// Not waited for: a read of standard input cannot be interrupted, and it
	// ends with the process at the latest.
	go func() {
		_, _ = io.Copy(io.Discard, in)
		stop()
	}()
	cfg.Log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	cfg.OnReady = func(addr string) { say(report{Ready: addr}) }
	return Serve(ctx, cfg)
}
