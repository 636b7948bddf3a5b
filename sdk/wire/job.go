package wire

import (
	"bytes"
	"hash/crc32"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sluicehq/sluice/sdk/wire/jsonscan"
)

// Bounds of a job. What is outside gets a failed record, or is refused at the
// door by the server's own payload limit.
const (
	MaxBody       = 8<<20 - 64<<10 // bytes of body, so that body and headers fit in MaxPayload
	MaxPayload    = 8 << 20        // bytes of a NATS message
	MaxTokens     = 10_000_000     // of max_tokens and its siblings
	MaxLabels     = 32
	MaxLabelValue = 256 // bytes
	MaxDelay      = 366 * 24 * time.Hour
)

// Meta is what is known of a job beside its body. It travels with the job
// through every queue and into the ledger.
type Meta struct {
	ID          string            `json:"id"`
	Tenant      string            `json:"t"`
	Key         string            `json:"k,omitempty"` // name of the tenant's key that it was submitted with; empty: the tenant's own
	Class       Class             `json:"c"`
	Seq         uint64            `json:"s"`  // of the submission in the jobs stream
	SubmittedAt int64             `json:"at"` // Unix nanoseconds, by the server's clock
	Endpoint    Endpoint          `json:"e"`
	Route       string            `json:"m"` // the model name that the client asked for
	Stream      bool              `json:"st,omitempty"`
	Pack        bool              `json:"pk,omitempty"` // chunk messages may carry several events: whoever submitted it reads them so
	Deadline    int64             `json:"dl,omitempty"` // Unix nanoseconds, 0: none
	NotBefore   int64             `json:"nb,omitempty"` // Unix nanoseconds, 0: now
	Affinity    string            `json:"af,omitempty"`
	Region      string            `json:"rg,omitempty"`
	MaxCost     *NanoUSD          `json:"mc,omitempty"`
	Webhook     string            `json:"wh,omitempty"`
	Batch       string            `json:"b,omitempty"`
	Placement   Placement         `json:"pl,omitempty"` // empty: Realtime
	Trace       string            `json:"tp,omitempty"`
	TraceState  string            `json:"ts,omitempty"` // of Trace; none without it
	Labels      map[string]string `json:"l,omitempty"`
	MaxTokens   int64             `json:"mt,omitempty"` // most output tokens asked for, 0: not said
	Choices     int               `json:"ch,omitempty"` // answers asked for at once, 0: one
	Needs       Needs             `json:"nd,omitempty"` // what the body asks of a model
	AskedClass  Class             `json:"ac,omitempty"` // as submitted, where a rule has set Class; empty: Class
	Shadow      string            `json:"sh,omitempty"` // the shadow that this is a copy for; empty: a job of its own
	BodyBytes   int               `json:"bb"`
	BodyHash    uint64            `json:"bh"` // HashBody of the body: tells a repeat from a conflict
}

// Job is a Meta and the body it belongs to.
type Job struct {
	Meta
	Body []byte
}

// Payer is the job's payer, as [Payer] makes it.
func (m *Meta) Payer() string { return Payer(m.Tenant, m.Key) }

// Asked is the class that the client asked for.
func (m *Meta) Asked() Class {
	if m.AskedClass != "" {
		return m.AskedClass
	}
	return m.Class
}

// Expired reports whether the job's deadline has passed at now.
func (m *Meta) Expired(now time.Time) bool {
	return m.Deadline != 0 && now.UnixNano() >= m.Deadline
}

// InputTokens estimates the job's input from its body (see EstimateTokens).
func (m *Meta) InputTokens() int64 { return EstimateTokens(m.BodyBytes) }

// Valid reports whether tenant, ID and class are such that subjects may be
// made of them (I1). Anything read from a queue is checked by it.
func (m *Meta) Valid() bool { return ValidName(m.Tenant) && ValidName(m.ID) && m.Class.Valid() }

// AutoID is the ID of a job that was published without one.
func AutoID(seq uint64) string { return "j" + strconv.FormatUint(seq, 10) }

// IsAutoID reports whether id has the form that AutoID makes. Clients may not
// choose such an ID, or they could take a later job's name.
func IsAutoID(id string) bool {
	if len(id) < 2 || id[0] != 'j' {
		return false
	}
	for i := 1; i < len(id); i++ {
		if id[i] < '0' || id[i] > '9' {
			return false
		}
	}
	return true
}

// ParseJob reads a submitted message: tenant (or payer, see Payer) and class from
// its subject, seq and at from the stream's metadata. When it returns an error, the Meta
// beside it still names the job that the error belongs to (with the ID
// AutoID(seq) where the given one is unusable), so that a failed record can
// be written. ParseJob keeps body; it does not change it.
func ParseJob(tenant string, class Class, header map[string][]string, body []byte, seq uint64, at time.Time) (Job, *Error) {
	j := Job{Body: body, Meta: Meta{
		ID: AutoID(seq), Tenant: tenant, Class: class, Seq: seq, SubmittedAt: at.UnixNano(),
		Endpoint: ChatCompletions, BodyBytes: len(body), BodyHash: HashBody(body),
	}}
	if !class.Valid() {
		j.Class = Standard
	}
	if j.Tenant, j.Key = SplitPayer(tenant); !ValidName(j.Tenant) || tenant != Payer(j.Tenant, j.Key) {
		j.Tenant, j.Key = Token(tenant), ""
		return j, Errorf(CodeInvalidSubject, "", "the tenant in the subject must match [A-Za-z0-9_-]{1,64}")
	}
	if !class.Valid() {
		return j, Errorf(CodeInvalidSubject, "", "the class in the subject must be interactive, standard or batch")
	}
	if err := j.parseHeaders(header, at); err != nil {
		return j, err
	}
	return j, j.parseBody()
}

// HashBody is CRC-32C and CRC-32 side by side: fast in hardware, stable, and
// good enough to tell two honest bodies apart; nothing rests on it against an
// adversary.
func HashBody(b []byte) uint64 {
	return uint64(crc32.Checksum(b, castagnoli))<<32 | uint64(crc32.ChecksumIEEE(b))
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func (j *Job) parseHeaders(h map[string][]string, at time.Time) *Error {
	r := headerReader{h: h}
	if id := r.text(HeaderJobID, 64); id != "" {
		switch {
		case !ValidName(id):
			return Errorf(CodeInvalidJobID, HeaderJobID, "a job ID must match [A-Za-z0-9_-]{1,64}")
		case IsAutoID(id) && id != j.ID:
			return Errorf(CodeInvalidJobID, HeaderJobID, "job IDs of the form j<number> are given by Sluice: choose another form")
		}
		j.ID = id
	}
	if e := r.text(HeaderEndpoint, 128); e != "" {
		j.Endpoint = Endpoint(e)
	}
	j.Stream, j.Pack = r.boolean(HeaderStream), r.boolean(HeaderPack)
	j.Deadline = r.moment(HeaderDeadline, at)
	j.NotBefore = r.moment(HeaderNotBefore, at)
	j.Affinity = r.text(HeaderAffinity, 256)
	j.Region = r.text(HeaderRegion, 64)
	j.MaxCost = r.money(HeaderMaxCost)
	j.Webhook = r.url(HeaderWebhook)
	if j.Batch = r.text(HeaderBatch, 64); j.Batch != "" && !ValidName(j.Batch) {
		r.fail(HeaderBatch, "must match [A-Za-z0-9_-]{1,64}")
	}
	switch p := Placement(r.text(HeaderPlacement, 16)); p {
	case "", Realtime:
	case AtProvider, Auto:
		if j.Placement = p; j.Class != Batch {
			r.fail(HeaderPlacement, "counts for the class batch only")
		}
	default:
		r.fail(HeaderPlacement, "must be realtime, provider or auto")
	}
	if v := h[HeaderTrace]; len(v) == 1 && validTrace(v[0]) {
		j.Trace = v[0] // an invalid one is ignored: W3C Trace Context, section 3.2
		if s := strings.Join(h[HeaderState], ","); validState(s) {
			j.TraceState = s
		}
	}
	j.Labels = r.labels()
	if r.err == nil && !j.Endpoint.Valid() {
		return Errorf(CodeUnknownEndpoint, HeaderEndpoint,
			"unknown endpoint: use /v1/chat/completions, /v1/responses, /v1/embeddings, /v1/completions or /v1/messages")
	}
	return r.err
}

// requiredFields names, per endpoint, the body field without which no
// provider takes the request.
var requiredFields = map[Endpoint]string{
	ChatCompletions: "messages", Messages: "messages", Responses: "input", Embeddings: "input", Completions: "prompt",
}

func (j *Job) parseBody() *Error {
	switch {
	case len(j.Body) == 0:
		return Errorf(CodeInvalidJSON, "", "the body is empty: it must be the JSON request of %s", j.Endpoint)
	case len(j.Body) > MaxBody:
		return Errorf(CodeTooLarge, "", "the body has %d bytes, more than the %d that a job may have", len(j.Body), MaxBody)
	case !utf8.Valid(j.Body):
		return Errorf(CodeInvalidJSON, "", "the body is not valid UTF-8")
	}
	if !jsonscan.Valid(j.Body) || jsonscan.Kind(bytes.TrimLeft(j.Body, " \t\r\n")) != '{' {
		return Errorf(CodeInvalidJSON, "", "the body is not a JSON object")
	}
	f := j.scanBody()
	if j.Route = jsonscan.String(f.model); j.Route == "" || len(j.Route) > 256 {
		j.Route = ""
		return Errorf(CodeInvalidRequest, "model", "the field model must be the name of a route (a string of 1 to 256 bytes)")
	}
	if empty(f.required) {
		name := requiredFields[j.Endpoint]
		return Errorf(CodeInvalidRequest, name, "the field %s is missing or empty: %s needs it", name, j.Endpoint)
	}
	switch jsonscan.Kind(f.stream) {
	case 0, 'n', 'f':
	case 't':
		j.Stream = true
	default:
		return Errorf(CodeInvalidRequest, "stream", "the field stream must be true or false")
	}
	j.Needs = f.needs()
	if err := j.parseChoices(&f); err != nil {
		return err
	}
	return j.parseMaxTokens(f.max)
}

// bodyFields are the values of a body that Sluice looks at, nil if absent. Of
// a repeated field the last one counts, as for encoding/json.
type bodyFields struct {
	model, required, stream []byte
	tools, format, thinking []byte
	n, bestOf               []byte
	max                     [len(maxFields)][]byte
}

// maxFields bound the output, in the words of the endpoints.
var maxFields = [...]string{"max_tokens", "max_completion_tokens", "max_output_tokens"}

func (j *Job) scanBody() (f bodyFields) {
	required := requiredFields[j.Endpoint]
	body := jsonscan.NewObject(j.Body)
	for m, ok := body.Next(); ok; m, ok = body.Next() {
		switch key := string(m.Key); key {
		case "model":
			f.model = m.Value
		case "stream":
			f.stream = m.Value
		case required:
			f.required = m.Value
		case "tools", "functions":
			f.tools = m.Value
		case "response_format", "text":
			f.format = m.Value
		case "thinking", "reasoning", "reasoning_effort":
			f.thinking = m.Value
		case "n":
			f.n = m.Value
		case "best_of":
			f.bestOf = m.Value
		default:
			if i := slices.Index(maxFields[:], key); i >= 0 {
				f.max[i] = m.Value
			}
		}
	}
	return f
}

func empty(raw []byte) bool {
	switch string(bytes.TrimSpace(raw)) {
	case "", "null", "[]", `""`:
		return true
	}
	return false
}

func (j *Job) parseMaxTokens(values [len(maxFields)][]byte) *Error {
	for i, raw := range values {
		if jsonscan.Null(raw) {
			continue
		}
		n, err := strconv.ParseInt(string(raw), 10, 64)
		if err != nil || n < 1 || n > MaxTokens {
			return Errorf(CodeInvalidRequest, maxFields[i], "the field %s must be a whole number from 1 to %d", maxFields[i], MaxTokens)
		}
		j.MaxTokens = n
	}
	return nil
}

// headerReader reads single-valued headers and keeps the first fault.
type headerReader struct {
	h   map[string][]string
	err *Error
}

func (r *headerReader) fail(name, what string) {
	if r.err == nil {
		r.err = Errorf(CodeInvalidHeader, name, "the header %s %s", name, what)
	}
}

// text reads a header of at most limit bytes of printable UTF-8.
func (r *headerReader) text(name string, limit int) string {
	v := r.h[name]
	if len(v) == 0 || v[0] == "" && len(v) == 1 {
		return ""
	}
	if len(v) > 1 {
		r.fail(name, "is given more than once")
		return ""
	}
	if len(v[0]) > limit || !printable(v[0]) {
		r.fail(name, "must be at most "+strconv.Itoa(limit)+" bytes of printable UTF-8")
		return ""
	}
	return v[0]
}

func (r *headerReader) boolean(name string) bool {
	switch v := r.text(name, 8); v {
	case "", "false", "0":
		return false
	case "true", "1":
		return true
	default:
		r.fail(name, "must be true or false")
		return false
	}
}

// moment reads an RFC 3339 time, or a duration counted from at.
func (r *headerReader) moment(name string, at time.Time) int64 {
	v := r.text(name, 64)
	if v == "" {
		return 0
	}
	t, err := time.Parse(time.RFC3339, v)
	if err != nil {
		d, err := time.ParseDuration(v)
		if err != nil || d < 0 {
			r.fail(name, "must be an RFC 3339 time or a positive duration such as 90s")
			return 0
		}
		t = at.Add(min(d, 2*MaxDelay))
	}
	if t.After(at.Add(MaxDelay)) {
		r.fail(name, "lies more than 366 days ahead")
		return 0
	}
	if t.Year() < 1970 {
		t = time.Unix(0, 1)
	}
	return max(t.UnixNano(), 1)
}

func (r *headerReader) money(name string) *NanoUSD {
	v := r.text(name, 32)
	if v == "" {
		return nil
	}
	n, err := ParseUSD(v)
	if err != nil {
		r.fail(name, "must be a decimal number of dollars with at most nine decimals, such as 0.05")
		return nil
	}
	return &n
}

func (r *headerReader) url(name string) string {
	v := r.text(name, 2048)
	if v == "" {
		return ""
	}
	u, err := url.Parse(v)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		r.fail(name, "must be an http or https URL")
		return ""
	}
	return v
}

// labels collects the Sluice-Label-<name> headers; names are lower-cased, so
// that HTTP's header spelling makes no difference.
func (r *headerReader) labels() map[string]string {
	var labels map[string]string
	for name := range r.h {
		label, ok := strings.CutPrefix(name, HeaderLabel)
		if !ok {
			continue
		}
		if label = strings.ToLower(label); !ValidName(label) {
			r.fail(HeaderLabel+"<name>", "must have a name that matches [A-Za-z0-9_-]{1,64}")
			continue
		}
		if labels == nil {
			labels = make(map[string]string)
		}
		if _, twice := labels[label]; twice {
			r.fail(HeaderLabel+label, "is given more than once")
		}
		labels[label] = r.text(name, MaxLabelValue)
	}
	if len(labels) > MaxLabels {
		r.fail(HeaderLabel+"<name>", "is given for more than "+strconv.Itoa(MaxLabels)+" labels")
	}
	return labels
}

func printable(s string) bool {
	for _, c := range s {
		if c < ' ' || c == 0x7f || c == utf8.RuneError {
			return false
		}
	}
	return true
}

// maxState is the most bytes of a tracestate: as many as everybody has to pass on.
const maxState = 512

// validState checks that a tracestate can be passed on as it is: what is in it
// is its vendors' own.
func validState(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return len(s) <= maxState && strings.Trim(s, ", ") != ""
}

// validTrace checks the shape 00-<32 hex>-<16 hex>-<2 hex> of a traceparent.
func validTrace(s string) bool {
	if len(s) != 55 || s[2] != '-' || s[35] != '-' || s[52] != '-' {
		return false
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		if i != 2 && i != 35 && i != 52 && !(c >= '0' && c <= '9' || c >= 'a' && c <= 'f') {
			return false
		}
	}
	return s[:2] != "ff"
}
