package wire

// Answer is the JSON reply to a status or cancel request.
type Answer struct {
	Job      string       `json:"job_id"`
	Tenant   string       `json:"tenant"`
	Key      string       `json:"key,omitempty"`    // name of the tenant's key; absent: its own
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

// ReplayRequest is the JSON of a replay request: what is stored of a job, from
// a place on. The zero value asks for all chunks from the first that is kept.
type ReplayRequest struct {
	Of      string `json:"of,omitempty"`      // ReplayChunks (the default) or ReplayRecords
	Attempt int    `json:"attempt,omitempty"` // chunks of this attempt from Index on, and of the attempts after it
	Index   int    `json:"index,omitempty"`
	After   uint64 `json:"after,omitempty"`  // Seq of an earlier answer, to go on behind it
	Most    int    `json:"most,omitempty"`   // messages of the answer; 0, or more than the broker gives at once: 256
	Packed  bool   `json:"packed,omitempty"` // chunk messages as they are stored, also with several events; otherwise one for each event
}

// What a replay can be of.
const (
	ReplayChunks  = "chunks"
	ReplayRecords = "records"
)

// ReplayEnd is the JSON of the last message of a replay, its end marker, which
// has the header Sluice-More. The messages before it are as they were stored:
// chunks have the header Sluice-Attempt, records have Sluice-Status.
type ReplayEnd struct {
	More     bool         `json:"more"`     // ask again with After to go on
	Messages int          `json:"messages"` // were sent before this one: fewer heard, some were lost
	Seq      uint64       `json:"seq"`      // stream sequence up to which was read
	Error    *AnswerError `json:"error,omitempty"`
}
