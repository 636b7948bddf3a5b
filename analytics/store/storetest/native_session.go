package storetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ClickHouse/ch-go/compress"
	chproto "github.com/ClickHouse/ch-go/proto"
)

// serverRevision is that of a server of today; a client takes the lower of
// both.
const serverRevision = 54480

// errLeft ends a session without a word.
var errLeft = errors.New("the client left, or the engine")

// session is one connection.
type session struct {
	*Native
	conn  net.Conn
	in    *source
	out   chproto.Buffer
	rev   int
	hello chproto.ClientHello
	query chproto.Query
}

func newSession(n *Native, conn net.Conn) *session {
	return &session{Native: n, conn: conn, in: newSource(conn)}
}

// serve answers until either side has enough. An exception of the engine goes
// to the client; every other failure breaks the connection.
func (s *session) serve() {
	if err := s.handshake(); err != nil {
		_ = s.fail(err)
		return
	}
	for {
		s.in.trim()
		code, err := s.in.UVarInt()
		for s.Mute.Load() && err == nil {
			_, err = s.in.ReadByte() // until the client gives up
		}
		switch chproto.ClientCode(code) {
		case chproto.ClientCodePing:
			chproto.ServerCodePong.Encode(&s.out)
			err = errors.Join(err, s.flush())
		case chproto.ClientCodeQuery:
			if err == nil {
				err = s.fail(s.run())
			}
		case chproto.ClientCodeCancel: // of a query that is over
		default:
			err = errors.Join(err, errLeft)
		}
		if err != nil {
			return
		}
	}
}

// fail sends err if it is an exception, and returns it if the session ends.
func (s *session) fail(err error) error {
	var e *exception
	if !errors.As(err, &e) {
		return err
	}
	s.out.Reset()
	chproto.ServerCodeException.Encode(&s.out)
	(&chproto.Exception{Code: chproto.Error(e.code), Name: "DB::Exception", Message: e.message}).EncodeAware(&s.out, s.rev)
	return s.flush()
}

func (s *session) flush() error {
	_, err := s.conn.Write(s.out.Buf)
	s.out.Reset()
	return err
}

// handshake is, as a server's: password, hello, addendum, database.
func (s *session) handshake() error {
	if code, err := s.in.UVarInt(); err != nil || chproto.ClientCode(code) != chproto.ClientCodeHello {
		return errors.Join(err, errLeft)
	}
	if err := s.hello.Decode(s.in.Reader); err != nil {
		return err
	}
	s.rev = min(s.hello.ProtocolVersion, serverRevision)
	ctx := context.Background() // ends with the engine
	if err := s.ask(ctx, statement{user: s.hello.User, password: s.hello.Password, sql: "SELECT 1"}, nil); err != nil {
		return err
	}
	(&chproto.ServerHello{Name: "ClickHouse", Major: s.version[0], Minor: s.version[1], Patch: s.version[2],
		Revision: serverRevision, Timezone: s.timezone, DisplayName: "native front"}).EncodeAware(&s.out, s.rev)
	if err := s.flush(); err != nil {
		return err
	}
	if chproto.FeatureAddendum.In(s.rev) {
		if _, err := s.in.Str(); err != nil { // quota key
			return err
		}
	}
	return s.ask(ctx, s.statement("SELECT 1", nil), nil)
}

func (s *session) statement(sql string, values url.Values) statement {
	return statement{user: s.hello.User, password: s.hello.Password, database: s.hello.Database, sql: sql, values: values}
}

// data reads one packet of data.
func (s *session) data() (*block, error) {
	if _, err := s.in.Str(); err != nil { // name of an external table
		return nil, err
	}
	if s.query.Compression == chproto.CompressionDisabled {
		return s.in.block(s.rev)
	}
	return newSource(compress.NewReader(s.in.buf)).block(s.rev)
}

// send appends a packet of data.
func (s *session) send(b *block) error {
	chproto.ServerCodeData.Encode(&s.out)
	s.out.PutString("")
	if s.query.Compression == chproto.CompressionDisabled {
		b.encode(&s.out, s.rev)
	} else {
		var plain chproto.Buffer
		b.encode(&plain, s.rev)
		if err := pack(&s.out, plain.Buf); err != nil {
			return err
		}
	}
	if len(s.out.Buf) < 1<<20 {
		return nil
	}
	return s.flush()
}

var (
	insertData = regexp.MustCompile(`(?is)^\s*INSERT\s+INTO\s+([^\s(]+)\s*(?:\(([^()]*)\))?.*\sFORMAT\s+Native\s*$`)
	returnRows = regexp.MustCompile(`(?is)^[\s(]*(SELECT|WITH|SHOW|DESC|DESCRIBE|EXPLAIN|EXISTS)\b`)
)

// run answers a query.
func (s *session) run() error {
	s.query = chproto.Query{}
	if err := s.query.DecodeAware(s.in.Reader, s.rev); err != nil {
		return err
	}
	if s.query.Compression != chproto.CompressionDisabled {
		s.Compressed.Add(1)
	}
	if code, err := s.in.UVarInt(); err != nil || chproto.ClientCode(code) != chproto.ClientCodeData {
		return errors.Join(err, errLeft)
	}
	if b, err := s.data(); err != nil || len(b.columns) > 0 {
		return errors.Join(err, errors.New("external tables are not here"))
	}
	if m := insertData.FindStringSubmatch(s.query.Body); m != nil {
		s.Inserts.Add(1)
		return s.insert(m[1], m[2])
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	defer s.watch(cancel)()
	start := time.Now()
	resp, err := s.Native.send(ctx, s.statement(s.query.Body, s.values()))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := s.answer(ctx, newSource(resp.Body)); err != nil {
		return err
	}
	return s.end(resp, start)
}

// values are the settings and parameters of the query, as HTTP takes them.
func (s *session) values() url.Values {
	values := url.Values{}
	if s.query.ID != "" {
		values.Set("query_id", s.query.ID)
	}
	for _, set := range s.query.Settings {
		values.Set(set.Key, set.Value)
	}
	for _, p := range s.query.Parameters {
		v := strings.TrimSuffix(strings.TrimPrefix(p.Value, "'"), "'") // a dump of a string
		values.Set("param_"+p.Key, strings.NewReplacer(`\\`, `\`, `\'`, `'`, `\n`, "\n", `\r`, "\r", `\t`, "\t", `\0`, "\x00").Replace(v))
	}
	return values
}

// watch looks out for a cancel, or the end of the connection, while a query
// runs; the function that it returns ends that.
func (s *session) watch(cancel func()) func() {
	var wg sync.WaitGroup
	wg.Go(func() {
		b, err := s.in.buf.Peek(1)
		if err == nil && chproto.ClientCode(b[0]) == chproto.ClientCodeCancel {
			s.Cancelled.Add(1)
			cancel()
		}
		var timeout net.Error
		if err != nil && (!errors.As(err, &timeout) || !timeout.Timeout()) {
			cancel()
		}
	})
	return func() {
		_ = s.conn.SetReadDeadline(time.Unix(1, 0))
		wg.Wait()
		_ = s.conn.SetReadDeadline(time.Time{})
	}
}

// answer passes the engine's blocks on: the header first, as a server does.
func (s *session) answer(ctx context.Context, from *source) error {
	first := true
	for {
		if err := from.failure(); err != nil {
			return err
		}
		b, err := from.block(0)
		switch {
		case errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && first && returnRows.MatchString(s.query.Body):
			if b, err = s.describe(ctx); err != nil {
				return err
			}
			if err := s.send(b); err != nil {
				return err
			}
			return s.send(&block{})
		case errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF):
			if first {
				return nil // a statement without a result
			}
			return s.send(&block{})
		case err != nil:
			return err
		}
		if first {
			first = false
			if err := s.send(b.header()); err != nil {
				return err
			}
		}
		if b.rows > 0 {
			err = s.send(b)
		}
		if err != nil {
			return err
		}
	}
}

// describe is the header of a result without rows.
func (s *session) describe(ctx context.Context) (*block, error) {
	return s.table(ctx, "("+s.query.Body+")")
}

// table is an empty block with the columns of a table.
func (s *session) table(ctx context.Context, name string) (*block, error) {
	var list struct{ Data [][]string }
	if err := s.ask(ctx, s.statement("DESCRIBE TABLE "+name+" FORMAT JSONCompact", nil), &list); err != nil {
		return nil, err
	}
	b := &block{}
	for _, c := range list.Data {
		b.columns = append(b.columns, rawColumn{name: c[0], typ: c[1]})
	}
	return b, nil
}

// insert tells the client the columns, collects its blocks, and hands them to
// the engine at once.
func (s *session) insert(table, names string) error {
	ctx := context.Background() // a change goes on without its client
	header, err := s.table(ctx, table)
	if err != nil {
		return err
	}
	if header, err = choose(header, names); err != nil {
		return err
	}
	chproto.ServerCodeTableColumns.Encode(&s.out)
	s.out.PutString("")
	s.out.PutString("columns format version: 1\n")
	if err := errors.Join(s.send(header), s.flush()); err != nil {
		return err
	}
	var body chproto.Buffer
	for {
		code, err := s.in.UVarInt()
		if err != nil || chproto.ClientCode(code) != chproto.ClientCodeData {
			return errors.Join(err, errLeft)
		}
		b, err := s.data()
		if err != nil {
			return err
		}
		if len(b.columns) == 0 {
			break
		}
		b.encode(&body, 0)
	}
	start := time.Now()
	if len(body.Buf) == 0 {
		return s.end(nil, start)
	}
	st := s.statement(s.query.Body, s.values())
	st.body = &body
	resp, err := s.Native.send(ctx, st)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return s.end(resp, start)
}

// choose takes the columns that an insert names, in its order.
func choose(all *block, names string) (*block, error) {
	if strings.TrimSpace(names) == "" {
		return all, nil
	}
	chosen := &block{}
	for name := range strings.SplitSeq(names, ",") {
		name = strings.Trim(strings.TrimSpace(name), "`\"")
		i := slices.IndexFunc(all.columns, func(c rawColumn) bool { return c.name == name })
		if i < 0 {
			return nil, &exception{code: 16, message: fmt.Sprintf("DB::Exception: No such column %s in table", name)}
		}
		chosen.columns = append(chosen.columns, all.columns[i])
	}
	return chosen, nil
}

// end sends what follows the last block.
func (s *session) end(resp *http.Response, start time.Time) error {
	counts := map[string]string{}
	if resp != nil {
		_ = json.Unmarshal([]byte(resp.Header.Get("X-ClickHouse-Summary")), &counts) // progress is not worth a failure
	}
	n := func(key string) uint64 { v, _ := strconv.ParseUint(counts[key], 10, 64); return v }
	chproto.Profile{Rows: n("result_rows"), Blocks: 1, Bytes: n("result_bytes")}.EncodeAware(&s.out, s.rev)
	chproto.ServerCodeProgress.Encode(&s.out)
	chproto.Progress{Rows: n("read_rows"), Bytes: n("read_bytes"), TotalRows: n("total_rows_to_read"), WroteRows: n("written_rows"),
		WroteBytes: n("written_bytes"), ElapsedNs: uint64(time.Since(start))}.EncodeAware(&s.out, s.rev)
	s.out.PutByte(byte(chproto.ServerProfileEvents)) // never compressed
	s.out.PutString("")
	(&block{columns: []rawColumn{{name: "host_name", typ: "String"}, {name: "current_time", typ: "DateTime"}, {name: "thread_id", typ: "UInt64"},
		{name: "type", typ: "Enum8('increment' = 1, 'gauge' = 2)"}, {name: "name", typ: "String"}, {name: "value", typ: "Int64"}}}).encode(&s.out, s.rev)
	chproto.ServerCodeEndOfStream.Encode(&s.out)
	return s.flush()
}
