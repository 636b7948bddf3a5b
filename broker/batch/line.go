package batch

import (
	"bytes"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/sluicehq/sluice/sdk/wire/jsonscan"
)

// MaxCustomID is the most bytes of a custom_id.
const MaxCustomID = 512

// Codes of faults, OpenAI's where it has one.
const (
	faultJSON      = "invalid_json_line"
	faultMissing   = "missing_required_parameter"
	faultDuplicate = "duplicate_custom_id"
	faultMethod    = "invalid_method"
	faultURL       = "invalid_url"
	faultEmpty     = "empty_file"
	faultMany      = "too_many_requests"
	faultModel     = "model_not_found"
	faultBody      = "invalid_request"
	faultGone      = "file_not_found"
)

// request is a line of a batch, as far as it could be read.
type request struct {
	id   string // custom_id
	body []byte // part of the line
}

// readLine takes a line apart. endpoint is what its url must be.
func readLine(line []byte, endpoint wire.Endpoint) (r request, f *Fault) {
	if !utf8.Valid(line) || !jsonscan.Valid(line) || jsonscan.Kind(bytes.TrimLeft(line, " \t\r")) != '{' {
		return r, &Fault{Code: faultJSON, Message: "This line is not parseable as a JSON object."}
	}
	var id, method, url []byte
	o := jsonscan.NewObject(line)
	for m, ok := o.Next(); ok; m, ok = o.Next() {
		switch string(m.Key) {
		case "custom_id":
			id = m.Value
		case "method":
			method = m.Value
		case "url":
			url = m.Value
		case "body":
			r.body = m.Value
		}
	}
	r.id = jsonscan.String(id)
	switch {
	case jsonscan.Kind(id) != '"' || r.id == "":
		f = &Fault{Code: faultMissing, Param: "custom_id", Message: "The custom_id is missing: it must be a string."}
	case len(r.id) > MaxCustomID:
		f = &Fault{Code: faultBody, Param: "custom_id", Message: "The custom_id has more than " + strconv.Itoa(MaxCustomID) + " bytes."}
	case jsonscan.String(method) != "POST":
		f = &Fault{Code: faultMethod, Param: "method", Message: "The method must be POST."}
	case jsonscan.String(url) != string(endpoint):
		f = &Fault{Code: faultURL, Param: "url", Message: "The URL of this line must be the endpoint of the batch, " + string(endpoint) + "."}
	case jsonscan.Kind(r.body) != '{':
		f = &Fault{Code: faultMissing, Param: "body", Message: "The body is missing: it must be a JSON object."}
	}
	return r, f
}

// check is what is wrong with a line's body, and the job that it is.
func (m *Manifest) check(r *request, line int64, now time.Time) (wire.Meta, *wire.Error) {
	job, err := wire.ParseJob(wire.Payer(m.Tenant, m.Key), wire.Batch, m.header(line), r.body, 0, now)
	if err == nil && job.Stream {
		err = wire.Errorf(wire.CodeInvalidRequest, "stream", "a line of a batch cannot be streamed: leave stream out")
	}
	return job.Meta, err
}

// header is what a line's job carries.
func (m *Manifest) header(line int64) map[string][]string {
	h := make(map[string][]string, 4+len(m.Headers))
	for k, v := range m.Headers {
		h[k] = []string{v}
	}
	h[wire.HeaderJobID] = []string{m.job(line)}
	h[wire.HeaderEndpoint] = []string{string(m.Endpoint)}
	h[wire.HeaderBatch] = []string{m.ID}
	if m.Placement != "" {
		h[wire.HeaderPlacement] = []string{string(m.Placement)}
	}
	h[wire.HeaderDeadline] = []string{time.Unix(m.ExpiresAt, 0).UTC().Format(time.RFC3339)}
	return h
}

// job is the ID of a line's job.
func (m *Manifest) job(line int64) string { return m.ID + "-" + strconv.FormatInt(line, 10) }

// splitJob is the inverse of job.
func splitJob(job string) (batch string, line int64, ok bool) {
	at := strings.LastIndexByte(job, '-')
	if at < 0 {
		return "", 0, false
	}
	line, err := strconv.ParseInt(job[at+1:], 10, 64)
	return job[:at], line, err == nil && line > 0 && job[at+1] != '0' && job[at+1] != '+'
}

// splitter is a writer that calls each with every line that is not blank,
// without its end, and the line's number from 1 on. It keeps one line.
type splitter struct {
	each func(line []byte, n int64) error
	most int // bytes of a line; each gets no more than one byte above it

	rest []byte
	n    int64
}

// Write implements io.Writer. Errors are those of each.
func (s *splitter) Write(p []byte) (int, error) {
	n := len(p)
	for {
		end := bytes.IndexByte(p, '\n')
		if end < 0 {
			s.keep(p)
			return n, nil
		}
		line := p[:end]
		if len(s.rest) > 0 {
			s.keep(line)
			line = s.rest
		}
		if err := s.line(line); err != nil {
			return 0, err
		}
		s.rest = s.rest[:0]
		p = p[end+1:]
	}
}

func (s *splitter) keep(p []byte) {
	s.rest = append(s.rest, p[:min(len(p), s.most+1-len(s.rest))]...)
}

func (s *splitter) line(line []byte) error {
	s.n++
	if s.n == 1 {
		line = bytes.TrimPrefix(line, []byte("\xef\xbb\xbf"))
	}
	if line = bytes.TrimRight(line, " \t\r"); len(line) == 0 {
		return nil
	}
	return s.each(line, s.n)
}

// close gives out a last line without an end.
func (s *splitter) close() error {
	if len(s.rest) == 0 {
		return nil
	}
	err := s.line(s.rest)
	s.rest = nil
	return err
}
