package simulated

import (
	"bytes"
	"encoding/json"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"slices"
	"time"
)

// This file speaks OpenAI's /v1/files and /v1/batches.

type fileObject struct {
	ID      string `json:"id"`
	Object  string `json:"object"`
	Bytes   int    `json:"bytes"`
	Created int64  `json:"created_at"`
	Name    string `json:"filename"`
	Purpose string `json:"purpose"`
	Status  string `json:"status"`
}

func (f *file) object() fileObject {
	return fileObject{f.id, "file", len(f.content), f.created.Unix(), f.name, f.purpose, "processed"}
}

func (p *Provider) fileCall(req *http.Request, raw []byte, id, verb string) (answer any, content []byte, _ *refusal) {
	s := &p.batches
	if req.Method == http.MethodPost && id == "" {
		f, r := p.upload(req, raw)
		if r != nil {
			return nil, nil, r
		}
		return f.object(), nil, nil
	}
	f := s.files[id]
	switch {
	case f == nil:
		return nil, nil, noSuch("File object", id)
	case req.Method == http.MethodGet && verb == "content":
		return nil, slices.Clone(f.content), nil
	case req.Method == http.MethodGet && verb == "":
		return f.object(), nil, nil
	case req.Method == http.MethodDelete && verb == "":
		delete(s.files, id)
		return map[string]any{"id": id, "object": "file", "deleted": true}, nil, nil
	}
	return nil, nil, errNoURL
}

// upload stores the file of a form.
func (p *Provider) upload(req *http.Request, raw []byte) (*file, *refusal) {
	_, params, err := mime.ParseMediaType(req.Header.Get("Content-Type"))
	if err != nil {
		return nil, invalid("file", "The request is no multipart form.")
	}
	f := &file{created: time.Now()}
	found := false
	for form := multipart.NewReader(bytes.NewReader(raw), params["boundary"]); ; {
		part, err := form.NextPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, invalid("file", "The form broke off.")
		}
		b, err := io.ReadAll(part)
		switch {
		case err != nil:
			return nil, invalid("file", "The form broke off.")
		case part.FormName() == "purpose":
			f.purpose = string(b)
		case part.FormName() == "file":
			f.name, f.content, found = part.FileName(), b, true
		}
	}
	if f.purpose != "batch" || !found {
		return nil, invalid("purpose", "A file with the purpose batch is needed.")
	}
	p.keep(f)
	return f, nil
}

// keep gives a file its ID.
func (p *Provider) keep(f *file) {
	if p.batches.files == nil {
		p.batches.files = map[string]*file{}
	}
	f.id = p.batches.id("file-", p.cfg.Seed)
	p.batches.files[f.id] = f
}

type batchObject struct {
	ID         string            `json:"id"`
	Object     string            `json:"object"`
	Endpoint   string            `json:"endpoint"`
	Errors     *batchFaults      `json:"errors"`
	Input      string            `json:"input_file_id"`
	Window     string            `json:"completion_window"`
	Status     string            `json:"status"`
	Output     *string           `json:"output_file_id"`
	ErrorFile  *string           `json:"error_file_id"`
	Created    int64             `json:"created_at"`
	Expires    int64             `json:"expires_at"`
	Completed  *int64            `json:"completed_at"`
	Cancelling *int64            `json:"cancelling_at"`
	Cancelled  *int64            `json:"cancelled_at"`
	Expired    *int64            `json:"expired_at"`
	Counts     map[string]int    `json:"request_counts"`
	Metadata   map[string]string `json:"metadata"`
}

type batchFaults struct {
	Object string       `json:"object"`
	Data   []batchFault `json:"data"`
}

func (p *Provider) object(b *batch) batchObject {
	o := batchObject{ID: b.id, Object: "batch", Endpoint: b.endpoint, Input: b.input, Window: "24h", Status: b.status,
		Created: b.created.Unix(), Expires: b.expires.Unix(), Metadata: b.metadata,
		Counts: map[string]int{"total": len(b.items), "completed": b.sums["succeeded"], "failed": b.sums["errored"]}}
	stamp := func(t time.Time, when bool) *int64 {
		if !when || t.IsZero() {
			return nil
		}
		s := t.Unix()
		return &s
	}
	o.Completed, o.Expired = stamp(b.ended, b.status == "completed"), stamp(b.ended, b.status == "expired")
	o.Cancelling, o.Cancelled = stamp(b.cancelling, true), stamp(b.cancelled, true)
	if len(b.faults) > 0 {
		o.Errors = &batchFaults{"list", b.faults}
	}
	if !b.ended.IsZero() {
		for _, x := range []struct {
			f  *file
			to **string
		}{{b.output, &o.Output}, {b.errors, &o.ErrorFile}} {
			if x.f.id == "" && len(x.f.content) > 0 {
				x.f.name, x.f.created = b.id+".jsonl", b.ended
				p.keep(x.f)
			}
			if x.f.id != "" {
				*x.to = &x.f.id
			}
		}
	}
	return o
}

func (p *Provider) batchCall(req *http.Request, raw []byte, id, verb string) (any, *refusal) {
	switch {
	case req.Method == http.MethodPost && id == "":
		return p.createBatch(raw)
	case req.Method == http.MethodGet && id == "":
		page, more := p.pageOf(req.URL.Query(), "after", false)
		data := []batchObject{}
		for _, b := range page {
			data = append(data, p.object(b))
		}
		answer := map[string]any{"object": "list", "data": data, "has_more": more}
		if len(data) > 0 {
			answer["first_id"], answer["last_id"] = data[0].ID, data[len(data)-1].ID
		}
		return answer, nil
	}
	b := p.find(id, false)
	switch {
	case b == nil:
		return nil, noSuch("batch", id)
	case req.Method == http.MethodGet && verb == "":
		return p.object(b), nil
	case req.Method == http.MethodPost && verb == "cancel":
		if !b.ended.IsZero() || b.status == "failed" {
			return nil, &refusal{status: 409, kind: "invalid_request_error", message: "The batch has ended."}
		}
		if b.cancelling.IsZero() {
			b.cancelling = time.Now()
		}
		p.advance(b, time.Now())
		return p.object(b), nil
	}
	return nil, errNoURL
}

func (p *Provider) createBatch(raw []byte) (any, *refusal) {
	var q struct {
		Input    string            `json:"input_file_id"`
		Endpoint string            `json:"endpoint"`
		Window   string            `json:"completion_window"`
		Metadata map[string]string `json:"metadata"`
	}
	if json.Unmarshal(raw, &q) != nil || q.Window != "24h" {
		return nil, invalid("completion_window", "The completion_window must be 24h.")
	}
	f := p.batches.files[q.Input]
	if f == nil || f.purpose != "batch" {
		return nil, noSuch("File object", q.Input)
	}
	b := &batch{endpoint: q.Endpoint, input: q.Input, metadata: q.Metadata}
	if b.items, b.faults = readItems(f.content, q.Endpoint); len(b.faults) > 0 {
		b.status, b.items = "failed", nil
	}
	p.add(b, "batch_")
	return p.object(b), nil
}
