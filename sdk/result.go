package sdk

import (
	"encoding/json"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
)

// Status is a job's state.
type Status = wire.Status

// The terminal states.
const (
	Succeeded = wire.Succeeded
	Failed    = wire.Failed
	Cancelled = wire.Cancelled
	Expired   = wire.Expired
)

// Usage counts tokens in disjoint buckets.
type Usage = wire.Usage

// Result is how a job ended: its terminal record.
type Result struct {
	Job    string
	Tenant string
	Status Status // Succeeded, Failed, Cancelled or Expired

	// Err is nil exactly when Status is Succeeded.
	Err *Error

	// Body is the answer in the shape of the endpoint asked for, or an
	// OpenAI-shaped error object.
	Body []byte

	Attempts int // calls to providers, 0 if none was made

	// Pool, Provider, Model (the upstream one) and Usage are of the last
	// attempt; empty if the job's end was not the end of an attempt.
	Pool, Provider, Model string
	Usage                 Usage

	// Cost is the sum over all attempts whose cost is known. CostKnown is
	// false when the cost of one of them is not, so Cost is then a lower bound.
	Cost      NanoUSD
	CostKnown bool

	Seq        uint64    // of the record in the ledger
	FinishedAt time.Time // by the server's clock

	// Record is the terminal record in full.
	Record wire.Record
}

func newResult(h *Handle, s stored) *Result {
	p := s.Entry.Progress
	r := &Result{
		Job: h.id, Tenant: h.c.tenant, Status: s.Status, Body: s.Body,
		Attempts: p.Attempts, Cost: p.Spent, CostKnown: !p.Unknown,
		Seq: s.seq, FinishedAt: s.at, Record: s.Record,
	}
	if a := s.Entry.Attempt; a != nil {
		r.Pool, r.Provider, r.Model, r.Usage = a.Pool, a.Provider, a.Model, a.Usage
	}
	if s.Status != Succeeded {
		r.Err = endError(h.id, s)
	}
	return r
}

// endError says why a job did not succeed.
func endError(job string, s stored) *Error {
	code := s.Entry.Error
	if code == "" {
		switch s.Status {
		case Cancelled:
			code = wire.CodeCancelled
		case Expired:
			code = wire.CodeDeadline
		}
	}
	return parseErrorBody(code, s.Body, job)
}

// Decode unmarshals the answer's JSON into v, such as a provider library's
// response type. For a job that did not succeed it returns Err.
func (r *Result) Decode(v any) error {
	if r.Err != nil {
		return r.Err
	}
	if err := json.Unmarshal(r.Body, v); err != nil {
		return fail(wire.CodeInternal, err, "the answer does not fit: %v", err).of(r.Job)
	}
	return nil
}

// Text is the answer's text: the first choice of a chat or text completion,
// or all text blocks of a response or message. It is "" when the answer has no
// text, or the job did not succeed.
func (r *Result) Text() string {
	if r.Err != nil {
		return ""
	}
	return answerText(r.Body)
}
