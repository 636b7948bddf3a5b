package web

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"

	"github.com/sluicehq/sluice/sdk"
	"github.com/sluicehq/sluice/sdk/wire"
)

// Client talks to one gateway in the name of a tenant. It is safe for
// concurrent use.
type Client struct {
	base, tenant, key string
	http              *http.Client
}

// New makes a client of the gateway at base, for example
// http://127.0.0.1:8080. The key may be "" where none is asked for.
func New(base, tenant, key string) *Client {
	return &Client{base: strings.TrimSuffix(base, "/"), tenant: tenant, key: key, http: &http.Client{
		Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// Close drops idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// File is an uploaded file.
type File struct {
	ID    string `json:"id"`
	Bytes int64  `json:"bytes"`
}

// Batch is a batch, as OpenAI's API shows it with what Sluice adds. Times are
// Unix seconds.
type Batch struct {
	ID         string `json:"id"`
	Endpoint   string `json:"endpoint"`
	Model      string `json:"model,omitempty"`
	Status     string `json:"status"`
	Input      string `json:"input_file_id"`
	Output     string `json:"output_file_id,omitempty"`
	ErrorFile  string `json:"error_file_id,omitempty"`
	Window     string `json:"completion_window"`
	CreatedAt  int64  `json:"created_at"`
	InProgress int64  `json:"in_progress_at,omitempty"`
	ExpiresAt  int64  `json:"expires_at"`
	Errors     *struct {
		Data []LineError `json:"data"`
	} `json:"errors,omitempty"`
	Counts struct {
		Total     int64 `json:"total"`
		Completed int64 `json:"completed"`
		Failed    int64 `json:"failed"`
	} `json:"request_counts"`
	Usage struct {
		Input  int64 `json:"input_tokens"`
		Output int64 `json:"output_tokens"`
	} `json:"usage"`
	Metadata map[string]string `json:"metadata,omitempty"`
	Sluice   struct {
		Cost      wire.NanoUSD     `json:"cost_nano_usd"`
		Unknown   int64            `json:"lines_of_unknown_cost"`
		Cancelled int64            `json:"cancelled"`
		Expired   int64            `json:"expired"`
		Codes     map[string]int64 `json:"errors,omitempty"`
		Placement string           `json:"placement"`
	} `json:"sluice"`
}

// LineError is a fault of a batch's input.
type LineError struct {
	Code    string  `json:"code"`
	Message string  `json:"message"`
	Param   *string `json:"param"`
	Line    *int64  `json:"line"`
}

// Ended reports whether nothing follows.
func (b *Batch) Ended() bool {
	switch b.Status {
	case "completed", "failed", "expired", "cancelled":
		return true
	}
	return false
}

// Request is what a new batch is made of.
type Request struct {
	Input    string            `json:"input_file_id"`
	Endpoint string            `json:"endpoint"`
	Window   string            `json:"completion_window"`
	Metadata map[string]string `json:"metadata,omitempty"`
	// Header are further headers, such as Sluice-Label-Team.
	Header map[string]string `json:"-"`
}

// Upload stores a file for batches.
func (c *Client) Upload(ctx context.Context, name string, content io.Reader) (*File, error) {
	// The form's beginning and end are made apart, so that the content between
	// them is only passed through (I1).
	var head bytes.Buffer
	w := multipart.NewWriter(&head)
	_ = w.WriteField("purpose", "batch") // a buffer takes everything
	h := textproto.MIMEHeader{"Content-Type": {"application/jsonl"},
		"Content-Disposition": {multipart.FileContentDisposition("file", name)}}
	_, _ = w.CreatePart(h)
	before := head.Len()
	_ = w.Close()
	tail := bytes.NewReader(bytes.Clone(head.Bytes()[before:]))
	body := io.MultiReader(bytes.NewReader(head.Bytes()[:before]), content, tail)
	var f File
	return &f, c.do(ctx, http.MethodPost, "/v1/files", body, map[string]string{"Content-Type": w.FormDataContentType()}, &f)
}

// Create submits a batch.
func (c *Client) Create(ctx context.Context, r Request) (*Batch, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	h := map[string]string{"Content-Type": "application/json"}
	for k, v := range r.Header {
		h[k] = v
	}
	var b Batch
	return &b, c.do(ctx, http.MethodPost, "/v1/batches", bytes.NewReader(body), h, &b)
}

// Batch is a batch as it is now.
func (c *Client) Batch(ctx context.Context, id string) (*Batch, error) {
	var b Batch
	return &b, c.do(ctx, http.MethodGet, "/v1/batches/"+url.PathEscape(id), nil, nil, &b)
}

// Batches lists the newest batches, at most limit (1 to 100).
func (c *Client) Batches(ctx context.Context, limit int) ([]Batch, error) {
	var page struct {
		Data []Batch `json:"data"`
	}
	err := c.do(ctx, http.MethodGet, fmt.Sprintf("/v1/batches?limit=%d", limit), nil, nil, &page)
	return page.Data, err
}

// Cancel asks a batch to stop.
func (c *Client) Cancel(ctx context.Context, id string) (*Batch, error) {
	var b Batch
	return &b, c.do(ctx, http.MethodPost, "/v1/batches/"+url.PathEscape(id)+"/cancel", nil, nil, &b)
}

// Content writes a file's content to w.
func (c *Client) Content(ctx context.Context, file string, w io.Writer) error {
	return c.do(ctx, http.MethodGet, "/v1/files/"+url.PathEscape(file)+"/content", nil, nil, w)
}

// maxAnswer bounds a JSON answer.
const maxAnswer = 16 << 20

// do sends a request. answer is decoded into, or written to if it is an
// io.Writer.
func (c *Client) do(ctx context.Context, method, path string, body io.Reader, header map[string]string, answer any) error {
	r, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return fmt.Errorf("the URL %.200q cannot be used: %w", c.base, err)
	}
	for k, v := range header {
		r.Header.Set(k, v)
	}
	if c.key != "" {
		r.Header.Set("Authorization", "Bearer "+c.key)
	}
	if c.tenant != "" && c.key == "" { // a key says whose it is
		r.Header.Set("Sluice-Tenant", c.tenant)
	}
	resp, err := c.http.Do(r)
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return &sdk.Error{Code: wire.CodeUnavailable, Message: fmt.Sprintf("no gateway answers at %s: %v", c.base, err)}
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fault(resp)
	}
	if w, ok := answer.(io.Writer); ok {
		if _, err := io.Copy(w, resp.Body); err != nil {
			return fmt.Errorf("the content broke off: %w", err)
		}
		return nil
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(answer); err != nil {
		return fmt.Errorf("the answer of %s is not understood: %w; is it a Sluice gateway of the same version?", c.base, err)
	}
	return nil
}

// fault is the error of an answer (I2).
func fault(resp *http.Response) error {
	var o struct {
		Error struct {
			Message string  `json:"message"`
			Param   *string `json:"param"`
		} `json:"error"`
	}
	e := &sdk.Error{Code: wire.Code(resp.Header.Get(wire.HeaderErrorCode)), Message: "HTTP " + resp.Status}
	if json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(&o) == nil && o.Error.Message != "" {
		e.Message = o.Error.Message
	}
	if o.Error.Param != nil {
		e.Param = *o.Error.Param
	}
	if e.Code == "" {
		e.Code = wire.CodeInternal
	}
	return e
}
