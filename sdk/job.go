package sdk

import (
	"crypto/rand"
	"encoding/json"
	"maps"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"

	"github.com/sluicehq/sluice/sdk/wire"
)

// Class says how urgent a job is.
type Class = wire.Class

// The three classes, the most urgent first.
const (
	Interactive = wire.Interactive
	Standard    = wire.Standard
	Batch       = wire.Batch
)

// Endpoint is the provider API that a job's body is written for.
type Endpoint = wire.Endpoint

// The endpoints of the contract.
const (
	ChatCompletions = wire.ChatCompletions
	Responses       = wire.Responses
	Embeddings      = wire.Embeddings
	Completions     = wire.Completions
	Messages        = wire.Messages
)

// Job is what a client submits. Body or Request must be set; everything else
// has a useful zero value.
type Job struct {
	// ID is the job's name, [A-Za-z0-9_-]{1,64}, unique within the tenant: the
	// same ID again is the same job, never a second one, as long as its record
	// is kept. The form j<digits> is the broker's own and refused. Defaults to
	// a new UUIDv7.
	ID string

	// Key is the name of the tenant's key that the job counts for in budgets.
	// Only connections of Sluice's own parts may say it; others are refused with
	// wire.CodePermission. Empty: the key that the connection has logged in with.
	Key string

	// Class defaults to Standard.
	Class Class

	// Endpoint defaults to ChatCompletions.
	Endpoint Endpoint

	// Body is exactly the JSON request of the endpoint, with the route in its
	// field "model". At most wire.MaxBody bytes (just below 8 MiB) and no more
	// than the server takes.
	Body []byte

	// Request is marshalled to JSON for the body when Body is nil: a
	// [ChatRequest], or the request type of any provider's library.
	Request any

	// Stream asks for chunks while the answer is generated; "stream": true in
	// the body does the same.
	Stream bool

	// Pack lets a chunk message carry several events that came at once, which
	// costs everyone less. This library reads such chunks like any other; plain
	// NATS readers of the job's chunks must know the header Sluice-Sizes.
	Pack bool

	// Deadline is when the job ends as expired, whatever its state. Zero: never.
	// The broker's clock counts, to the nanosecond.
	Deadline time.Time

	// Timeout is a deadline counted from when the broker takes the job. Zero:
	// none. Setting both Deadline and Timeout is an error.
	Timeout time.Duration

	// NotBefore is the earliest start. Zero: now. At most 366 days ahead.
	NotBefore time.Time

	// Delay is NotBefore counted from when the broker takes the job. Zero:
	// none. Setting both is an error.
	Delay time.Duration

	// Affinity keeps jobs with the same key on the same pool, where the
	// strategy of the route does so. At most 256 bytes.
	Affinity string

	// Region is where the user is. At most 64 bytes.
	Region string

	// MaxCost is the most that the job may cost, in nano-dollars. Nil: no bound.
	MaxCost *NanoUSD

	// Webhook is an http or https URL to call with the result.
	Webhook string

	// Batch is the batch that the job belongs to, [A-Za-z0-9_-]{1,64}.
	Batch string

	// Labels are free names and values, for rules and analytics: at most 32,
	// names [a-z0-9_-]{1,64} (capitals are lowered), values at most 256 bytes.
	Labels map[string]string

	// Traceparent is a W3C trace context, carried through to the provider call
	// and the ledger. An invalid one is ignored by the broker.
	Traceparent string

	// Tracestate goes with Traceparent: what the vendors of a trace say of it, at
	// most 512 bytes, passed on as it is.
	Tracestate string
}

// NanoUSD is an amount in nano-dollars: 1 US dollar is 1e9.
type NanoUSD = wire.NanoUSD

// Dollars reads a decimal amount of dollars, such as "0.05", for Job.MaxCost.
// At most nine decimals, no sign and no exponent.
func Dollars(amount string) (*NanoUSD, error) {
	n, err := wire.ParseUSD(amount)
	if err != nil {
		return nil, fail(wire.CodeInvalidRequest, err, "%v", err)
	}
	return &n, nil
}

// message makes the NATS message that submits j, and the job's ID. It applies
// the broker's own checks, so what it passes is not refused for its form.
func (c *Client) message(j *Job) (*nats.Msg, string, *Error) {
	id := j.ID
	if id == "" {
		id = newID()
	}
	if !wire.ValidName(id) || wire.IsAutoID(id) {
		return nil, id, fail(wire.CodeInvalidJobID, nil, "a job ID must match [A-Za-z0-9_-]{1,64} and not have the form j<digits>")
	}
	body, e := j.body()
	if e != nil {
		return nil, id, e.of(id)
	}
	class := j.Class
	if class == "" {
		class = Standard
	}
	header, e := j.header(id)
	if e != nil {
		return nil, id, e.of(id)
	}
	if _, err := wire.ParseJob(wire.Payer(c.tenant, j.Key), class, header, body, 0, time.Now()); err != nil {
		return nil, id, fromWire(err, id)
	}
	header[wire.HeaderMsgID] = []string{rand.Text()}
	if size, limit := messageSize(header, body), c.nc.MaxPayload(); int64(size) > limit {
		return nil, id, fail(wire.CodeTooLarge, nats.ErrMaxPayload, "the job has %d bytes with its headers, more than the %d that the server takes", size, limit).of(id)
	}
	return &nats.Msg{Subject: c.subjects.Jobs(wire.Payer(c.tenant, j.Key), class), Header: header, Data: body}, id, nil
}

// newID is a UUIDv7, so IDs sort by time.
func newID() string {
	if id, err := uuid.NewV7(); err == nil {
		return id.String()
	}
	return rand.Text() // cannot happen: crypto/rand does not fail
}

func (j *Job) body() ([]byte, *Error) {
	if j.Body != nil || j.Request == nil {
		return j.Body, nil
	}
	b, err := json.Marshal(j.Request)
	if err != nil {
		return nil, fail(wire.CodeInvalidJSON, err, "Job.Request cannot be marshalled: %v", err)
	}
	return b, nil
}

// header is the job's options as the contract's headers.
func (j *Job) header(id string) (nats.Header, *Error) {
	h := make(nats.Header, 3+len(j.Labels))
	set := func(name, v string) {
		if v != "" {
			h[name] = []string{v}
		}
	}
	set(wire.HeaderJobID, id)
	set(wire.HeaderEndpoint, string(j.Endpoint))
	if j.Stream {
		set(wire.HeaderStream, "true")
	}
	if j.Pack {
		set(wire.HeaderPack, "true")
	}
	if e := setMoment(set, wire.HeaderDeadline, j.Deadline, j.Timeout); e != nil {
		return nil, e
	}
	if e := setMoment(set, wire.HeaderNotBefore, j.NotBefore, j.Delay); e != nil {
		return nil, e
	}
	set(wire.HeaderAffinity, j.Affinity)
	set(wire.HeaderRegion, j.Region)
	if j.MaxCost != nil {
		if *j.MaxCost < 0 {
			return nil, fail(wire.CodeInvalidHeader, nil, "Job.MaxCost is negative").param(wire.HeaderMaxCost)
		}
		set(wire.HeaderMaxCost, j.MaxCost.String())
	}
	set(wire.HeaderWebhook, j.Webhook)
	set(wire.HeaderBatch, j.Batch)
	set(wire.HeaderTrace, j.Traceparent)
	set(wire.HeaderState, j.Tracestate)
	for name, value := range maps.All(j.Labels) {
		if !wire.ValidName(name) {
			return nil, fail(wire.CodeInvalidHeader, nil, "the label name %.80q must match [A-Za-z0-9_-]{1,64}", name).param(wire.HeaderLabel + "<name>")
		}
		h[wire.HeaderLabel+name] = []string{value}
	}
	return h, nil
}

func (e *Error) param(name string) *Error {
	e.Param = name
	return e
}

// setMoment writes a time or a duration; both, or a negative duration, is a
// contradiction.
func setMoment(set func(name, v string), name string, at time.Time, in time.Duration) *Error {
	switch {
	case !at.IsZero() && in != 0:
		return fail(wire.CodeInvalidHeader, nil, "%s is given both as a time and as a duration", name).param(name)
	case in < 0:
		return fail(wire.CodeInvalidHeader, nil, "%s is a negative duration", name).param(name)
	case in > 0:
		set(name, in.String())
	case !at.IsZero():
		set(name, at.UTC().Format(time.RFC3339Nano))
	}
	return nil
}

// messageSize is what the server counts against its payload limit.
func messageSize(h nats.Header, body []byte) int {
	n := len("NATS/1.0\r\n") + len("\r\n") + len(body)
	for name, values := range h {
		for _, v := range values {
			n += len(name) + len(": ") + len(v) + len("\r\n")
		}
	}
	return n
}
