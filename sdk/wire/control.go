package wire

// Answer is the JSON reply to a status or cancel request.
type Answer struct {
	Job      string       `json:"job_id"`
	Tenant   string       `json:"tenant"`
	Status   Status       `json:"status,omitempty"` // empty when Error is set
	Reason   Reason       `json:"reason,omitempty"`
	Until    string       `json:"until,omitempty"` // RFC 3339, of a waiting job
	Class    Class        `json:"class,omitempty"`
	Route    string       `json:"route,omitempty"`
	Batch    string       `json:"batch_id,omitempty"`
	Attempts int          `json:"attempts"`
	Cost     *NanoUSD     `json:"cost_nano_usd,omitempty"` // of the ended attempts; absent: unknown
	Queued   string       `json:"submitted_at,omitempty"`  // RFC 3339
	History  []Step       `json:"history,omitempty"`       // the records so far, oldest first
	Error    *AnswerError `json:"error,omitempty"`
}

// AnswerError says why a request could not be carried out.
type AnswerError struct {
	Code    Code   `json:"code"`
	Message string `json:"message"`
}

// Step is one record of a job, for people.
type Step struct {
	Seq      uint64    `json:"seq"` // ledger sequence
	At       string    `json:"at"`  // RFC 3339
	Status   Status    `json:"status"`
	Reason   Reason    `json:"reason,omitempty"`
	Until    string    `json:"until,omitempty"`
	Attempt  int       `json:"attempt,omitempty"`
	Pool     string    `json:"pool,omitempty"`
	Model    string    `json:"model,omitempty"`
	Outcome  Status    `json:"outcome,omitempty"` // of an ended attempt
	Error    Code      `json:"error_code,omitempty"`
	Usage    *Usage    `json:"usage,omitempty"`
	Cost     *NanoUSD  `json:"cost_nano_usd,omitempty"`
	TTFTMS   int64     `json:"ttft_ms,omitempty"`
	Latency  int64     `json:"latency_ms,omitempty"`
	Worker   string    `json:"worker,omitempty"`
	Decision *Decision `json:"decision,omitempty"`
}
