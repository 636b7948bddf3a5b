package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// Serve opens the data directory in this process and answers ClickHouse's HTTP
// protocol on cfg.Listen until ctx ends. It then lets running statements end
// for cfg.StopWait, kills the rest, closes the engine and returns nil.
//
// A process can serve one Path in its life; use a Supervisor to run it in a
// child process.
func Serve(ctx context.Context, cfg Config) error {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return err
	}
	if err := cfg.resolve(); err != nil {
		return err
	}
	held, err := lock(ctx, cfg.lockFile(), cfg.LockWait)
	if err != nil {
		return err
	}
	defer held.Close()
	listener, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return fmt.Errorf("engine: %w; stop what holds the port, or set clickhouse.embedded.listen", err)
	}
	defer listener.Close()
	core, err := startCore(cfg)
	if err != nil {
		return err
	}
	return serveHTTP(ctx, cfg, core, listener)
}

// resolve makes the paths absolute and the data directory exist.
func (c *Config) resolve() (err error) {
	if c.Lib == "" {
		if c.Lib, err = Find(); err != nil {
			return err
		}
	}
	if c.Path, err = filepath.Abs(c.Path); err != nil {
		return fmt.Errorf("engine: path %q: %w", c.Path, err)
	}
	if err = os.MkdirAll(c.Path, 0o700); err != nil {
		return fmt.Errorf("engine: make the data directory: %w", err)
	}
	return nil
}

func serveHTTP(ctx context.Context, cfg Config, core *core, listener net.Listener) error {
	// Statements get a context of their own: they outlive ctx by StopWait.
	work, kill := context.WithCancel(context.WithoutCancel(ctx))
	defer kill()
	server := &http.Server{
		Handler:           &handler{cfg: cfg, core: core, work: work},
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    1 << 20,
		BaseContext:       func(net.Listener) context.Context { return work },
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	cfg.Log.Info("clickhouse engine ready", "addr", listener.Addr().String(), "version", core.version)
	if cfg.OnReady != nil {
		cfg.OnReady(listener.Addr().String())
	}
	var failed error
	select {
	case <-ctx.Done():
	case failed = <-served:
		served <- failed
	}
	if stop(work, server, cfg.StopWait, kill) {
		core.close()
	} else {
		// Closing it under a running statement would crash; the end of the
		// process is as safe as a kill.
		cfg.Log.Error("clickhouse engine: a statement does not end, the engine is left open")
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("engine: serve: %w", err)
	}
	return nil
}

// stop drains the server: first politely, then with the statements killed. It
// tells whether no handler runs any more, so that the engine may be closed.
func stop(work context.Context, server *http.Server, wait time.Duration, kill context.CancelFunc) bool {
	polite, cancel := context.WithTimeout(work, wait)
	defer cancel()
	if server.Shutdown(polite) == nil {
		return true
	}
	kill()
	final, cancelFinal := context.WithTimeout(context.WithoutCancel(work), wait+time.Second)
	defer cancelFinal()
	if server.Shutdown(final) == nil {
		return true
	}
	_ = server.Close()
	return false
}

// handler is the endpoint.
type handler struct {
	cfg  Config
	core *core
	work context.Context // ends when the server kills what still runs
}

// ServeHTTP answers one request.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-ClickHouse-Server-Display-Name", h.core.host)
	w.Header().Set("X-ClickHouse-Timezone", h.core.timezone)
	switch r.URL.Path {
	case "/ping", "/replicas_status":
		ok(w)
	case "/", "/query":
		h.query(w, r)
	default:
		http.Error(w, "There is no handle "+r.URL.Path+"\n\nUse / or /ping for health checks.\n"+
			"Send queries from your program with POST method or GET /?query=...", http.StatusNotFound)
	}
}

func ok(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/html; charset=UTF-8")
	_, _ = io.WriteString(w, "Ok.\n")
}

func (h *handler) query(w http.ResponseWriter, r *http.Request) {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost:
	default:
		w.Header().Set("Allow", "GET, HEAD, POST")
		http.Error(w, "Use GET or POST.", http.StatusMethodNotAllowed)
		return
	}
	if r.Method != http.MethodPost && !r.URL.Query().Has("query") && r.ContentLength == 0 {
		ok(w)
		return
	}
	if e := authenticate(r, h.cfg.Password); e != nil {
		h.cfg.Log.Warn("clickhouse engine: authentication failed", "from", r.RemoteAddr, "code", e.Code)
		writeException(w, e)
		return
	}
	req, err := parseRequest(r)
	if err != nil {
		writeException(w, asException(err))
		return
	}
	h.answer(w, r, req)
}

// answer reads the body, runs the statement and reports its failure.
func (h *handler) answer(w http.ResponseWriter, r *http.Request, req *request) {
	w.Header().Set("X-ClickHouse-Query-Id", req.queryID)
	ctx, cancel := context.WithTimeout(r.Context(), h.cfg.QueryTimeout)
	defer cancel()
	control := http.NewResponseController(w)
	a := &answer{w: w, control: control, req: req, idle: h.cfg.IdleTimeout, start: time.Now()}
	body, err := decode(deadlineReader{r.Body, control, h.cfg.IdleTimeout}, r.Header.Get("Content-Encoding"))
	if err != nil {
		a.fail(err)
		return
	}
	defer body.Close()
	var src io.Reader = body
	if req.decompress {
		src = unblock(body)
	}
	if err := h.run(ctx, a, src); err != nil {
		if cause := ctx.Err(); cause != nil && asException(err).Code == codeQueryWasCancelled {
			err = cause
		}
		a.fail(err)
	}
}

// deadlineReader gives up on a client that sends nothing for idle.
type deadlineReader struct {
	r       io.Reader
	control *http.ResponseController
	idle    time.Duration
}

// Read moves the deadline along with each piece, and removes it at the end:
// the server watches the connection for the client's going away.
func (d deadlineReader) Read(p []byte) (int, error) {
	_ = d.control.SetReadDeadline(time.Now().Add(d.idle))
	n, err := d.r.Read(p)
	if err != nil {
		_ = d.control.SetReadDeadline(time.Time{})
	}
	return n, err
}
