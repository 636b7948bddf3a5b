package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// DefaultDatabase holds the tables unless the DSN names another one.
const DefaultDatabase = "sluice"

// Config says where ClickHouse is.
type Config struct {
	// DSN is clickhouse://user:password@host:9000 for the native protocol, or
	// http(s)://user:password@host:8123. A path names another database than
	// [DefaultDatabase]. Required.
	DSN string
	// DialTimeout bounds a connection attempt. Defaults to 5 s.
	DialTimeout time.Duration
	// Layout says how long rows stay, and where; Migrate sees to it.
	Layout Layout
	// Cluster is of several servers; Migrate makes the tables on all of them.
	Cluster Cluster
}

// Store reads and writes the tables. It is safe for use by several
// goroutines.
type Store struct {
	database string
	opts     clickhouse.Options
	conn     driver.Conn
	layout   Layout
	cluster  Cluster
}

// Open prepares a store. It does no I/O: the first call that needs ClickHouse
// connects, and every later one reconnects if it must. [Store.Migrate] has to
// succeed once before anything else is asked.
func Open(cfg Config) (*Store, error) {
	opts, err := parseDSN(cfg.DSN)
	if err != nil {
		return nil, err
	}
	opts.DialTimeout = cfg.DialTimeout
	if opts.DialTimeout <= 0 {
		opts.DialTimeout = 5 * time.Second
	}
	for k, v := range cfg.Cluster.settings() {
		if opts.Settings == nil {
			opts.Settings = clickhouse.Settings{}
		}
		opts.Settings[k] = v
	}
	conn, err := clickhouse.Open(opts)
	if err != nil {
		return nil, fmt.Errorf("clickhouse.dsn: %w", redact(err, opts.Auth.Password))
	}
	return &Store{database: opts.Auth.Database, opts: *opts, conn: conn, layout: cfg.Layout, cluster: cfg.Cluster}, nil
}

// parseDSN never repeats the DSN in its error: it may hold a password.
func parseDSN(dsn string) (*clickhouse.Options, error) {
	scheme, _, ok := strings.Cut(dsn, "://")
	switch {
	case !ok || dsn == "":
		return nil, errors.New("clickhouse.dsn: not a URL: use clickhouse://user:password@host:9000 or http://user:password@host:8123")
	case scheme != "clickhouse" && scheme != "http" && scheme != "https":
		return nil, errors.New("clickhouse.dsn: its scheme is not known: use clickhouse, http or https")
	}
	opts, err := clickhouse.ParseDSN(dsn)
	if err != nil {
		return nil, errors.New("clickhouse.dsn: cannot be read as a URL with known parameters: " +
			"use clickhouse://user:password@host:9000 or http://user:password@host:8123, special characters percent-encoded")
	}
	if opts.Auth.Database == "" {
		opts.Auth.Database = DefaultDatabase
	}
	return opts, nil
}

// redact takes a password out of an error's text.
func redact(err error, password string) error {
	if err == nil || password == "" || !strings.Contains(err.Error(), password) {
		return err
	}
	return errors.New(strings.ReplaceAll(err.Error(), password, "…"))
}

// Database is the name of the database that holds the tables.
func (s *Store) Database() string { return s.database }

// Ping reports whether ClickHouse answers.
func (s *Store) Ping(ctx context.Context) error {
	return s.wrap("ping", s.conn.Ping(ctx))
}

// Close closes the idle connections.
func (s *Store) Close() error { return s.conn.Close() }

// MaxSeq is the highest ledger sequence that the table holds, 0 when it is
// empty: the table's position. It is that of all rows, and not only of the
// latest: the ledger's clock may have gone back.
func (s *Store) MaxSeq(ctx context.Context, t Table) (uint64, error) {
	var seq uint64
	err := s.conn.QueryRow(ctx, "SELECT max(seq) FROM "+string(t)+" SETTINGS max_threads = 1").Scan(&seq)
	return seq, s.wrap("read the position of "+string(t), err)
}
