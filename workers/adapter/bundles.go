package adapter

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/sluicehq/sluice/sdk/wire/jsonscan"
)

// Bundles is the codec of a provider's own batch API, which takes a bundle: many
// requests at once, for less, in its own time. Like a Codec it is pure and safe
// for concurrent use. An upload is Head, lines with Between between them, Tail.
type Bundles interface {
	// Files reports whether an upload is a file, whose ID Begin then gets; else
	// the upload is the body of Begin's request.
	Files() bool
	// Head, Between and Tail go around the lines of an upload. mark names the
	// bundle.
	Head(mark string) []byte
	Between() []byte
	Tail() []byte
	// Line is a request that a Codec has encoded, as a line of an upload. id is
	// its own in the bundle: [a-zA-Z0-9_-]{1,64}.
	Line(id string, e Encoded) []byte
	// Upload is the request that stores the file; its body is the upload.
	Upload() Encoded
	// Begin has the provider run a bundle.
	Begin(file string, e wire.Endpoint, mark string) Encoded
	// List asks for bundles, the newest first, from behind one on; empty: all.
	List(after string) Encoded
	// State, Stop and Results ask about one; a bundle's results may be in
	// several files. Discard is what to delete when it is over.
	State(id string) Encoded
	Stop(id string) Encoded
	Results(b *Bundle) []Encoded
	Discard(b *Bundle) []Encoded
	// Drop deletes an uploaded file, with which no bundle can begin any more.
	Drop(file string) Encoded
	// Read reads an answer about one bundle, ReadList one of List.
	Read(body []byte) (*Bundle, error)
	ReadList(body []byte) (list []*Bundle, more bool, err error)
	// Result reads a line of the results. It keeps parts of line.
	Result(line []byte) (BundleResult, error)
}

// Bundle is what a provider says of one.
type Bundle struct {
	ID      string    `json:"id"`
	Ended   bool      `json:"ended,omitempty"` // nothing follows: results are there
	Failed  *Failure  `json:"-"`               // nothing of it ran, and why; nil: not so
	Mark    string    `json:"-"`               // as given to Begin, where the provider keeps it
	Created time.Time `json:"-"`
	Lines   int       `json:"-"` // how many; 0: it does not say yet

	input, output, errors string // files
}

// BundleResult is what became of a line.
type BundleResult struct {
	ID     string // the line's
	Status int    // of the answer, as HTTP's; 0: it was not run, and costs nothing
	Body   []byte
}

var errNoBundle = errors.New("the answer is none of a batch API")

// BundlesOf is the codec of an adapter's batch API; false if it has none.
func BundlesOf(name string) (Bundles, bool) {
	switch name {
	case "openai", "simulated":
		return openAIBundles{}, true
	case "anthropic":
		return anthropicBundles{}, true
	}
	return nil, false
}

// openAIBundles are OpenAI's files and batches.
type openAIBundles struct{}

// markKey is the metadata that a bundle's mark is in, boundary what parts a
// form. A line of JSON cannot begin with it.
const (
	markKey  = "sluice_bundle"
	boundary = "sluice-5f0c1d6b9e3a4c7f8d2b"
)

func (openAIBundles) Files() bool { return true }

func (openAIBundles) Head(mark string) []byte {
	return []byte("--" + boundary + "\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n--" + boundary +
		"\r\nContent-Disposition: form-data; name=\"file\"; filename=\"" + mark + ".jsonl\"\r\nContent-Type: application/jsonl\r\n\r\n")
}

func (openAIBundles) Between() []byte { return []byte("\n") }

func (openAIBundles) Tail() []byte { return []byte("\r\n--" + boundary + "--\r\n") }

func (openAIBundles) Line(id string, e Encoded) []byte {
	out := make([]byte, 0, len(e.Body)+len(id)+96)
	out = appendString(append(out, `{"custom_id":`...), id)
	out = appendString(append(out, `,"method":"POST","url":`...), "/v1"+e.Path)
	return append(appendLine(append(out, `,"body":`...), e.Body), '}')
}

func (openAIBundles) Upload() Encoded {
	return Encoded{Method: "POST", Path: "/files", Header: []Field{{"Content-Type", "multipart/form-data; boundary=" + boundary}}}
}

func (openAIBundles) Begin(file string, e wire.Endpoint, mark string) Encoded {
	return Encoded{Method: "POST", Path: "/batches", Header: wholeHeader, Body: marshal(map[string]any{
		"input_file_id": file, "endpoint": e, "completion_window": "24h", "metadata": map[string]string{markKey: mark}})}
}

func (openAIBundles) List(after string) Encoded { return listed("/batches", "after", after, nil) }

func (openAIBundles) State(id string) Encoded {
	return Encoded{Method: "GET", Path: "/batches/" + url.PathEscape(id)}
}

func (openAIBundles) Stop(id string) Encoded {
	return Encoded{Method: "POST", Path: "/batches/" + url.PathEscape(id) + "/cancel"}
}

func (openAIBundles) Results(b *Bundle) (list []Encoded) {
	for _, f := range [...]string{b.output, b.errors} {
		if f != "" {
			list = append(list, Encoded{Method: "GET", Path: "/files/" + url.PathEscape(f) + "/content"})
		}
	}
	return list
}

func (openAIBundles) Discard(b *Bundle) (list []Encoded) {
	for _, f := range [...]string{b.input, b.output, b.errors} {
		if f != "" {
			list = append(list, openAIBundles{}.Drop(f))
		}
	}
	return list
}

func (openAIBundles) Drop(file string) Encoded {
	return Encoded{Method: "DELETE", Path: "/files/" + url.PathEscape(file)}
}

type openAIBatch struct {
	ID       string            `json:"id"`
	Status   string            `json:"status"`
	Input    string            `json:"input_file_id"`
	Output   string            `json:"output_file_id"`
	Errors   string            `json:"error_file_id"`
	Created  int64             `json:"created_at"`
	Metadata map[string]string `json:"metadata"`
	Counts   struct {
		Total int `json:"total"`
	} `json:"request_counts"`
	Faults struct {
		Data []struct {
			Code string `json:"code"`
		} `json:"data"`
	} `json:"errors"`
}

func (o *openAIBatch) bundle() (*Bundle, error) {
	if o.ID == "" {
		return nil, errNoBundle
	}
	b := &Bundle{ID: o.ID, Mark: o.Metadata[markKey], Created: time.Unix(o.Created, 0), Lines: o.Counts.Total,
		input: o.Input, output: o.Output, errors: o.Errors}
	switch o.Status {
	case "completed", "expired", "cancelled":
		b.Ended = true
	case "failed":
		code := ""
		if len(o.Faults.Data) > 0 {
			code = machine(o.Faults.Data[0].Code)
		}
		b.Ended = true
		b.Failed = Fail(wire.CodeProviderError, "the provider did not take the batch (%s): its lines did not run", code)
		if code == "token_limit_exceeded" || code == "request_limit_exceeded" {
			b.Failed = Fail(wire.CodeRateLimited, "the provider has no room for another batch (%s): its lines did not run", code)
			b.Failed.RetryAfter = bundleRoom
		}
	}
	return b, nil
}

// bundleRoom is how long a provider that has no room for a bundle is left
// alone: it makes room when another one of ours ends.
const bundleRoom = 5 * time.Minute

func (openAIBundles) Read(body []byte) (*Bundle, error) { return readBundle[openAIBatch](body) }

func (openAIBundles) ReadList(body []byte) ([]*Bundle, bool, error) {
	return readBundles[openAIBatch](body)
}

// Result implements Bundles. A line without a response has an error of the
// batch: it expired, or was cancelled.
func (openAIBundles) Result(line []byte) (r BundleResult, err error) {
	if !sound(line) {
		return r, errNoBundle
	}
	response := jsonscan.Get(line, "response")
	r.ID = jsonscan.String(jsonscan.Get(line, "custom_id"))
	if !jsonscan.Null(response) {
		r.Status, r.Body = int(jsonscan.Int(jsonscan.Get(response, "status_code"))), jsonscan.Get(response, "body")
	}
	return r, nil
}

// anthropicBundles are Anthropic's message batches. They keep no mark, so one
// is found by its time and size; lines tell whose it is when it has ended.
type anthropicBundles struct{}

func (anthropicBundles) Files() bool         { return false }
func (anthropicBundles) Head(string) []byte  { return []byte(`{"requests":[`) }
func (anthropicBundles) Between() []byte     { return []byte(",") }
func (anthropicBundles) Tail() []byte        { return []byte("]}") }
func (anthropicBundles) Upload() Encoded     { return Encoded{} }
func (anthropicBundles) Drop(string) Encoded { return Encoded{} }

func (anthropicBundles) Line(id string, e Encoded) []byte {
	out := appendString(append(make([]byte, 0, len(e.Body)+len(id)+32), `{"custom_id":`...), id)
	return append(append(append(out, `,"params":`...), e.Body...), '}')
}

func (anthropicBundles) Begin(string, wire.Endpoint, string) Encoded {
	return Encoded{Method: "POST", Path: "/messages/batches", Header: anthropicHeader}
}

func (anthropicBundles) List(after string) Encoded {
	return listed("/messages/batches", "after_id", after, anthropicHeader[:1])
}

func (anthropicBundles) ask(method, id, verb string) Encoded {
	return Encoded{Method: method, Path: "/messages/batches/" + url.PathEscape(id) + verb, Header: anthropicHeader[:1]}
}

func (a anthropicBundles) State(id string) Encoded { return a.ask("GET", id, "") }
func (a anthropicBundles) Stop(id string) Encoded  { return a.ask("POST", id, "/cancel") }

func (a anthropicBundles) Results(b *Bundle) []Encoded {
	return []Encoded{a.ask("GET", b.ID, "/results")}
}

func (a anthropicBundles) Discard(b *Bundle) []Encoded { return []Encoded{a.ask("DELETE", b.ID, "")} }

type anthropicBatch struct {
	ID      string         `json:"id"`
	Status  string         `json:"processing_status"`
	Created time.Time      `json:"created_at"`
	Counts  map[string]int `json:"request_counts"`
}

func (o *anthropicBatch) bundle() (*Bundle, error) {
	if o.ID == "" {
		return nil, errNoBundle
	}
	b := &Bundle{ID: o.ID, Ended: o.Status == "ended", Created: o.Created}
	for _, n := range o.Counts {
		b.Lines += n
	}
	return b, nil
}

func (anthropicBundles) Read(body []byte) (*Bundle, error) { return readBundle[anthropicBatch](body) }

func (anthropicBundles) ReadList(body []byte) ([]*Bundle, bool, error) {
	return readBundles[anthropicBatch](body)
}

// anthropicStatus are the HTTP statuses of Anthropic's error types.
var anthropicStatus = map[string]int{
	"invalid_request_error": 400, "authentication_error": 401, "billing_error": 402, "permission_error": 403, "not_found_error": 404,
	"request_too_large": 413, "rate_limit_error": 429, "api_error": 500, "timeout_error": 504, "overloaded_error": 529,
}

func (anthropicBundles) Result(line []byte) (r BundleResult, err error) {
	if !sound(line) {
		return r, errNoBundle
	}
	result := jsonscan.Get(line, "result")
	r.ID = jsonscan.String(jsonscan.Get(line, "custom_id"))
	switch jsonscan.String(jsonscan.Get(result, "type")) {
	case "succeeded":
		r.Status, r.Body = http.StatusOK, jsonscan.Get(result, "message")
	case "errored":
		r.Body = jsonscan.Get(result, "error")
		if r.Status = anthropicStatus[jsonscan.String(jsonscan.Get(jsonscan.Get(r.Body, "error"), "type"))]; r.Status == 0 {
			r.Status = http.StatusInternalServerError
		}
	case "canceled", "expired":
	default:
		return r, errNoBundle
	}
	return r, nil
}

// listed is the request for a page of a list.
func listed(path, key, after string, header []Field) Encoded {
	path += "?limit=" + strconv.Itoa(100)
	if after != "" {
		path += "&" + key + "=" + url.QueryEscape(after)
	}
	return Encoded{Method: "GET", Path: path, Header: header}
}

// appendLine appends JSON without its line breaks, which are white space there.
func appendLine(out, body []byte) []byte {
	for _, c := range body {
		if c == '\n' || c == '\r' {
			c = ' '
		}
		out = append(out, c)
	}
	return out
}

// batchObject is a batch as an API shows it.
type batchObject[T any] interface {
	*T
	bundle() (*Bundle, error)
}

func readBundle[T any, B batchObject[T]](body []byte) (*Bundle, error) {
	var o T
	if json.Unmarshal(body, &o) != nil {
		return nil, errNoBundle
	}
	return B(&o).bundle()
}

// readBundles reads a page of a list, which both APIs wrap alike.
func readBundles[T any, B batchObject[T]](body []byte) (list []*Bundle, more bool, err error) {
	var o struct {
		Data []T  `json:"data"`
		More bool `json:"has_more"`
	}
	if json.Unmarshal(body, &o) != nil || o.Data == nil {
		return nil, false, errNoBundle
	}
	for i := range o.Data {
		b, err := B(&o.Data[i]).bundle()
		if err != nil {
			return nil, false, err
		}
		list = append(list, b)
	}
	return list, o.More, nil
}
