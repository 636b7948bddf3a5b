package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/sluicehq/sluice/cmd/sluice/internal/app"
	"github.com/sluicehq/sluice/cmd/sluice/internal/config"
	"github.com/sluicehq/sluice/cmd/sluice/internal/ports"
)

// system is a whole Sluice in this process, in a folder of its own.
type system struct {
	app     *app.App
	cfg     *config.Config
	conn    *nats.Conn // of the demo's clients
	dir     string
	config  string   // path of the configuration file
	environ []string // without anything that configures Sluice
	stop    context.CancelFunc
	ended   chan error
}

const systemYAML = `
nats: {embedded: {listen: "127.0.0.1:%d"}}
clickhouse: {embedded: {listen: "127.0.0.1:%d"}}
http: {listen: "127.0.0.1:%d"}
data_dir: %q
`

// start runs everything and returns once jobs are taken.
func start(ctx context.Context, environ, strategies []string, logs io.Writer) (_ *system, err error) {
	s := &system{ended: make(chan error, 1), environ: foreign(environ)}
	if s.dir, err = os.MkdirTemp("", "sluice-demo-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(s.dir))
		}
	}()
	port, err := ports.Free(3)
	if err != nil {
		return nil, err
	}
	s.config = filepath.Join(s.dir, "sluice.yaml")
	text := fmt.Sprintf(systemYAML, port[0], port[1], port[2], filepath.Join(s.dir, "data"))
	if err := os.WriteFile(s.config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	src := config.Sources{Path: s.config, Environ: s.environ, Strategies: strategies, Adapters: app.Adapters(), Flags: map[string]string{}}
	if s.cfg, err = config.Load(src); err != nil {
		return nil, err
	}
	for _, p := range s.cfg.Pools { // the simulated providers keep books, to check the sums with
		if p.Adapter == config.AdapterSimulated {
			src.Flags["pools."+p.Name+".simulated.books"] = s.books(p.Name)
		}
	}
	if s.cfg, err = config.Load(src); err != nil {
		return nil, err
	}
	var appCtx context.Context
	appCtx, s.stop = context.WithCancel(ctx)
	ready := make(chan *app.App, 1)
	log := slog.New(slog.NewTextHandler(logs, &slog.HandlerOptions{Level: slog.LevelError}))
	go func() { // close waits for it
		s.ended <- app.Run(appCtx, s.cfg, app.Options{Roles: app.Roles(), Sources: src, Logger: log, Stderr: io.Discard, Ready: func(a *app.App) { ready <- a }})
	}()
	select {
	case s.app = <-ready:
	case err := <-s.ended:
		s.stop()
		return nil, err
	}
	if s.conn, err = s.app.Connect("demo"); err != nil {
		s.stop()
		return nil, errors.Join(err, <-s.ended)
	}
	return s, nil
}

// close ends everything and removes the folder.
func (s *system) close() error {
	s.conn.Close()
	s.stop()
	return errors.Join(<-s.ended, os.RemoveAll(s.dir))
}

// books is the path of a simulated pool's books.
func (s *system) books(pool string) string { return filepath.Join(s.dir, pool+".books") }

// foreign drops the variables that configure Sluice: a demo is the same
// everywhere.
func foreign(environ []string) []string {
	var out []string
	for _, kv := range environ {
		if !strings.HasPrefix(kv, "SLUICE_") {
			out = append(out, kv)
		}
	}
	return out
}
