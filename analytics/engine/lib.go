package engine

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"unsafe"

	"github.com/ebitengine/purego"
)

// library is the loaded engine: one C function per field, bound once.
type library struct {
	connect        func(argc int32, argv *uintptr) uintptr
	closeConn      func(conn uintptr)
	query          func(conn uintptr, sql *byte, sqlLen uintptr, format *byte, formatLen uintptr) uintptr
	queryParams    paramFunc
	stream         func(conn uintptr, sql *byte, sqlLen uintptr, format *byte, formatLen uintptr) uintptr
	streamParams   paramFunc
	streamFetch    func(conn, result uintptr) uintptr
	streamCancel   func(conn, result uintptr)
	destroyResult  func(result uintptr)
	buffer         func(result uintptr) *byte
	length         func(result uintptr) uintptr
	rowsRead       func(result uintptr) uint64
	bytesRead      func(result uintptr) uint64
	storageRows    func(result uintptr) uint64
	storageBytes   func(result uintptr) uint64
	rowsWritten    func(result uintptr) uint64
	bytesWritten   func(result uintptr) uint64
	resultError    func(result uintptr) *byte
	signalHandlers func(enabled int32)
}

type paramFunc func(conn uintptr, sql *byte, sqlLen uintptr, format *byte, formatLen uintptr,
	names *uintptr, nameLens *uintptr, values *uintptr, valueLens *uintptr, count uintptr) uintptr

var loaded struct {
	sync.Mutex
	path string
	lib  *library
}

// load opens the shared library at path. A process can hold only one: the
// engine keeps global state that no second copy survives.
func load(path string) (*library, error) {
	loaded.Lock()
	defer loaded.Unlock()
	if loaded.lib != nil {
		if loaded.path != path {
			return nil, fmt.Errorf("engine: %s is already loaded, cannot also load %s: use one process for each", loaded.path, path)
		}
		return loaded.lib, nil
	}
	handle, err := dlopen(path)
	if err != nil {
		return nil, fmt.Errorf("engine: load %s: %w (wrong platform or a damaged download? run `make engine` again)", path, err)
	}
	lib := &library{}
	if err := lib.bind(handle); err != nil {
		return nil, fmt.Errorf("engine: %s: %w", path, err)
	}
	// Go's runtime owns the signals of this process; the engine's crash
	// handlers would take them over.
	lib.signalHandlers(0)
	loaded.path, loaded.lib = path, lib
	return lib, nil
}

func (l *library) bind(handle uintptr) error {
	for name, fn := range map[string]any{
		"chdb_connect":                     &l.connect,
		"chdb_close_conn":                  &l.closeConn,
		"chdb_query_n":                     &l.query,
		"chdb_query_with_params_n":         &l.queryParams,
		"chdb_stream_query_n":              &l.stream,
		"chdb_stream_query_with_params_n":  &l.streamParams,
		"chdb_stream_fetch_result":         &l.streamFetch,
		"chdb_stream_cancel_query":         &l.streamCancel,
		"chdb_destroy_query_result":        &l.destroyResult,
		"chdb_result_buffer":               &l.buffer,
		"chdb_result_length":               &l.length,
		"chdb_result_rows_read":            &l.rowsRead,
		"chdb_result_bytes_read":           &l.bytesRead,
		"chdb_result_storage_rows_read":    &l.storageRows,
		"chdb_result_storage_bytes_read":   &l.storageBytes,
		"chdb_result_rows_written":         &l.rowsWritten,
		"chdb_result_bytes_written":        &l.bytesWritten,
		"chdb_result_error":                &l.resultError,
		"chdb_set_signal_handlers_enabled": &l.signalHandlers,
	} {
		sym, err := dlsym(handle, name)
		if err != nil {
			return fmt.Errorf("function %s is missing (too old a version? run `make engine`): %w", name, err)
		}
		purego.RegisterFunc(fn, sym)
	}
	return nil
}

// cstrings holds NUL-terminated copies of Go strings and pointers to them. It
// must stay reachable (runtime.KeepAlive) while C reads it.
type cstrings struct {
	bytes [][]byte
	ptrs  []uintptr
	lens  []uintptr
	pins  runtime.Pinner
}

func newCStrings(list []string) *cstrings {
	c := &cstrings{}
	for _, s := range list {
		b := append([]byte(s), 0)
		c.pins.Pin(&b[0])
		c.bytes = append(c.bytes, b)
		c.ptrs = append(c.ptrs, uintptr(unsafe.Pointer(&b[0])))
		c.lens = append(c.lens, uintptr(len(s)))
	}
	return c
}

func (c *cstrings) free() { c.pins.Unpin() }

// session is one connection of the engine: it runs one statement at a time,
// so it has one user at a time.
type session struct {
	lib    *library
	handle uintptr // chdb_connection *, what closeConn takes
	conn   uintptr // chdb_connection, what queries take
}

// open starts the engine in this process, or adds a connection to it.
func (l *library) open(args ...string) (*session, error) {
	argv := newCStrings(append([]string{"clickhouse"}, args...))
	defer argv.free()
	handle := l.connect(int32(len(argv.ptrs)), &argv.ptrs[0])
	runtime.KeepAlive(argv)
	if handle == 0 {
		return nil, errors.New("engine: could not open the data directory: it is damaged, not writable, or of a newer version")
	}
	return &session{lib: l, handle: handle, conn: deref(handle)}, nil
}

func (s *session) close() {
	if s.handle != 0 {
		s.lib.closeConn(s.handle)
		s.handle, s.conn = 0, 0
	}
}

// param is a value for a {name:Type} placeholder.
type param struct{ name, value string }

// query runs one statement and keeps its whole result in the engine's memory.
// The caller frees the result.
func (s *session) query(sql, format string, params []param) *result {
	return s.run(s.lib.query, s.lib.queryParams, sql, format, params)
}

// stream starts a statement whose result comes in chunks, see fetch.
func (s *session) stream(sql, format string, params []param) *result {
	return s.run(s.lib.stream, s.lib.streamParams, sql, format, params)
}

func (s *session) run(
	plain func(uintptr, *byte, uintptr, *byte, uintptr) uintptr, withParams paramFunc,
	sql, format string, params []param,
) *result {
	q, f := []byte(sql+"\x00"), []byte(format+"\x00")
	if len(params) == 0 {
		res := plain(s.conn, &q[0], uintptr(len(sql)), &f[0], uintptr(len(format)))
		runtime.KeepAlive(q)
		runtime.KeepAlive(f)
		return &result{lib: s.lib, ptr: res}
	}
	names, values := make([]string, len(params)), make([]string, len(params))
	for i, p := range params {
		names[i], values[i] = p.name, p.value
	}
	n, v := newCStrings(names), newCStrings(values)
	defer n.free()
	defer v.free()
	res := withParams(s.conn, &q[0], uintptr(len(sql)), &f[0], uintptr(len(format)),
		&n.ptrs[0], &n.lens[0], &v.ptrs[0], &v.lens[0], uintptr(len(params)))
	runtime.KeepAlive(q)
	runtime.KeepAlive(f)
	runtime.KeepAlive(n)
	runtime.KeepAlive(v)
	return &result{lib: s.lib, ptr: res}
}

// fetch returns the next chunk of a stream: an empty one at its end.
func (s *session) fetch(stream *result) *result {
	return &result{lib: s.lib, ptr: s.lib.streamFetch(s.conn, stream.ptr)}
}

func (s *session) cancel(stream *result) { s.lib.streamCancel(s.conn, stream.ptr) }

// result owns memory of the engine until free.
type result struct {
	lib *library
	ptr uintptr
}

// bytes is the engine's own memory, valid until free.
func (r *result) bytes() []byte {
	if r.ptr == 0 {
		return nil
	}
	n := r.lib.length(r.ptr)
	if n == 0 {
		return nil
	}
	return unsafe.Slice(r.lib.buffer(r.ptr), n)
}

// err is the statement's failure as an *Exception, or nil.
func (r *result) err() error {
	if r.ptr == 0 {
		return &Exception{Code: codeLogicalError, Message: "the engine gave no result"}
	}
	if text := r.lib.resultError(r.ptr); text != nil {
		return newException(goString(text))
	}
	return nil
}

// progress is what the engine counted for a statement.
func (r *result) progress() progress {
	if r.ptr == 0 {
		return progress{}
	}
	return progress{
		readRows: r.lib.storageRows(r.ptr), readBytes: r.lib.storageBytes(r.ptr),
		resultRows: r.lib.rowsRead(r.ptr), resultBytes: r.lib.bytesRead(r.ptr),
		writtenRows: r.lib.rowsWritten(r.ptr), writtenBytes: r.lib.bytesWritten(r.ptr),
	}
}

func (r *result) free() {
	if r.ptr != 0 {
		r.lib.destroyResult(r.ptr)
		r.ptr = 0
	}
}

// progress counts the rows and bytes of a statement, for X-ClickHouse-Summary.
type progress struct {
	readRows, readBytes, resultRows, resultBytes, writtenRows, writtenBytes uint64
}

// deref reads the pointer that a C pointer points to. The detour over the
// address of p keeps the conversion inside the rules of package unsafe.
func deref(p uintptr) uintptr { return **(**uintptr)(unsafe.Pointer(&p)) }

func goString(p *byte) string {
	n := 0
	for *(*byte)(unsafe.Add(unsafe.Pointer(p), n)) != 0 {
		n++
	}
	return string(unsafe.Slice(p, n))
}
