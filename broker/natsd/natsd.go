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

// Tenant is a NATS user with an account of its own.
type Tenant struct{ Name, Key string }

// Server is a running embedded nats-server.
type Server struct {
	srv      *server.Server
	logins   *logins // nil: open
	password string  // of internalUser
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
	s := &Server{}
	if len(cfg.Tenants) > 0 {
		if s.password, err = password(cfg.DataDir); err != nil {
			return nil, err
		}
		s.logins = &logins{subjects: cfg.Subjects, ready: make(chan struct{})}
		opts.CustomClientAuthentication = s.logins
	}
	srv, err := server.NewServer(opts)
	if err != nil {
		return nil, fmt.Errorf("embedded NATS: %w", err)
	}
	s.srv = srv
	if cfg.Logger != nil {
		srv.SetLoggerV2(&logger{log: cfg.Logger.With("part", "nats")}, false, false, false)
	}
	srv.Start()
	if !srv.ReadyForConnections(readyTimeout) {
		srv.Shutdown()
		return nil, fmt.Errorf("embedded NATS: not ready on %q after %s: is the port taken?", cfg.Listen, readyTimeout)
	}
	if !srv.JetStreamEnabled() {
		srv.Shutdown()
		return nil, fmt.Errorf("embedded NATS: JetStream could not start in %s: is the folder writable?", opts.StoreDir)
	}
	if s.logins != nil {
		// The server must run before it takes accounts, and JetStream start
		// while ours is the only one, which it then belongs to by default.
		if err := s.logins.replace(srv, s.password, cfg.Tenants); err != nil {
			s.Stop()
			return nil, fmt.Errorf("embedded NATS: %w", err)
		}
		close(s.logins.ready)
	}
	return s, nil
}

// SetTenants replaces the tenants of a running server. Clients of a tenant
// that is gone, or has another key now, are disconnected; nobody else notices.
// A server without tenants does not get any that way, nor does it lose all.
func (s *Server) SetTenants(list []Tenant) error {
	if (s.logins == nil) != (len(list) == 0) {
		return errMode
	}
	if s.logins == nil {
		return nil
	}
	return s.logins.replace(s.srv, s.password, list)
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

// Connect opens an in-process connection for one of our own parts.
func (s *Server) Connect(name string, opts ...nats.Option) (*nats.Conn, error) {
	opts = append([]nats.Option{nats.Name(name), nats.InProcessServer(s.srv), nats.MaxReconnects(-1)}, opts...)
	if s.password != "" {
		opts = append(opts, nats.UserInfo(internalUser, s.password))
	}
	return nats.Connect("", opts...)
}

// Addr is the client listener's address, empty if there is none.
func (s *Server) Addr() string {
	if a, ok := s.srv.Addr().(*net.TCPAddr); ok && a != nil {
		return a.String()
	}
	return ""
}

// MaxStore is how many bytes all streams together may have.
func (s *Server) MaxStore() int64 { return s.srv.JetStreamConfig().MaxStore }

// Stop shuts the server down in good order and waits for it.
func (s *Server) Stop() {
	s.srv.Shutdown()
	s.srv.WaitForShutdown()
}

// logger hands the server's own log lines to slog, from warnings up.
type logger struct{ log *slog.Logger }

func (l *logger) Noticef(format string, v ...any) { l.log.Debug(fmt.Sprintf(format, v...)) }
func (l *logger) Warnf(format string, v ...any)   { l.log.Warn(fmt.Sprintf(format, v...)) }
func (l *logger) Errorf(format string, v ...any)  { l.log.Error(fmt.Sprintf(format, v...)) }
func (l *logger) Fatalf(format string, v ...any)  { l.log.Error(fmt.Sprintf(format, v...)) }
func (l *logger) Debugf(string, ...any)           {}
func (l *logger) Tracef(string, ...any)           {}
