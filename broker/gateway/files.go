package gateway

import (
	"context"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sluicehq/sluice/broker/batch"
	"github.com/sluicehq/sluice/sdk/wire"
)

// Bounds of files, OpenAI's where it has one.
const (
	maxFile    = 4 << 30
	minFileAge = 3600
	maxFileAge = 30 * 24 * 3600
	maxField   = 1024 // bytes of a form's field
	maxName    = 255
)

// purposes are what a file may be uploaded for.
var purposes = map[string]bool{"batch": true, "assistants": true, "fine-tune": true, "vision": true, "user_data": true}

// stored handles a request about files or batches of a tenant; an error that
// it returns is still to be told.
type stored func(w http.ResponseWriter, r *http.Request, tenant string) *wire.Error

// storedRoutes adds what package batch keeps: files and batches.
func (g *Gateway) storedRoutes(mux *http.ServeMux) {
	const anthropic = wire.Messages
	for pattern, x := range map[string]struct {
		e       wire.Endpoint // whose errors it has
		methods map[string]stored
	}{
		"/v1/files":                         {"", map[string]stored{"GET": g.listFiles, "POST": g.createFile}},
		"/v1/files/{id}":                    {"", map[string]stored{"GET": g.showFile, "DELETE": g.deleteFile}},
		"/v1/files/{id}/content":            {"", map[string]stored{"GET": g.serveContent}},
		"/v1/batches":                       {"", map[string]stored{"GET": g.listBatches, "POST": g.createBatch}},
		"/v1/batches/{id}":                  {"", map[string]stored{"GET": g.showBatch}},
		"/v1/batches/{id}/cancel":           {"", map[string]stored{"POST": g.cancelBatch}},
		"/v1/messages/batches":              {anthropic, map[string]stored{"GET": g.listMessageBatches, "POST": g.createMessageBatch}},
		"/v1/messages/batches/{id}":         {anthropic, map[string]stored{"GET": g.showMessageBatch, "DELETE": g.deleteMessageBatch}},
		"/v1/messages/batches/{id}/cancel":  {anthropic, map[string]stored{"POST": g.cancelMessageBatch}},
		"/v1/messages/batches/{id}/results": {anthropic, map[string]stored{"GET": g.serveMessageResults}},
	} {
		mux.HandleFunc(pattern, g.serveStored(x.e, x.methods))
	}
}

// serveStored finds the tenant and the method's handler.
func (g *Gateway) serveStored(e wire.Endpoint, methods map[string]stored) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		name := r.Method
		if name == http.MethodHead {
			name = http.MethodGet
		}
		h := methods[name]
		if h == nil {
			allowed := make([]string, 0, len(methods))
			for _, m := range []string{"DELETE", "GET", "POST"} {
				if methods[m] != nil {
					allowed = append(allowed, m)
				}
			}
			use := strings.Join(allowed, ", ")
			w.Header().Set("Allow", use)
			refuse(w, e, wire.Errorf(codeMethod, "", "not allowed to %s on %.200s: use %s", printMethod(r), r.URL.Path, use), 0)
			return
		}
		if !g.enter() {
			refuse(w, e, wire.Errorf(wire.CodeUnavailable, "", "this gateway has too many requests under way: try again"), 0)
			return
		}
		defer g.leave()
		tenant, f := g.tenants.Load().of(r)
		if f == nil {
			f = h(w, r, tenant)
		}
		if f != nil {
			refuse(w, e, f, 0)
		}
	}
}

// storeFault is what a client is told about an error of the store.
func storeFault(err error, code wire.Code, what, id string) *wire.Error {
	if errors.Is(err, batch.ErrNotFound) {
		return wire.Errorf(code, "id", "No such %s object: %.80s", what, id)
	}
	var known *wire.Error
	if errors.As(err, &known) || errors.Is(err, context.Canceled) {
		return faultOf(err)
	}
	return wire.Errorf(wire.CodeUnavailable, "", "the store cannot be reached now: try again")
}

func fileFault(err error, id string) *wire.Error {
	return storeFault(err, codeFileNotFound, "File", id)
}

// fileObject is OpenAI's file.
type fileObject struct {
	ID        string `json:"id"`
	Object    string `json:"object"`
	Bytes     int64  `json:"bytes"`
	CreatedAt int64  `json:"created_at"`
	ExpiresAt int64  `json:"expires_at,omitempty"`
	Filename  string `json:"filename"`
	Purpose   string `json:"purpose"`
	Status    string `json:"status"`
}

func newFileObject(f *batch.File) fileObject {
	return fileObject{ID: f.ID, Object: "file", Bytes: f.Bytes, CreatedAt: f.CreatedAt, ExpiresAt: f.ExpiresAt,
		Filename: f.Name, Purpose: f.Purpose, Status: "processed"}
}

// listObject is OpenAI's page of a list.
func listObject[T any](data []T, id func(T) string, more bool) map[string]any {
	o := map[string]any{"object": "list", "data": data, "has_more": more, "first_id": "", "last_id": ""}
	if len(data) > 0 {
		o["first_id"], o["last_id"] = id(data[0]), id(data[len(data)-1])
	}
	return o
}

// pageOf reads which part of a list is wanted.
func pageOf(q url.Values, after, before string, limit, most int) (batch.Page, *wire.Error) {
	p := batch.Page{After: q.Get(after), Limit: limit}
	if before != "" {
		p.Before = q.Get(before)
	}
	if s := q.Get("limit"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > most {
			return p, wire.Errorf(wire.CodeInvalidRequest, "limit", "limit must be a whole number from 1 to %d", most)
		}
		p.Limit = n
	}
	switch q.Get("order") {
	case "", "desc":
	case "asc":
		p.Oldest = true
	default:
		return p, wire.Errorf(wire.CodeInvalidRequest, "order", "order must be asc or desc")
	}
	return p, nil
}

func (g *Gateway) listFiles(w http.ResponseWriter, r *http.Request, tenant string) *wire.Error {
	q := r.URL.Query()
	p, f := pageOf(q, "after", "", 10_000, 10_000)
	if f != nil {
		return f
	}
	files, more, err := g.store.Files(r.Context(), tenant, q.Get("purpose"), p)
	if err != nil {
		return fileFault(err, "")
	}
	data := make([]fileObject, len(files))
	for i := range files {
		data[i] = newFileObject(&files[i])
	}
	writeJSON(w, http.StatusOK, mustJSON(listObject(data, func(o fileObject) string { return o.ID }, more)))
	return nil
}

func (g *Gateway) showFile(w http.ResponseWriter, r *http.Request, tenant string) *wire.Error {
	id := r.PathValue("id")
	f, err := g.store.File(r.Context(), tenant, id)
	if err != nil {
		return fileFault(err, id)
	}
	writeJSON(w, http.StatusOK, mustJSON(newFileObject(f)))
	return nil
}

func (g *Gateway) deleteFile(w http.ResponseWriter, r *http.Request, tenant string) *wire.Error {
	id := r.PathValue("id")
	if err := g.store.DeleteFile(r.Context(), tenant, id); err != nil {
		return fileFault(err, id)
	}
	writeJSON(w, http.StatusOK, mustJSON(map[string]any{"id": id, "object": "file", "deleted": true}))
	return nil
}

func (g *Gateway) serveContent(w http.ResponseWriter, r *http.Request, tenant string) *wire.Error {
	id := r.PathValue("id")
	f, err := g.store.File(r.Context(), tenant, id)
	if err != nil {
		return fileFault(err, id)
	}
	g.sendFile(w, r, f)
	return nil
}

// download answers with bytes as they are read, or cuts the answer off.
func (g *Gateway) download(w http.ResponseWriter, r *http.Request, kind string, read func(io.Writer) error) {
	w.Header().Set("Content-Type", kind)
	if r.Method == http.MethodHead {
		return
	}
	out := &pacedWriter{w: w, rc: http.NewResponseController(w), timeout: g.cfg.WriteTimeout}
	if err := read(out); err != nil {
		if r.Context().Err() == nil {
			g.cfg.Logger.Warn("a download was cut off", "path", r.URL.Path, "err", err)
		}
		panic(http.ErrAbortHandler)
	}
}

// pacedWriter gives up on a client that takes nothing for a while (I5).
type pacedWriter struct {
	w       io.Writer
	rc      *http.ResponseController
	timeout time.Duration
}

// Write implements io.Writer.
func (p *pacedWriter) Write(b []byte) (int, error) {
	_ = p.rc.SetWriteDeadline(time.Now().Add(p.timeout)) // a recorder of a test has none, which is no harm
	return p.w.Write(b)
}

// pacedBody gives up on a client that sends nothing for a while.
type pacedBody struct {
	io.ReadCloser
	rc      *http.ResponseController
	timeout time.Duration
}

// Read implements io.Reader.
func (p *pacedBody) Read(b []byte) (int, error) {
	_ = p.rc.SetReadDeadline(time.Now().Add(p.timeout))
	return p.ReadCloser.Read(b)
}

// longBody is the request's body, of at most limit bytes, for as long as the
// client sends something. The deadline that stays after an error keeps the
// server from waiting for the rest.
func (g *Gateway) longBody(w http.ResponseWriter, r *http.Request, limit int64) (body io.Reader, done func()) {
	rc := http.NewResponseController(w)
	p := &pacedBody{ReadCloser: http.MaxBytesReader(w, r.Body, limit), rc: rc, timeout: g.cfg.BodyTimeout}
	return p, func() { _ = rc.SetReadDeadline(time.Time{}) }
}

// bodyFault is what a client is told about a body that could not be read.
func (g *Gateway) bodyFault(w http.ResponseWriter, err error, limit int64) *wire.Error {
	var over *http.MaxBytesError
	w.Header().Set("Connection", "close")
	if errors.As(err, &over) {
		return tooLarge(limit)
	}
	return wire.Errorf(wire.CodeInvalidRequest, "", "the body broke off, stood still for %s, or is not of the kind that its Content-Type says", g.cfg.BodyTimeout)
}

// form is what an upload says beside its content.
type form struct {
	name, purpose, anchor, seconds string
	file                           bool
}

func (g *Gateway) createFile(w http.ResponseWriter, r *http.Request, tenant string) *wire.Error {
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/form-data" || params["boundary"] == "" {
		return wire.Errorf(codeEncoding, "Content-Type", "an upload must be multipart/form-data")
	}
	body, done := g.longBody(w, r, maxFile)
	up := g.store.Create(r.Context(), tenant)
	var f form
	if fault := g.readForm(w, multipart.NewReader(body, params["boundary"]), up, &f); fault != nil {
		up.Abort()
		return fault
	}
	done()
	age, fault := f.check()
	if fault != nil {
		up.Abort()
		return fault
	}
	file, err := up.Commit(f.name, f.purpose, age)
	if err != nil {
		return fileFault(err, "")
	}
	writeJSON(w, http.StatusOK, mustJSON(newFileObject(file)))
	return nil
}

// readForm reads an upload, its content straight into the store.
func (g *Gateway) readForm(w http.ResponseWriter, mr *multipart.Reader, up *batch.Upload, f *form) *wire.Error {
	for {
		part, err := mr.NextPart()
		if err == io.EOF { //nolint:errorlint // wrapped, it says that the form broke off
			return nil
		}
		if err != nil {
			return g.bodyFault(w, err, maxFile)
		}
		if part.FormName() == "file" {
			if f.file {
				return wire.Errorf(wire.CodeInvalidRequest, "file", "there is more than one file")
			}
			f.file, f.name = true, fileName(part.FileName())
			src := &source{r: part}
			if _, err := up.ReadFrom(src); src.err != nil {
				return g.bodyFault(w, src.err, maxFile)
			} else if err != nil {
				return fileFault(err, "")
			}
			continue
		}
		v, err := io.ReadAll(io.LimitReader(part, maxField+1))
		if err != nil {
			return g.bodyFault(w, err, maxFile)
		}
		if len(v) > maxField {
			return wire.Errorf(wire.CodeInvalidRequest, "", "a field of the form has more than %d bytes", maxField)
		}
		switch part.FormName() {
		case "purpose":
			f.purpose = string(v)
		case "expires_after[anchor]":
			f.anchor = string(v)
		case "expires_after[seconds]":
			f.seconds = string(v)
		}
	}
}

// source tells an error of the client from one of the store.
type source struct {
	r   io.Reader
	err error
}

// Read implements io.Reader.
func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

// fileName is the client's name for a file, if it can be shown.
func fileName(name string) string {
	printable := func(c rune) bool { return c >= ' ' && c != 0x7f && c != utf8.RuneError }
	if name == "" || len(name) > maxName || strings.IndexFunc(name, func(c rune) bool { return !printable(c) }) >= 0 {
		return "file"
	}
	return name
}

// check reports a fault of the form, or the file's age in seconds at which it
// expires (0: never).
func (f *form) check() (age int64, fault *wire.Error) {
	if !f.file {
		return 0, wire.Errorf(wire.CodeInvalidRequest, "file", "the form has no file: send one in the field file")
	}
	if !purposes[f.purpose] {
		return 0, wire.Errorf(wire.CodeInvalidRequest, "purpose", "the field purpose must be batch, assistants, fine-tune, vision or user_data")
	}
	if f.anchor == "" && f.seconds == "" {
		if f.purpose == "batch" {
			return maxFileAge, nil
		}
		return 0, nil
	}
	n, err := strconv.ParseInt(f.seconds, 10, 64)
	if err != nil {
		n = 0
	}
	return expiry("expires_after", f.anchor, n)
}

// expiry checks OpenAI's way to say when a file expires.
func expiry(field, anchor string, seconds int64) (int64, *wire.Error) {
	if anchor != "created_at" {
		return 0, wire.Errorf(wire.CodeInvalidRequest, field+".anchor", "%s.anchor must be created_at", field)
	}
	if seconds < minFileAge || seconds > maxFileAge {
		return 0, wire.Errorf(wire.CodeInvalidRequest, field+".seconds", "%s.seconds must be from %d to %d", field, minFileAge, maxFileAge)
	}
	return seconds, nil
}
