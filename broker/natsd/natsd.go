package natsd

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/sluicehq/sluice/sdk/wire"
)

// Config says how the embedded server runs.
type Config struct {
	DataDir    string        // JetStream's folder is <DataDir>/nats; required
	Listen     string        // host:port for clients; empty: in process only
	Sync       time.Duration // between fsyncs of the streams; 0: every write
	MaxStore   int64         // bytes of all streams; 0: what they have, and three quarters of what is free
	ServerName string        // default "sluice"
	Tenants    []Tenant      // empty: open, any tenant name
	Subjects   wire.Subjects
	Logger     *slog.Logger // the server's warnings and errors; nil: dropped
}

// Tenant is a NATS user with an account of its own, and one for each further
// key: which password it logs in with says which.
type Tenant struct {
	Name, Key string
	Keys      []Key
}

// Key is one of a tenant's named keys.
type Key struct{ Name, Key string }

// Server is a running embedded nats-server. It is safe for concurrent use.
type Server struct {
	cfg      Config
	opts     *server.Options // with the first start's limits and port, for the next ones
	password string          // of internalUser; empty: open
	fault    atomic.Pointer[error]

	change  sync.Mutex // held by who starts the server anew, or changes its tenants
	tenants []Tenant   // under change

	mu     sync.RWMutex
	srv    *server.Server
	logins *logins // of srv; nil: open

	disk      func(dir string) (free, size int64)
	keepEvery time.Duration // 0: keepEvery; tests are in a hurry
}

// readyTimeout bounds how long a start may take; large streams need to be
// read through after a crash.
const readyTimeout = 60 * time.Second

// Start runs the server and returns when it accepts connections.
func Start(cfg Config) (*Server, error) {
	opts, err := options(cfg)
	if err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, opts: opts, tenants: cfg.Tenants, disk: disk}
	if len(cfg.Tenants) > 0 {
		if s.password, err = password(cfg.DataDir); err != nil {
			return nil, err
		}
	}
	if err := s.boot(); err != nil {
		return nil, err
	}
	if a, ok := s.srv.Addr().(*net.TCPAddr); ok && a != nil {
		opts.Port = a.Port
	}
	opts.JetStreamMaxStore = s.srv.JetStreamConfig().MaxStore
	return s, nil
}

// boot starts a server with the tenants there are.
func (s *Server) boot() error {
	opts := s.opts.Clone() // the server writes to it
	var l *logins
	if s.password != "" {
		l = &logins{subjects: s.cfg.Subjects, ready: make(chan struct{})}
		opts.CustomClientAuthentication = l
	}
	srv, err := server.NewServer(opts)
	if err != nil {
		return fmt.Errorf("embedded NATS: %w", err)
	}
	if s.cfg.Logger != nil {
		srv.SetLoggerV2(&logger{log: s.cfg.Logger.With("part", "nats")}, false, false, false)
	}
	srv.Start()
	if err := s.await(srv, l); err != nil {
		srv.Shutdown()
		srv.WaitForShutdown()
		return fmt.Errorf("embedded NATS: %w", err)
	}
	tuneBlocks(srv)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.srv, s.logins = srv, l
	return nil
}

// await returns once the server takes connections and knows its tenants.
func (s *Server) await(srv *server.Server, l *logins) error {
	if !srv.ReadyForConnections(readyTimeout) {
		return fmt.Errorf("not ready on %q after %s: is the port taken?", s.cfg.Listen, readyTimeout)
	}
	if !srv.JetStreamEnabled() {
		return fmt.Errorf("JetStream could not start in %s: is the folder writable?", s.opts.StoreDir)
	}
	if l == nil {
		return nil
	}
	// The server must run before it takes accounts, and JetStream start
	// while ours is the only one, which it then belongs to by default.
	if err := l.replace(srv, s.password, s.tenants); err != nil {
		return err
	}
	close(l.ready)
	return nil
}

// running is the server of now, which may have ended.
func (s *Server) running() *server.Server {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.srv
}

// SetTenants replaces the tenants of a running server. Clients of a tenant
// that is gone, or has another key now, are disconnected; nobody else notices.
// A server without tenants does not get any that way, nor does it lose all.
func (s *Server) SetTenants(list []Tenant) error {
	if (s.password == "") != (len(list) == 0) {
		return errMode
	}
	if s.password == "" {
		return nil
	}
	s.change.Lock()
	defer s.change.Unlock()
	if srv := s.running(); srv.Running() { // else the next start knows them
		if err := s.logins.replace(srv, s.password, list); err != nil {
			return err
		}
	}
	s.tenants = list
	return nil
}

var errMode = errors.New("NATS asks for keys, or not, from its start on: restart it to change that")

// PasswordFile is where in the data directory our own user's password lies,
// for whoever may read it to administrate.
const PasswordFile = "nats.password"

// password is our own user's: made once, and readable by its owner only.
func password(dir string) (string, error) {
	path := filepath.Join(dir, PasswordFile)
	b, err := os.ReadFile(path)
	if p := strings.TrimSpace(string(b)); err == nil && p != "" {
		return p, os.Chmod(path, 0o600)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("embedded NATS: password of its own user: %w", err)
	}
	p := rand.Text()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("embedded NATS: %w", err)
	}
	if err := os.WriteFile(path, []byte(p+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("embedded NATS: password of its own user: %w", err)
	}
	return p, os.Chmod(path, 0o600) // it may have been there, empty
}

func options(cfg Config) (*server.Options, error) {
	o := &server.Options{
		ServerName: cfg.ServerName, JetStream: true, StoreDir: filepath.Join(cfg.DataDir, "nats"),
		SyncInterval: cfg.Sync, SyncAlways: cfg.Sync == 0, MaxPayload: wire.MaxPayload, MaxPending: 256 << 20,
		NoSigs: true, DontListen: true, NoSystemAccount: false,
		JetStreamLimits: server.JSLimitOpts{MaxBatchInflightPerStream: 1000, MaxBatchSize: 100_000},
	}
	if o.ServerName == "" {
		o.ServerName = "sluice"
	}
	// The server's own default is of what is free alone: a folder that fills
	// more than that would be full at the next start.
	if o.JetStreamMaxStore = cfg.MaxStore; o.JetStreamMaxStore == 0 {
		o.JetStreamMaxStore = room(cfg.DataDir, o.StoreDir)
	}
	if cfg.Sync == 0 {
		o.SyncInterval = 2 * time.Minute
	}
	if cfg.Listen != "" {
		host, port, err := net.SplitHostPort(cfg.Listen)
		if err != nil {
			return nil, fmt.Errorf("embedded NATS: listen address %q: %w", cfg.Listen, err)
		}
		p, err := strconv.Atoi(port)
		if err != nil {
			return nil, fmt.Errorf("embedded NATS: listen port %q is not a number", port)
		}
		if p == 0 {
			p = server.RANDOM_PORT
		}
		// The server itself ends the process when it cannot listen.
		if probe, err := net.Listen("tcp", cfg.Listen); err != nil {
			return nil, fmt.Errorf("embedded NATS: cannot listen on %s: %w; stop what holds the port, or set nats.embedded.listen", cfg.Listen, err)
		} else if err := probe.Close(); err != nil {
			return nil, err
		}
		o.DontListen, o.Host, o.Port = false, host, p
	}
	return o, nil
}

// Bare makes connections as the NATS server itself does within a process,
// without what InProcessConn saves: what a benchmark compares with.
func (s *Server) Bare() nats.InProcessConnProvider { return s.running() }

// Connect opens an in-process connection for one of our own parts. It comes
// back by itself when the server was started anew.
func (s *Server) Connect(name string, opts ...nats.Option) (*nats.Conn, error) {
	opts = append([]nats.Option{nats.Name(name), nats.InProcessServer(s), nats.MaxReconnects(-1), nats.ReconnectWait(250 * time.Millisecond)}, opts...)
	if s.password != "" {
		opts = append(opts, nats.UserInfo(internalUser, s.password))
	}
	return nats.Connect("", opts...)
}

// Addr is the client listener's address, empty if there is none.
func (s *Server) Addr() string {
	if a, ok := s.running().Addr().(*net.TCPAddr); ok && a != nil {
		return a.String()
	}
	return ""
}

// MaxStore is how many bytes all streams together may have.
func (s *Server) MaxStore() int64 { return s.opts.JetStreamMaxStore }

// Stop shuts the server down in good order and waits for it.
func (s *Server) Stop() {
	srv := s.running()
	srv.Shutdown()
	srv.WaitForShutdown()
}

// logger hands the server's own log lines to slog, from warnings up.
type logger struct{ log *slog.Logger }

func (l *logger) Noticef(format string, v ...any) { l.log.Debug(fmt.Sprintf(format, v...)) }
func (l *logger) Warnf(format string, v ...any)   { l.log.Warn(fmt.Sprintf(format, v...)) }
func (l *logger) Errorf(format string, v ...any)  { l.log.Error(fmt.Sprintf(format, v...)) }
func (l *logger) Fatalf(format string, v ...any)  { l.log.Error(fmt.Sprintf(format, v...)) }
func (l *logger) Debugf(string, ...any)           {}
func (l *logger) Tracef(string, ...any)           {}
