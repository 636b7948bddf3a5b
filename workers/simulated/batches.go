package simulated

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// batches is what the provider keeps of files and batches, in memory. A batch
// moves only when somebody looks: there are no timers (I5).
type batches struct {
	mu    sync.Mutex
	made  uint64
	files map[string]*file
	list  []*batch // oldest first
}

// file is an uploaded file, or one with results.
type file struct {
	id, name, purpose string
	created           time.Time
	content           []byte
}

// item is a line of a batch.
type item struct {
	id   string // custom_id
	path string // of the endpoint
	body []byte
	done bool // it is in one of the results
}

// batch is a batch of either API.
type batch struct {
	id        string
	anthropic bool
	endpoint  string
	input     string
	metadata  map[string]string
	items     []item

	created, expires      time.Time
	takes                 time.Duration // from its beginning to its end
	cancelling, cancelled time.Time     // zero: it was not asked to
	ended                 time.Time     // zero: it has not
	status                string        // OpenAI's
	faults                []batchFault  // why it failed
	output, errors        *file
	sums                  map[string]int // lines by outcome: succeeded, errored, canceled, expired
}

// batchFault is why a batch was not taken.
type batchFault struct {
	Code    string  `json:"code"`
	Message string  `json:"message"`
	Param   *string `json:"param"`
	Line    *int    `json:"line"`
}

// Bounds of uploads.
const (
	maxUpload = 256 << 20
	maxItems  = 100_000
)

// id is unlike any other of the provider, and the same on every run.
func (b *batches) id(prefix string, seed uint64) string {
	b.made++
	r := rng(seed ^ b.made*0x9e3779b97f4a7c15)
	return prefix + string(appendHex(appendHex(nil, r.next()), r.next()))
}

// batchPath takes the part of a path that names files or batches; ok is false
// for every other path.
func batchPath(path string) (what, id, verb string, ok bool) {
	for _, root := range [...]string{"/messages/batches", "/batches", "/files"} {
		at := strings.Index(path+"/", root+"/")
		if at < 0 {
			continue
		}
		rest := strings.Trim(path[at+len(root):], "/")
		id, verb, _ = strings.Cut(rest, "/")
		return root, id, verb, true
	}
	return "", "", "", false
}

// serveBatches answers what is about files and batches.
func (p *Provider) serveBatches(req *http.Request, what, id, verb string) (*http.Response, error) {
	var raw []byte
	if req.Body != nil {
		var err error
		if raw, err = io.ReadAll(io.LimitReader(req.Body, maxUpload+1)); err != nil {
			return nil, err
		}
		_ = req.Body.Close()
	}
	c := &call{p: p, ctx: req.Context(), kind: models} // answers nothing that is booked
	if what == "/messages/batches" {
		c.kind = message
	}
	refused := p.gate(req)
	var answer any
	var content []byte
	if refused == nil && len(raw) > maxUpload {
		refused = &refusal{status: 413, kind: "invalid_request_error", message: "The request is too large."}
	}
	if refused == nil {
		p.batches.mu.Lock()
		switch what {
		case "/files":
			answer, content, refused = p.fileCall(req, raw, id, verb)
		case "/batches":
			answer, refused = p.batchCall(req, raw, id, verb)
		default:
			answer, content, refused = p.messageBatchCall(req, raw, id, verb)
		}
		p.batches.mu.Unlock()
	}
	if refused != nil {
		c.done = true // it is in no book: nothing ran
		return c.refuse(req, refused), nil
	}
	kind := "application/json"
	if answer != nil {
		content, _ = json.Marshal(answer) // made of strings, numbers and their maps
	} else {
		kind = "application/x-jsonl"
	}
	return respond(req, 200, kind, c.fixed(content, nil), int64(len(content))), nil
}

var errNoURL = &refusal{status: 404, kind: "invalid_request_error", code: "unknown_url", message: "Unknown request URL."}

func noSuch(what, id string) *refusal {
	return &refusal{status: 404, kind: "invalid_request_error", param: "id", message: fmt.Sprintf("No such %s: %.80q.", what, id)}
}

// find is the batch of an ID and API, brought up to now.
func (p *Provider) find(id string, anthropic bool) *batch {
	for _, b := range p.batches.list {
		if b.id == id && b.anthropic == anthropic {
			p.advance(b, time.Now())
			return b
		}
	}
	return nil
}

// pageOf is the part of an API's batches that a list shows, the newest first.
func (p *Provider) pageOf(q url.Values, after string, anthropic bool) (page []*batch, more bool) {
	limit, err := strconv.Atoi(q.Get("limit"))
	if err != nil || limit < 1 || limit > 100 {
		limit = 20
	}
	past := q.Get(after) == ""
	for _, b := range slices.Backward(p.batches.list) {
		switch {
		case b.anthropic != anthropic:
		case !past:
			past = b.id == q.Get(after)
		case len(page) == limit:
			return page, true
		default:
			p.advance(b, time.Now())
			page = append(page, b)
		}
	}
	return page, false
}

// add begins a batch.
func (p *Provider) add(b *batch, prefix string) {
	s := &p.batches
	b.id, b.created, b.sums = s.id(prefix, p.cfg.Seed), time.Now(), map[string]int{}
	b.expires = b.created.Add(p.cfg.BatchWindow)
	r := rng(p.cfg.Seed ^ s.made)
	b.takes = p.cfg.BatchMin + time.Duration(r.below(int64(p.cfg.BatchMax-p.cfg.BatchMin)+1))
	b.output, b.errors = &file{purpose: "batch_output"}, &file{purpose: "batch_output"}
	if b.status == "" {
		b.status = "validating"
	}
	s.list = append(s.list, b)
}

// advance runs the lines that are due: they end evenly over the time that the
// batch takes, and none after it has expired or was cancelled.
func (p *Provider) advance(b *batch, now time.Time) {
	if !b.ended.IsZero() || b.status == "failed" {
		return
	}
	until, end := now, b.created.Add(b.takes)
	stop, why := b.expires, "expired"
	if !b.cancelling.IsZero() && b.cancelling.Add(p.cfg.BatchCancel).Before(stop) {
		stop, why = b.cancelling.Add(p.cfg.BatchCancel), "canceled"
	}
	if until.After(stop) {
		until = stop
	}
	n := len(b.items)
	due := n
	if until.Before(end) {
		due = int(float64(n) * float64(until.Sub(b.created)) / float64(max(b.takes, 1)))
	}
	for i := range b.items[:due] {
		p.runItem(b, &b.items[i])
	}
	switch {
	case due == n:
		b.finish(end, "completed")
	case !now.Before(stop):
		for i := range b.items {
			if it := &b.items[i]; !it.done {
				b.unfinished(it, why)
			}
		}
		b.finish(stop, map[string]string{"expired": "expired", "canceled": "cancelled"}[why])
	case !b.cancelling.IsZero():
		b.status = "cancelling"
	default:
		b.status = "in_progress"
	}
}

func (b *batch) finish(at time.Time, status string) {
	b.ended, b.status = at, status
	if status == "cancelled" {
		b.cancelled = at
	}
	for i := range b.items {
		b.items[i].body = nil
	}
}

// runItem runs a line, books it and writes its result.
func (p *Provider) runItem(b *batch, it *item) {
	if it.done {
		return
	}
	c := &call{p: p, line: Line{Key: it.id, Batch: true}, kind: kinds[endpoint(it.path)]} // without a context: it waits for nothing
	r := c.parse(it.path, it.body)
	if r == nil {
		c.stream = false
		if c.plan(it.body); c.fault != "" {
			r = &refusal{status: 500, kind: "server_error", message: "The simulated provider had an error."}
			if c.fault == RateLimit {
				r = p.rateLimited("rate_limit_exceeded")
			}
		}
	}
	if r != nil {
		c.write("refused", r.status)
		b.errored(it, r)
		return
	}
	body := c.body()
	c.spend(c.output)
	c.write("ok", 200)
	it.done = true
	b.sums["succeeded"]++
	out := &b.output.content
	if b.anthropic {
		*out = append(appendJSON(append(*out, `{"custom_id":`...), it.id), `,"result":{"type":"succeeded","message":`...)
		*out = append(append(*out, body...), "}}\n"...)
		return
	}
	b.response(out, it, 200, body)
}

// response writes a line that got an answer.
func (b *batch) response(out *[]byte, it *item, status int, body []byte) {
	*out = fmt.Appendf(*out, `{"id":"batch_req_%s-%d","custom_id":`, b.id, b.done())
	*out = appendJSON(*out, it.id)
	*out = fmt.Appendf(*out, `,"response":{"status_code":%d,"request_id":"req-%d","body":`, status, b.done())
	*out = append(append(*out, body...), "},\"error\":null}\n"...)
}

func (b *batch) done() (n int) {
	for _, k := range b.sums {
		n += k
	}
	return n
}

func (b *batch) errored(it *item, r *refusal) {
	it.done = true
	b.sums["errored"]++
	if b.anthropic {
		out := append(appendJSON(append(b.output.content, `{"custom_id":`...), it.id), `,"result":{"type":"errored","error":`...)
		b.output.content = append(appendMessageError(out, r), "}}\n"...)
		return
	}
	b.response(&b.errors.content, it, r.status, appendError(nil, r))
}

// unfinished writes a line that was not run.
func (b *batch) unfinished(it *item, why string) {
	it.done = true
	b.sums[why]++
	if b.anthropic {
		out := append(appendJSON(append(b.output.content, `{"custom_id":`...), it.id), `,"result":{"type":"`...)
		b.output.content = append(append(out, why...), "\"}}\n"...)
		return
	}
	code := map[string]string{"expired": "batch_expired", "canceled": "batch_cancelled"}[why]
	out := fmt.Appendf(b.errors.content, `{"id":"batch_req_%s-%d","custom_id":`, b.id, b.done())
	out = appendJSON(out, it.id)
	b.errors.content = fmt.Appendf(out, `,"response":null,"error":{"code":%q,"message":"This request was not executed."}}`+"\n", code)
}

// readItems reads the lines of OpenAI's input, and what is wrong with them.
func readItems(content []byte, endpoint string) (items []item, faults []batchFault) {
	seen, model := map[string]bool{}, ""
	n := 0
	bad := func(code, message string) {
		line := n
		faults = append(faults, batchFault{Code: code, Message: message, Line: &line})
	}
	for raw := range bytes.Lines(content) {
		n++
		if len(bytes.TrimSpace(raw)) == 0 {
			continue
		}
		var l struct {
			ID     string          `json:"custom_id"`
			Method string          `json:"method"`
			URL    string          `json:"url"`
			Body   json.RawMessage `json:"body"`
		}
		var b struct {
			Model string `json:"model"`
		}
		switch {
		case json.Unmarshal(raw, &l) != nil || json.Unmarshal(l.Body, &b) != nil:
			bad("invalid_json_line", "This line is not parseable as valid JSON.")
		case l.ID == "" || l.Method != "POST" || l.URL != endpoint:
			bad("invalid_request", "custom_id, method and url of the batch's endpoint are needed.")
		case seen[l.ID]:
			bad("duplicate_custom_id", "The custom_id is used twice.")
		case model != "" && model != b.Model:
			bad("mismatched_model", "All lines must have the same model.")
		}
		seen[l.ID], model = true, b.Model
		items = append(items, item{id: l.ID, path: l.URL, body: l.Body})
	}
	if len(items) == 0 || len(items) > maxItems {
		bad("invalid_request", "The file has no lines, or too many.")
	}
	return items, faults
}
