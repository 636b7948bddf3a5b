package engine

import (
	"net/http"
	"net/url"
	"regexp"
	"sort"
	"strconv"
	"strings"

	"github.com/google/uuid"
)

// request is what a client asked for, apart from the body.
type request struct {
	scope
	queryID    string // the client's name for it, or scope.id
	sql        string // from the URL
	params     []param
	format     string // when the statement names none
	revision   uint64 // of Native blocks that the client reads
	compress   bool   // answer in ClickHouse's compressed blocks
	decompress bool   // the body is in them
	encoding   string // of the answer, HTTP's
}

// Parameters of the HTTP interface that are no settings. Those that are empty
// here have no effect on this endpoint.
var reserved = map[string]bool{
	"query": true, "database": true, "default_format": true, "user": true, "password": true,
	"quota_key": true, "query_id": true, "stacktrace": true, "role": true, "session_id": true,
	"session_timeout": true, "session_check": true, "session_timezone_check": true, "compress": true, "decompress": true,
	"client_protocol_version": true, "buffer_size": true, "wait_end_of_query": true,
	"close_session": true, "framing": true,
}

// Settings that act on the HTTP interface itself, so the engine never sees
// them.
var httpSettings = map[string]bool{
	"enable_http_compression": true, "http_zlib_compression_level": true, "send_progress_in_http_headers": true,
	"http_headers_progress_interval_ms": true, "add_http_cors_header": true, "http_response_buffer_size": true,
	"http_wait_end_of_query": true, "network_compression_method": true, "network_zstd_compression_level": true,
	"cancel_http_readonly_queries_on_client_close": true, "http_write_exception_in_output_format": true,
}

var settingName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

func parseRequest(r *http.Request) (*request, error) {
	q := r.URL.Query()
	if q.Has("session_id") {
		return nil, exceptionf(codeNotImplemented, "Sessions (session_id) are not available here: send settings with every request, "+
			"and turn the client's own sessions off (clickhouse-connect: autogenerate_session_id=False)")
	}
	if q.Get("role") != "" {
		return nil, exceptionf(codeNotImplemented, "Roles are not available here")
	}
	id := uuid.NewString()
	req := &request{
		scope: scope{
			id:       id,
			database: firstOf(q.Get("database"), r.Header.Get("X-ClickHouse-Database")),
			readonly: r.Method == http.MethodGet || r.Method == http.MethodHead,
		},
		queryID:    firstOf(q.Get("query_id"), id),
		sql:        q.Get("query"),
		format:     firstOf(q.Get("default_format"), r.Header.Get("X-ClickHouse-Format"), "TabSeparated"),
		compress:   isTrue(q.Get("compress")),
		decompress: isTrue(q.Get("decompress")),
	}
	if !settingName.MatchString(req.format) {
		return nil, exceptionf(codeUnknownFormat, "Unknown format %q", req.format)
	}
	if v := q.Get("client_protocol_version"); v != "" {
		rev, err := strconv.ParseUint(v, 10, 32)
		if err != nil {
			return nil, exceptionf(codeCannotParseText, "Cannot parse client_protocol_version %q", v)
		}
		req.revision = rev
	}
	if isTrue(q.Get("enable_http_compression")) {
		req.encoding = chooseEncoding(r.Header.Get("Accept-Encoding"))
	}
	return req, req.addValues(q)
}

// addValues takes {name:Type} values and settings from the parameters, in a
// fixed order.
func (req *request) addValues(q url.Values) error {
	names := make([]string, 0, len(q))
	for name := range q {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		value := q.Get(name)
		switch {
		case strings.HasPrefix(name, "param_"):
			req.params = append(req.params, param{name[len("param_"):], value})
		case reserved[name], httpSettings[name]:
		case name == "readonly":
			req.readonly = req.readonly || value != "0"
		case name == marker || !settingName.MatchString(name):
			return exceptionf(codeUnknownSetting, "Unknown setting '%s'", name)
		default:
			req.settings = append(req.settings, setting{name, value})
		}
	}
	return nil
}

func firstOf(list ...string) string {
	for _, s := range list {
		if s != "" {
			return s
		}
	}
	return ""
}

func isTrue(s string) bool { return s == "1" || strings.EqualFold(s, "true") }
