package app

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/sluicehq/sluice/analytics/engine"
	"github.com/sluicehq/sluice/analytics/ingest"
	"github.com/sluicehq/sluice/analytics/store"
	"github.com/sluicehq/sluice/broker/observe"
	"github.com/sluicehq/sluice/sdk/ledger"
)

// passwordFile is where the embedded ClickHouse's generated password lies.
const passwordFile = "clickhouse.password"

// startAnalytics starts the engine, if it is embedded, and the ingester. Both
// may come up later than the broker, or never (I3).
func (a *App) startAnalytics(engineCtx, ingestCtx context.Context, eng, ing *sync.WaitGroup) error {
	a.dsn = a.cfg.ClickHouse.DSN.Reveal()
	if a.dsn == "" && !a.cfg.ClickHouse.Embedded.Enabled {
		a.log.Info("no ClickHouse is configured: results are kept in the ledger only", "retention", a.cfg.Records.Retention)
		return nil
	}
	if a.dsn == "" {
		password, err := a.clickhousePassword()
		if err != nil {
			return err
		}
		if a.engineAddr, err = anyPort(a.cfg.ClickHouse.Embedded.Listen); err != nil {
			return fmt.Errorf("clickhouse.embedded.listen: %w", err)
		}
		u := url.URL{Scheme: "http", User: url.UserPassword("default", password), Host: a.engineAddr}
		a.dsn = u.String()
		eng.Go(func() { a.superviseEngine(engineCtx, password) })
	}
	st, err := store.Open(a.cfg.Store(a.dsn))
	if err != nil {
		return err
	}
	js, err := a.connect("ingest")
	if err != nil {
		return err
	}
	instance := a.instance
	if a.embedded() {
		// The data folder's own ingester keeps its name over restarts, and so
		// its lease.
		instance = upPrefix + "ingest"
	}
	if a.has(Router) {
		a.tail = ledger.NewTail(js, a.subjects, observe.History, a.log)
	}
	a.ingester, err = ingest.New(ingest.Config{JS: js, Subjects: a.subjects, Store: st, Instance: instance, Logger: a.log, Tail: a.tail,
		FlushInterval: a.cfg.Analytics.FlushInterval, Retention: a.cfg.Records.Retention, Replicas: a.cfg.NATS.Replicas,
		TextsKept: a.textsKept})
	if err != nil {
		return err
	}
	if err := a.startAlerts(ingestCtx, st, ing); err != nil {
		return err
	}
	ing.Go(func() {
		defer func() { _ = st.Close() }() // alerts end with ingestCtx, too
		if err := a.ingester.Run(ingestCtx); err != nil {
			a.log.Error("ingester ended", "err", err)
		}
	})
	return nil
}

// anyPort is an address with a port of its own if it has port 0, which stands for
// any free one: the engine is told where to listen, and may start again there.
func anyPort(addr string) (string, error) {
	if _, port, err := net.SplitHostPort(addr); err != nil || port != "0" {
		return addr, err
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// engineRetry is the pause before the engine is looked for again.
const engineRetry = 5 * time.Second

// superviseEngine keeps the embedded engine running, and waits for it to be
// installed if it is not there.
func (a *App) superviseEngine(ctx context.Context, password string) {
	told := false
	for {
		lib, err := engine.Find()
		if err == nil {
			cfg := engine.Config{Lib: lib, Path: filepath.Join(a.cfg.DataDir, "clickhouse"), Listen: a.engineAddr, Password: password}
			if cfg.Path, err = filepath.Abs(cfg.Path); err == nil {
				err = engine.New(engine.SupervisorConfig{Engine: cfg, Log: a.log, Stderr: a.opt.Stderr}).Run(ctx)
			}
		}
		if ctx.Err() != nil {
			return
		}
		if !told || !errors.Is(err, engine.ErrNotFound) {
			a.log.Warn("analytics wait for ClickHouse; jobs run and every event is kept until it comes", "err", err)
		}
		told = true
		if ledger.Pause(ctx, engineRetry) != nil {
			return
		}
	}
}

// clickhousePassword is the configured password, or the generated one in the
// data folder, made at the first start and readable by its owner only.
func (a *App) clickhousePassword() (string, error) {
	if p := a.cfg.ClickHouse.Embedded.Password.Reveal(); p != "" {
		return p, nil
	}
	path := filepath.Join(a.cfg.DataDir, passwordFile)
	b, err := os.ReadFile(path)
	if err == nil && len(strings.TrimSpace(string(b))) > 0 {
		return strings.TrimSpace(string(b)), nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("password of the embedded ClickHouse: %w", err)
	}
	password := rand.Text()
	if err := os.WriteFile(path, []byte(password+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("password of the embedded ClickHouse: %w", err)
	}
	return password, nil
}

// scheme is the one that the gateway speaks.
func (a *App) scheme() string {
	if a.cfg.HTTP.TLS.Cert != "" {
		return "https"
	}
	return "http"
}

// HTTPAddr is where the gateway listens, "" without that role.
func (a *App) HTTPAddr() string { return a.httpAddr }

// Addresses are the other places where this process answers, for people.
func (a *App) Addresses() []string {
	var out []string
	if a.has(Gateway) {
		out = append(out, "HTTP        "+a.scheme()+"://"+a.httpAddr)
	}
	if a.embeddedClickHouse() {
		at := "http://" + a.engineAddr + " (user default)"
		if _, err := engine.Find(); err != nil {
			at = "not installed: jobs run, and their records wait for it (make engine)"
		}
		out = append(out, "ClickHouse  "+at)
	}
	return out
}
