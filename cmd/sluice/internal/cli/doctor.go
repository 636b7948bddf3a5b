package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/sluicehq/sluice/analytics/store"
	"github.com/sluicehq/sluice/cmd/sluice/internal/config"
	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/spf13/cobra"
)

const checkTimeout = 5 * time.Second

// Bounds of free disk space, in bytes.
const (
	diskFail = 512 << 20
	diskWarn = 5 << 30
)

// finding is the outcome of one check.
type finding struct {
	Check  string `json:"check"`
	Status string `json:"status"` // ok, warn or fail
	Detail string `json:"detail"`
	Hint   string `json:"hint,omitempty"` // what to do
}

// doctor makes checks one after another, each on what the earlier ones found.
type doctor struct {
	g        *globals
	cmd      *cobra.Command
	c        *config.Config
	admin    *admin // nil: NATS is not reachable
	findings []finding
}

func (g *globals) doctorCommand() *cobra.Command {
	return &cobra.Command{
		Use: "doctor", Short: "Check everything that a Sluice needs, and say what to do",
		Args: exactly(0, "no arguments"), RunE: g.doctor,
	}
}

func (g *globals) doctor(cmd *cobra.Command, _ []string) error {
	d := &doctor{g: g, cmd: cmd}
	if d.configuration() {
		d.dataDir()
		d.engine()
		d.nats()
		if d.admin != nil {
			defer d.admin.close()
			d.router()
			d.prices()
		}
		d.ports()
		d.clickhouse()
	}
	return d.report()
}

func (d *doctor) ok(check, format string, args ...any) {
	d.findings = append(d.findings, finding{check, "ok", fmt.Sprintf(format, args...), ""})
}

func (d *doctor) warn(check, hint, format string, args ...any) {
	d.findings = append(d.findings, finding{check, "warn", fmt.Sprintf(format, args...), hint})
}

func (d *doctor) fail(check, hint, format string, args ...any) {
	d.findings = append(d.findings, finding{check, "fail", fmt.Sprintf(format, args...), hint})
}

// report prints the findings; a failed check is exit status 1.
func (d *doctor) report() error {
	bad := false
	for _, f := range d.findings {
		bad = bad || f.Status == "fail"
	}
	out := d.cmd.OutOrStdout()
	if d.g.json {
		if err := printJSON(out, map[string]any{"healthy": !bad, "checks": d.findings}); err != nil {
			return err
		}
	} else {
		for _, f := range d.findings {
			say(out, "%-4s  %-13s %s\n", f.Status, f.Check, strings.ReplaceAll(cleanLines(f.Detail), "\n", "\n"+strings.Repeat(" ", 20)))
			if f.Hint != "" {
				say(out, "%20s→ %s\n", "", clean(f.Hint))
			}
		}
	}
	if bad {
		return silent(exitFailed)
	}
	return nil
}

// context bounds one check.
func (d *doctor) context() (context.Context, context.CancelFunc) {
	return context.WithTimeout(d.cmd.Context(), checkTimeout)
}

// configuration reports whether the other checks have something to go by.
func (d *doctor) configuration() bool {
	c, err := d.g.loadStrictly(d.cmd)
	if err == nil {
		from := firstOf(c.Path, "defaults")
		d.ok("configuration", "%s: %s, %s", from, count(len(c.Pools), "pool"), count(len(c.Routes), "route"))
		for _, w := range c.Warnings {
			d.warn("configuration", "", "%s", w)
		}
		d.c = c
		return true
	}
	d.fail("configuration", "correct it; sluice config validate checks again", "%v", err)
	d.c, err = d.g.load(d.cmd) // perhaps only the keys of pools are missing here
	return err == nil
}

// dataDir checks that the server can write where its data goes.
func (d *doctor) dataDir() {
	dir := d.c.DataDir
	info, err := os.Stat(dir)
	for errors.Is(err, os.ErrNotExist) && dir != filepath.Dir(dir) { // it would be made there
		dir = filepath.Dir(dir)
		info, err = os.Stat(dir)
	}
	if err != nil || !info.IsDir() {
		d.fail("data directory", "name another one with --data-dir", "%s is not a directory that can be read", dir)
		return
	}
	f, err := os.CreateTemp(dir, ".sluice-doctor-*")
	if err != nil {
		d.fail("data directory", "give this user the right to write there, or name another one with --data-dir", "%v", err)
		return
	}
	_ = f.Close()
	_ = os.Remove(f.Name())
	free, err := freeBytes(dir)
	switch {
	case err != nil:
		d.ok("data directory", "%s is writable", d.c.DataDir)
	case free < diskFail:
		d.fail("data directory", "make room: NATS and ClickHouse stop writing on a full disk", "%s has %d MiB free", d.c.DataDir, free>>20)
	case free < diskWarn:
		d.warn("data directory", "make room, or shorten records.retention", "%s has %d MiB free", d.c.DataDir, free>>20)
	default:
		d.ok("data directory", "%s is writable, %d GiB free", d.c.DataDir, free>>30)
	}
}

func (d *doctor) engine() {
	if d.g.deps.FindEngine == nil || !d.c.ClickHouse.Embedded.Enabled {
		return
	}
	path, err := d.g.deps.FindEngine()
	if err != nil {
		d.fail("engine", "install it with: make engine; or name libchdb.so with SLUICE_CHDB_LIB; or use a ClickHouse of your own: --clickhouse DSN",
			"%v", err)
		return
	}
	d.ok("engine", "%s", path)
}

func (d *doctor) nats() {
	a, err := d.g.connectAdmin(d.c)
	if err != nil {
		f := explain(err)
		d.fail("nats", f.hint, "%s", f.msg)
		return
	}
	d.admin = a
	d.ok("nats", "%s, server %s, JetStream messages up to %d KiB", config.NewURL(natsURL(d.c)), a.nc.ConnectedServerVersion(), a.nc.MaxPayload()>>10)
}

// router checks that a router answers and that the streams are there.
func (d *doctor) router() {
	var health struct {
		Streams []struct {
			Name     string `json:"name"`
			Messages uint64 `json:"messages"`
		} `json:"streams"`
	}
	ctx, cancel := d.context()
	defer cancel()
	if err := d.admin.ask(ctx, "health", nil, &health); err != nil {
		f := explain(err)
		d.fail("router", f.hint, "%s", f.msg)
		return
	}
	d.ok("router", "answers")
	there, counts := make(map[string]bool), make([]string, 0, len(health.Streams))
	for _, s := range health.Streams {
		there[s.Name] = true
		counts = append(counts, fmt.Sprintf("%s %d", s.Name, s.Messages))
	}
	for _, kind := range []string{wire.StreamJobs, wire.StreamSched, wire.StreamWork, wire.StreamLedger, wire.StreamDead, wire.StreamChunks} {
		if name := d.admin.subjects.Stream(kind); !there[name] {
			d.fail("streams", "restart the router: it declares the streams at start", "the stream %s is missing", name)
			return
		}
	}
	d.ok("streams", "%s", strings.Join(counts, ", "))
}

// prices lists offered models whose cost would be unknown, and pools that
// nobody works for.
func (d *doctor) prices() {
	var answer poolsAnswer
	ctx, cancel := d.context()
	defer cancel()
	if err := d.admin.ask(ctx, "pools", nil, &answer); err != nil {
		f := explain(err)
		d.fail("pools", f.hint, "%s", f.msg)
		return
	}
	var unpriced, idle []string
	for _, p := range answer.Pools {
		for _, m := range p.Models {
			if !m.Priced {
				unpriced = append(unpriced, p.Name+"/"+m.Name)
			}
		}
		if p.Workers == 0 {
			idle = append(idle, p.Name)
		}
	}
	if len(idle) > 0 {
		d.fail("workers", "start one: sluice up, or sluice serve --role worker", "no worker serves %s", strings.Join(idle, ", "))
	} else {
		d.ok("workers", "every one of the %d pools has a worker", len(answer.Pools))
	}
	if len(unpriced) > 0 {
		d.warn("prices", "give them a price in the configuration: models: {NAME: {price: {input: …, output: …}}}",
			"offered without a price, so their cost is unknown: %s", strings.Join(unpriced, ", "))
		return
	}
	d.ok("prices", "every offered model has a price")
}

// ports checks the addresses to listen on, while nobody of ours does.
func (d *doctor) ports() {
	if d.admin != nil {
		return
	}
	addrs := map[string]string{"http.listen": d.c.HTTP.Listen}
	if d.c.NATS.URL.IsZero() {
		addrs["nats.embedded.listen"] = d.c.NATS.Embedded.Listen
	}
	if d.c.ClickHouse.Embedded.Enabled {
		addrs["clickhouse.embedded.listen"] = d.c.ClickHouse.Embedded.Listen
	}
	free := true
	for _, key := range []string{"nats.embedded.listen", "clickhouse.embedded.listen", "http.listen"} {
		addr, used := addrs[key]
		if !used {
			continue
		}
		l, err := net.Listen("tcp", addr)
		if err != nil {
			free = false
			d.fail("ports", "end the other program, or choose another port: --"+config.Key{Path: key}.Flag()+" HOST:PORT (sluice up), "+config.Key{Path: key}.Variable(), "%s: %v", key, err)
			continue
		}
		_ = l.Close()
	}
	if free {
		d.ok("ports", "every port to listen on is free")
	}
}

// clickhouse checks that it answers, and lists models that cost an unknown
// amount so far.
func (d *doctor) clickhouse() {
	if d.c.ClickHouse.DSN.IsZero() && !d.c.ClickHouse.Embedded.Enabled {
		return // the configuration's warning says it
	}
	dsn, err := clickhouseDSN(d.c)
	if err != nil {
		f := explain(err)
		d.fail("clickhouse", f.hint, "%s", f.msg)
		return
	}
	sc := d.c.Store(dsn)
	sc.DialTimeout = checkTimeout
	s, err := store.Open(sc)
	if err != nil {
		d.fail("clickhouse", "correct the DSN", "%v", err)
		return
	}
	defer func() { _ = s.Close() }() // only read from
	ctx, cancel := d.context()
	defer cancel()
	if err := s.Ping(ctx); err != nil {
		d.fail("clickhouse", "events are kept until it is there; is the engine installed, and sluice up running?", "%v", err)
		return
	}
	d.ok("clickhouse", "%s answers", config.NewURL(dsn))
	list, err := s.Unpriced(ctx, time.Time{})
	if err != nil {
		d.fail("tables", "they are made when sluice up first reaches ClickHouse", "%v", err)
		return
	}
	for _, u := range list {
		d.warn("prices", "give the model a price in the pool's configuration; attempts so far stay unknown",
			"%s of %s/%s (%s) without a known cost, the last at %s", count(int(u.Attempts), "attempt"), u.Pool, u.Model, u.Provider, u.Last.Local().Format(time.DateTime))
	}
	if len(list) == 0 {
		d.ok("tables", "no attempt lacks a price")
	}
}
