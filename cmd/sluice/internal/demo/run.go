package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/sluicehq/sluice/analytics/engine"
	"github.com/sluicehq/sluice/cmd/sluice/internal/config"
	"github.com/sluicehq/sluice/sdk"
	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
)

// demo is one run of the command.
type demo struct {
	cli        CLI
	strategies []string
	environ    []string
	jobs       int
	rate       float64
	out, err   io.Writer
	tty        bool

	sys     *system
	clients map[string]*sdk.Client // by tenant
	board   *board
	handles []*sdk.Handle // of every job
}

func (d *demo) say(format string, args ...any) { _, _ = fmt.Fprintf(d.out, format, args...) }

// run shows everything. Whatever goes wrong, it stops what it started (I1).
func (d *demo) run(ctx context.Context) (err error) {
	list, err := prompts(d.jobs)
	if err != nil {
		return err
	}
	began := time.Now()
	d.say("Starting NATS, gateway, router, workers, ingester and ClickHouse in one process.\n")
	if d.sys, err = start(ctx, d.environ, d.strategies, d.err); err != nil {
		return fmt.Errorf("start: %w", err)
	}
	defer func() {
		if e := d.sys.close(); e != nil {
			err = errors.Join(err, fmt.Errorf("stop: %w", e))
		}
		if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
			err = cause
		}
	}()
	_, engineErr := engine.Find()
	d.greet(time.Since(began), engineErr)
	if d.clients, err = d.dial(ctx, list); err != nil {
		return err
	}
	defer func() {
		for _, c := range d.clients {
			c.Close()
		}
	}()
	if err := d.work(ctx, list); err != nil {
		return err
	}
	if err := d.real(ctx); err != nil {
		return err
	}
	if engineErr == nil {
		if err := d.account(ctx); err != nil {
			return err
		}
	} else {
		d.say("\nNo cost table: %v.\nThe broker kept every event for when it is there. What it answered is real all the same:\n", engineErr)
		if err := d.answers(ctx, 3); err != nil {
			return err
		}
	}
	d.say("\nThat took %.1f s. Nothing is left running, and the data folder is gone.\nKeep one running with: make up (or: sluice up)\n", time.Since(began).Seconds())
	return nil
}

func (d *demo) greet(took time.Duration, engineErr error) {
	d.say("Ready after %d ms.  NATS %s", took.Milliseconds(), d.sys.app.NATSAddr())
	for _, line := range d.sys.app.Addresses() {
		d.say("  %s", strings.Join(strings.Fields(line), " "))
	}
	d.say("\n")
	for _, p := range d.sys.cfg.Pools {
		s := p.Simulated
		if s == nil {
			d.say("  pool %-10s  %s, a key for it is in the environment: %d prompts of %s\n", p.Name, p.Provider, len(realPrompts), d.realModel(&p).Name)
			continue
		}
		m := &p.Models[0]
		d.say("  pool %-10s  %s: first token after %s, then %g a second, $%s in and $%s out per million, %g %% of calls fail\n",
			p.Name, m.Name, s.TTFT, s.TokensPerSecond, m.Price.Input, m.Price.Output, 100*s.ErrorShare)
	}
	if engineErr != nil {
		d.say("ClickHouse is not there: %v.\n", engineErr)
	}
}

// dial makes a client for each tenant, over one connection.
func (d *demo) dial(ctx context.Context, list []prompt) (map[string]*sdk.Client, error) {
	clients := map[string]*sdk.Client{}
	for _, p := range list {
		if clients[p.tenant] != nil {
			continue
		}
		c, err := sdk.Dial(ctx, "", sdk.WithConn(d.sys.conn), sdk.WithTenant(p.tenant))
		if err != nil {
			return nil, err
		}
		clients[p.tenant] = c
	}
	return clients, nil
}

// work pushes the prompts, shows a streamed answer and then the progress.
func (d *demo) work(ctx context.Context, list []prompt) error {
	var pools []string
	for _, p := range d.sys.cfg.Pools {
		if p.Simulated != nil {
			pools = append(pools, p.Name)
		}
	}
	d.board = newBoard(pools, len(list)+1, time.Now())
	sub, err := d.sys.conn.Subscribe(wire.Subjects{}.Records("*", "*"), func(m *nats.Msg) {
		if r, err := wire.DecodeRecord(m.Header, nil); err == nil {
			d.board.record(&r)
		}
	})
	if err != nil {
		return err
	}
	defer func() { _ = sub.Unsubscribe() }() // fails only when the connection is closed
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	d.say("\nSubmitting %d prompts of %d tenants to the route %q, %g a second.\n", len(list), len(d.clients), config.DefaultRoute, d.rate)
	handles := make(chan *sdk.Handle, len(list)+1)
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		defer close(handles)
		if err := d.submit(ctx, list, handles); err != nil {
			cancel(err)
		}
	})
	streamed, err := d.stream(ctx, list[0].tenant)
	if err != nil {
		return errors.Join(err, context.Cause(ctx))
	}
	done := make(chan struct{})
	wg.Go(func() {
		defer close(done)
		d.collect(ctx, handles, cancel)
	})
	d.show(ctx, done)
	<-done
	d.handles = append(d.handles, streamed)
	return context.Cause(ctx)
}

// submit submits the prompts at the rate asked for.
func (d *demo) submit(ctx context.Context, list []prompt, handles chan<- *sdk.Handle) error {
	began := time.Now()
	for i := range list {
		due := time.Duration(float64(i) / d.rate * float64(time.Second))
		if err := ledger.Pause(ctx, due-time.Since(began)); err != nil {
			return err
		}
		h, err := d.clients[list[i].tenant].Submit(ctx, list[i].job(i, config.DefaultRoute))
		if err != nil {
			return fmt.Errorf("submit: %w", err)
		}
		handles <- h
	}
	return nil
}

// collect waits for the result of every job.
func (d *demo) collect(ctx context.Context, handles <-chan *sdk.Handle, cancel context.CancelCauseFunc) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for h := range handles {
		d.handles = append(d.handles, h)
		wg.Go(func() {
			r, err := h.Wait(ctx)
			if err != nil {
				cancel(err)
				return
			}
			d.board.result(r)
		})
	}
}

// show draws the board until done.
func (d *demo) show(ctx context.Context, done <-chan struct{}) {
	every := time.Second
	if d.tty {
		every = 100 * time.Millisecond
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	d.say("\n")
	for {
		select {
		case <-done:
			d.board.draw(d.out, time.Now(), d.tty)
			return
		case <-ctx.Done():
			return
		case <-tick.C:
			d.board.draw(d.out, time.Now(), d.tty)
		}
	}
}
