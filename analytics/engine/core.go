package engine

import (
	"bytes"
	"context"
	"encoding/xml"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// core is the running engine: one keeper connection that lives as long as the
// engine and kills statements, and a bounded number of sessions, one per
// statement (opening one takes 0.2 ms), so that no statement sees another's
// settings, current database or temporary tables.
type core struct {
	lib   *library
	args  []string
	temp  string
	slots chan struct{}

	keeperMu sync.Mutex
	keeper   *session

	version, timezone, host string
	hasTopFilter            bool
}

// topFilter is a setting that 26.5 has on: a filter for the first few of a sorted
// column, which mistakes the column's type where a table is read in another
// order (TYPE_MISMATCH in __topKFilter). Statements have it off unless they ask.
const topFilter = "use_top_k_dynamic_filtering"

// startCore opens the data directory. The caller holds its lock.
func startCore(cfg Config) (*core, error) {
	lib, err := load(cfg.Lib)
	if err != nil {
		return nil, err
	}
	config, err := writeServerConfig(cfg)
	if err != nil {
		return nil, err
	}
	c := &core{
		lib: lib, temp: cfg.tempDir(), slots: make(chan struct{}, cfg.Connections),
		args: []string{"--path=" + cfg.Path, "--config-file=" + config},
	}
	if c.keeper, err = lib.open(c.args...); err != nil {
		return nil, fmt.Errorf("%w: %s", err, cfg.Path)
	}
	out, err := c.ask("SELECT version(), timezone(), hostName(), (SELECT count() FROM system.settings WHERE name = " + quoteString(topFilter) + ")")
	if err != nil {
		c.keeper.close()
		return nil, fmt.Errorf("engine: first query: %w", err)
	}
	fields := strings.Split(strings.TrimSpace(out), "\t")
	if len(fields) == 4 {
		c.version, c.timezone, c.host, c.hasTopFilter = fields[0], fields[1], fields[2], fields[3] != "0"
	}
	return c, nil
}

// serverConfig is the part of ClickHouse's server configuration that differs
// from its defaults. They are meant for a machine of its own: caches of
// gigabytes and 10,000 threads.
type serverConfig struct {
	XMLName          xml.Name `xml:"clickhouse"`
	MaxMemory        int64    `xml:"max_server_memory_usage"`
	MarkCache        int64    `xml:"mark_cache_size"`
	PrimaryCache     int64    `xml:"primary_index_cache_size"`
	IndexMarkCache   int64    `xml:"index_mark_cache_size"`
	QueryCache       int64    `xml:"query_condition_cache_size"`
	CompiledCache    int64    `xml:"compiled_expression_cache_size"`
	MaxThreadPool    int      `xml:"max_thread_pool_size"`
	MaxThreadPoolGap int      `xml:"max_thread_pool_free_size"`
	TempPath         string   `xml:"tmp_path"`
}

// writeServerConfig empties the temporary folder and writes config.xml there.
func writeServerConfig(cfg Config) (string, error) {
	dir := cfg.tempDir()
	if err := os.RemoveAll(dir); err != nil {
		return "", fmt.Errorf("engine: empty the temporary folder: %w", err)
	}
	work := filepath.Join(dir, "work")
	if err := os.MkdirAll(work, 0o700); err != nil {
		return "", fmt.Errorf("engine: make the temporary folder: %w", err)
	}
	const mib = 1 << 20
	body, err := xml.MarshalIndent(serverConfig{
		MaxMemory: cfg.MaxMemory,
		MarkCache: 128 * mib, PrimaryCache: 128 * mib, IndexMarkCache: 32 * mib,
		QueryCache: 16 * mib, CompiledCache: 16 * mib,
		MaxThreadPool: 512, MaxThreadPoolGap: 16,
		TempPath: work + "/",
	}, "", "  ")
	if err != nil {
		return "", fmt.Errorf("engine: encode its configuration: %w", err)
	}
	path := filepath.Join(dir, "config.xml")
	if err := os.WriteFile(path, body, 0o600); err != nil {
		return "", fmt.Errorf("engine: write its configuration: %w", err)
	}
	return path, nil
}

// ask runs a short statement of this package's own on the keeper.
func (c *core) ask(sql string) (string, error) {
	c.keeperMu.Lock()
	defer c.keeperMu.Unlock()
	if c.keeper == nil {
		return "", fmt.Errorf("engine: it is stopped")
	}
	res := c.keeper.query(sql, "TabSeparated", nil)
	defer res.free()
	if err := res.err(); err != nil {
		return "", err
	}
	return string(res.bytes()), nil
}

// close ends the engine. No session may be in use.
func (c *core) close() {
	c.keeperMu.Lock()
	defer c.keeperMu.Unlock()
	if c.keeper != nil {
		c.keeper.close()
		c.keeper = nil
	}
}

// setting is a query-level setting of ClickHouse.
type setting struct{ name, value string }

// scope is what holds for one statement only.
type scope struct {
	id       string // unique, ours
	database string
	settings []setting
	readonly bool
}

// marker carries scope.id into system.processes: the engine takes no query ID
// from outside, and this setting has no effect without a cluster.
const marker = "cluster_for_parallel_replicas"

// acquire waits for a free slot and prepares a session with the scope.
func (c *core) acquire(ctx context.Context, sc scope) (*session, error) {
	select {
	case c.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	s, err := c.lib.open(c.args...)
	if err == nil {
		if err = s.prepare(sc, c.hasTopFilter); err != nil {
			s.close()
		}
	}
	if err != nil {
		<-c.slots
		return nil, err
	}
	return s, nil
}

func (c *core) release(s *session) {
	s.close()
	<-c.slots
}

func (s *session) prepare(sc scope, noTopFilter bool) error {
	if sc.database != "" {
		if err := s.do("USE " + quoteIdent(sc.database)); err != nil {
			return err
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "SET implicit_select = 0, allow_introspection_functions = 0, %s = %s", marker, quoteString(sc.id))
	if noTopFilter {
		b.WriteString(", " + topFilter + " = 0")
	}
	for _, st := range sc.settings {
		fmt.Fprintf(&b, ", %s = %s", st.name, quoteString(st.value))
	}
	if sc.readonly {
		b.WriteString(", readonly = 2")
	}
	return s.do(b.String())
}

func (s *session) do(sql string) error {
	res := s.query(sql, "Null", nil)
	defer res.free()
	return res.err()
}

// during calls run and kills its statement when ctx ends meanwhile. It returns
// after run has.
func (c *core) during(ctx context.Context, id string, run func()) {
	done := make(chan struct{})
	var killer sync.WaitGroup
	killer.Go(func() {
		select {
		case <-done:
			return
		case <-ctx.Done():
		}
		// Again and again: the statement may not be registered yet, or be
		// between two steps that look at the flag.
		for {
			_, _ = c.ask("KILL QUERY WHERE Settings['" + marker + "'] = " + quoteString(id) + " ASYNC FORMAT Null")
			select {
			case <-done:
				return
			case <-time.After(100 * time.Millisecond):
			}
		}
	})
	run()
	close(done)
	killer.Wait()
}

// tempFile names a file for one upload or result.
func (c *core) tempFile(id, what string) string { return filepath.Join(c.temp, id+"."+what) }

func quoteString(s string) string { return quote(s, '\'') }

func quoteIdent(s string) string { return quote(s, '`') }

func quote(s string, q byte) string {
	var b bytes.Buffer
	b.WriteByte(q)
	for i := range len(s) {
		switch c := s[i]; c {
		case q, '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case 0:
			b.WriteString(`\0`)
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte(q)
	return b.String()
}
