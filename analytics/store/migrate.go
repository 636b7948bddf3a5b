package store

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// migration is one numbered file of statements.
type migration struct {
	version    uint32
	name       string
	statements []string
}

const createMigrations = `CREATE TABLE IF NOT EXISTS schema_migrations
(version UInt32, name String, applied_at DateTime('UTC') DEFAULT now())
ENGINE = MergeTree ORDER BY version`

// Migrate creates the database and brings its tables to the version that this
// build knows. It may run again, and at the same time in several processes
// (I5). A database of a later version is an error.
func (s *Store) Migrate(ctx context.Context) error {
	migrations, err := loadMigrations(migrationFiles)
	if err != nil {
		return err
	}
	if err := s.createDatabase(ctx); err != nil {
		return err
	}
	create, err := s.cluster.statements(s.database, createMigrations)
	if err != nil {
		return err
	}
	for _, stmt := range create {
		if err := s.conn.Exec(ctx, stmt); err != nil {
			return s.wrap("create schema_migrations", err)
		}
	}
	var have uint32
	if err := s.conn.QueryRow(ctx, "SELECT max(version) FROM schema_migrations").Scan(&have); err != nil {
		return s.wrap("read schema_migrations", err)
	}
	if known := migrations[len(migrations)-1].version; have > known {
		return fmt.Errorf("clickhouse: database %s has schema version %d, this build knows %d: use a newer sluice", s.database, have, known)
	}
	for _, m := range migrations {
		if m.version <= have {
			continue
		}
		if err := s.apply(ctx, m); err != nil {
			return err
		}
	}
	return s.settle(ctx)
}

// apply runs a migration and then notes it: a crash in between runs it again.
func (s *Store) apply(ctx context.Context, m migration) error {
	for i, written := range m.statements {
		list, err := s.cluster.statements(s.database, written)
		for _, stmt := range list {
			if err == nil {
				err = s.conn.Exec(ctx, stmt)
			}
		}
		if err != nil {
			return s.wrap(fmt.Sprintf("migration %s, statement %d", m.name, i+1), err)
		}
	}
	err := s.conn.Exec(ctx, fmt.Sprintf("INSERT INTO schema_migrations (version, name) SELECT %d, '%s'", m.version, m.name))
	return s.wrap("note migration "+m.name, err)
}

// createDatabase uses a connection of its own: one that names the database
// cannot be made before it exists.
func (s *Store) createDatabase(ctx context.Context) error {
	opts := s.opts
	opts.Auth.Database = ""
	conn, err := clickhouse.Open(&opts)
	if err != nil {
		return s.wrap("connect", err)
	}
	defer conn.Close()
	var exists uint64
	if err := conn.QueryRow(ctx, "SELECT count() FROM system.databases WHERE name = "+quote(s.database)).Scan(&exists); err != nil {
		return s.wrap("look for the database", err)
	}
	if exists > 0 {
		return nil // the user may have no right to create one
	}
	err = conn.Exec(ctx, "CREATE DATABASE IF NOT EXISTS "+ident(s.database)+s.cluster.on())
	return s.wrap("create database "+s.database, err)
}

// loadMigrations reads the files NNNN_name.sql in the order of their numbers.
func loadMigrations(files fs.FS) ([]migration, error) {
	names, err := fs.Glob(files, "migrations/*.sql")
	if err != nil {
		return nil, err
	}
	var list []migration
	for _, path := range names {
		name := strings.TrimSuffix(path[strings.LastIndexByte(path, '/')+1:], ".sql")
		number, _, _ := strings.Cut(name, "_")
		v, err := strconv.ParseUint(number, 10, 32)
		if err != nil || v == 0 {
			return nil, fmt.Errorf("migration %s: the name must start with a number above 0", name)
		}
		text, err := fs.ReadFile(files, path)
		if err != nil {
			return nil, err
		}
		m := migration{version: uint32(v), name: name, statements: splitStatements(string(text))}
		if n := len(list); n > 0 && list[n-1].version >= m.version {
			return nil, fmt.Errorf("migration %s: number %d is used twice", name, v)
		}
		list = append(list, m)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("no migrations found")
	}
	return slices.Clip(list), nil
}

// splitStatements cuts at semicolons that end a line and drops comment lines.
func splitStatements(text string) []string {
	var list []string
	var b strings.Builder
	for line := range strings.Lines(text) {
		trimmed := strings.TrimSpace(line)
		if strings.HasPrefix(trimmed, "--") {
			continue
		}
		if body, ok := strings.CutSuffix(trimmed, ";"); ok {
			b.WriteString(body)
			list = append(list, strings.TrimSpace(b.String()))
			b.Reset()
			continue
		}
		b.WriteString(line)
	}
	if rest := strings.TrimSpace(b.String()); rest != "" {
		list = append(list, rest)
	}
	return list
}

// quote is a ClickHouse string literal.
func quote(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
}

// ident is a ClickHouse identifier in backquotes.
func ident(s string) string {
	return "`" + strings.NewReplacer(`\`, `\\`, "`", "\\`").Replace(s) + "`"
}
