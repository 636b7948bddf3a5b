package engine

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"time"
)

// Config says how the engine runs and where it answers.
type Config struct {
	// Lib is the path of libchdb.so. Defaults to what Find finds.
	Lib string `json:"lib"`
	// Path is the folder of the data; two siblings, Path-tmp and Path.lock,
	// belong to it. Required.
	Path string `json:"path"`
	// Listen is the address of the HTTP endpoint. Defaults to 127.0.0.1:8123.
	Listen string `json:"listen"`
	// Password is what the user "default" must present. Required.
	Password string `json:"password"`
	// Connections is how many statements run at the same time; further ones
	// wait. Defaults to 4.
	Connections int `json:"connections"`
	// MaxMemory bounds the memory of all statements together, in bytes.
	// Defaults to 2 GiB.
	MaxMemory int64 `json:"max_memory"`
	// MaxInsert bounds the body of one insert, in bytes after decompression.
	// Defaults to 4 GiB.
	MaxInsert int64 `json:"max_insert"`
	// QueryTimeout bounds one statement, waiting included. Defaults to 30 min.
	QueryTimeout time.Duration `json:"query_timeout"`
	// IdleTimeout bounds how long a client may neither send nor read while it
	// should. Defaults to 1 min.
	IdleTimeout time.Duration `json:"idle_timeout"`
	// LockWait is how long to wait for another process to let go of Path.
	// Defaults to 5 s.
	LockWait time.Duration `json:"lock_wait"`
	// StopWait is how long running statements may go on after a stop before
	// they are killed. Defaults to 5 s.
	StopWait time.Duration `json:"stop_wait"`
	// Log receives what an operator should know. Defaults to slog.Default().
	Log *slog.Logger `json:"-"`
	// OnReady is called once with the address that is served. Optional.
	OnReady func(addr string) `json:"-"`
}

// The user of the endpoint. ClickHouse's own default, and what the contract
// names.
const user = "default"

func (c Config) withDefaults() Config {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	if c.Listen == "" {
		c.Listen = "127.0.0.1:8123"
	}
	if c.Connections == 0 {
		c.Connections = 4
	}
	if c.MaxMemory == 0 {
		c.MaxMemory = 2 << 30
	}
	if c.MaxInsert == 0 {
		c.MaxInsert = 4 << 30
	}
	def(&c.QueryTimeout, 30*time.Minute)
	def(&c.IdleTimeout, time.Minute)
	def(&c.LockWait, 5*time.Second)
	def(&c.StopWait, 5*time.Second)
	if c.Log == nil {
		c.Log = slog.Default()
	}
	return c
}

// validate names every fault at once.
func (c Config) validate() error {
	var errs []error
	fault := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf("engine: "+format, args...))
		}
	}
	host, _, err := net.SplitHostPort(c.Listen)
	fault(err != nil, "listen %q: %v: want host:port, as in 127.0.0.1:8123", c.Listen, err)
	fault(c.Password == "" && !isLoopback(host), "listen %q: not a loopback address and no password: set a password or listen on 127.0.0.1", c.Listen)
	fault(c.Password == "", "no password: set one, every program on this machine can reach the endpoint")
	fault(c.Path == "", "no path for the data")
	fault(strings.ContainsAny(c.Path, "*?{}'\\\x00"), "path %q: must not contain any of * ? { } ' \\", c.Path)
	fault(c.Connections < 1 || c.Connections > 64, "connections %d: want 1 to 64", c.Connections)
	fault(c.MaxMemory < 256<<20, "max_memory %d: want at least 256 MiB", c.MaxMemory)
	fault(c.MaxInsert < 1<<20, "max_insert %d: want at least 1 MiB", c.MaxInsert)
	fault(c.QueryTimeout < 0 || c.IdleTimeout < 0 || c.LockWait < 0 || c.StopWait < 0, "time-outs must not be negative")
	return errors.Join(errs...)
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// tempDir holds uploads and results on their way; it is emptied at each start.
func (c Config) tempDir() string { return filepath.Clean(c.Path) + "-tmp" }

func (c Config) lockFile() string { return filepath.Clean(c.Path) + ".lock" }
