package natsd

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strconv"
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
	ServerName string        // default "sluice"
	Tenants    []Tenant      // empty: open, any tenant name
	Subjects   wire.Subjects
	Logger     *slog.Logger // the server's warnings and errors; nil: dropped
}

// Tenant is a NATS user.
type Tenant struct{ Name, Key string }

// internalUser is how our own parts log in when there are tenants.
const internalUser = "$sluice"

// Server is a running embedded nats-server.
type Server struct {
	srv      *server.Server
	password string
}

// readyTimeout bounds how long a start may take; large streams need to be
// read through after a crash.
const readyTimeout = 60 * time.Second

// Start runs the server and returns when it accepts connections.
func Start(cfg Config) (*Server, error) {
	opts, password, err := options(cfg)
	if err != nil {
		return nil, err
	}
	srv, err := server.NewServer(opts)
	if err != nil {
		return nil, fmt.Errorf("embedded NATS: %w", err)
	}
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
	return &Server{srv: srv, password: password}, nil
}

func options(cfg Config) (*server.Options, string, error) {
	o := &server.Options{
		ServerName: cfg.ServerName, JetStream: true, StoreDir: filepath.Join(cfg.DataDir, "nats"),
		SyncInterval: cfg.Sync, SyncAlways: cfg.Sync == 0, MaxPayload: wire.MaxPayload, MaxPending: 256 << 20,
		NoSigs: true, DontListen: true, NoSystemAccount: false,
		JetStreamLimits: server.JSLimitOpts{MaxBatchInflightPerStream: 1000, MaxBatchSize: 100_000},
	}
	if o.ServerName == "" {
		o.ServerName = "sluice"
	}
	if cfg.Sync == 0 {
		o.SyncInterval = 2 * time.Minute
	}
	if cfg.Listen != "" {
		host, port, err := net.SplitHostPort(cfg.Listen)
		if err != nil {
			return nil, "", fmt.Errorf("embedded NATS: listen address %q: %w", cfg.Listen, err)
		}
		p, err := strconv.Atoi(port)
		if err != nil {
			return nil, "", fmt.Errorf("embedded NATS: listen port %q is not a number", port)
		}
		if p == 0 {
			p = server.RANDOM_PORT
		}
		// The server itself ends the process when it cannot listen.
		if probe, err := net.Listen("tcp", cfg.Listen); err != nil {
			return nil, "", fmt.Errorf("embedded NATS: cannot listen on %s: %w; stop what holds the port, or set nats.embedded.listen", cfg.Listen, err)
		} else if err := probe.Close(); err != nil {
			return nil, "", err
		}
		o.DontListen, o.Host, o.Port = false, host, p
	}
	password, err := authorize(o, cfg)
	return o, password, err
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

var errNoKey = errors.New("a tenant without a key cannot log in to NATS")
