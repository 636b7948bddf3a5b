package wire

// Headers of the public contract. Their spelling is fixed: NATS headers are
// case sensitive.
const (
	HeaderJobID     = "Sluice-Job-Id"
	HeaderEndpoint  = "Sluice-Endpoint"
	HeaderStream    = "Sluice-Stream"
	HeaderPack      = "Sluice-Pack" // chunk messages may carry several events
	HeaderDeadline  = "Sluice-Deadline"
	HeaderNotBefore = "Sluice-Not-Before"
	HeaderAffinity  = "Sluice-Affinity"
	HeaderRegion    = "Sluice-Region"
	HeaderMaxCost   = "Sluice-Max-Cost"
	HeaderWebhook   = "Sluice-Webhook"
	HeaderBatch     = "Sluice-Batch"
	HeaderPlacement = "Sluice-Placement"
	HeaderLabel     = "Sluice-Label-" // prefix of free labels
	HeaderTrace     = "traceparent"
	HeaderState     = "tracestate"

	HeaderStatus           = "Sluice-Status"
	HeaderReason           = "Sluice-Reason"
	HeaderUntil            = "Sluice-Until" // RFC 3339 with nanoseconds
	HeaderAttempt          = "Sluice-Attempt"
	HeaderPool             = "Sluice-Pool"
	HeaderProvider         = "Sluice-Provider"
	HeaderModel            = "Sluice-Model"
	HeaderErrorCode        = "Sluice-Error-Code"
	HeaderCost             = "Sluice-Cost-Nano-Usd" // absent: unknown
	HeaderInputTokens      = "Sluice-Input-Tokens"
	HeaderCacheReadTokens  = "Sluice-Cache-Read-Tokens"
	HeaderCacheWriteTokens = "Sluice-Cache-Write-Tokens"
	HeaderOutputTokens     = "Sluice-Output-Tokens"
	HeaderReasoningTokens  = "Sluice-Reasoning-Tokens"

	HeaderIndex = "Sluice-Index"
	HeaderEnd   = "Sluice-End"
	HeaderSizes = "Sluice-Sizes" // bytes of each event of a chunk message, with spaces between; absent: it is one event
	HeaderMore  = "Sluice-More"  // on the end marker of a replay
)

// Headers between Sluice's own parts. ParseJob never reads them (I2); they
// count only on subjects that tenants cannot publish to.
const (
	HeaderEntry      = "Sluice-Entry"      // JSON of [Entry], on records
	HeaderAssignment = "Sluice-Assignment" // JSON of [Assignment], on work, requeue and dead
	HeaderHistory    = "Sluice-History"    // JSON of [Answer], on dead letters
)

// Headers of an administrator's request to explain a job: who would submit it,
// how urgent it would be, and how long it would have waited (a duration).
const (
	HeaderTenant = "Sluice-Tenant"
	HeaderClass  = "Sluice-Class"
	HeaderWaited = "Sluice-Waited"
)

// JetStream's own headers that Sluice's parts set.
const (
	HeaderMsgID        = "Nats-Msg-Id"
	HeaderTTL          = "Nats-TTL" // how long a stream keeps the message
	HeaderExpectedLast = "Nats-Expected-Last-Subject-Sequence"
)

// Class says how urgent a job is.
type Class string

// The three classes.
const (
	Interactive Class = "interactive"
	Standard    Class = "standard"
	Batch       Class = "batch"
)

// Classes lists every class, the most urgent first.
func Classes() []Class { return []Class{Interactive, Standard, Batch} }

// Valid reports whether c is one of the three classes.
func (c Class) Valid() bool { return c == Interactive || c == Standard || c == Batch }

// Endpoint is the provider API that a job's body is written for.
type Endpoint string

// The endpoints a job may name.
const (
	ChatCompletions Endpoint = "/v1/chat/completions"
	Responses       Endpoint = "/v1/responses"
	Embeddings      Endpoint = "/v1/embeddings"
	Completions     Endpoint = "/v1/completions"
	Messages        Endpoint = "/v1/messages"
)

// Valid reports whether e is one of the endpoints of the contract.
func (e Endpoint) Valid() bool {
	switch e {
	case ChatCompletions, Responses, Embeddings, Completions, Messages:
		return true
	}
	return false
}

// Status is a job's state, as a record says it.
type Status string

// Queued is the state of a job without a record; Running and Waiting are
// passing; the other four are terminal.
const (
	Queued    Status = "queued"
	Running   Status = "running"
	Waiting   Status = "waiting"
	Succeeded Status = "succeeded"
	Failed    Status = "failed"
	Cancelled Status = "cancelled"
	Expired   Status = "expired"
	// Interrupted is the status of an attempt whose worker vanished. It is
	// never the status of a job.
	Interrupted Status = "interrupted"
)

// Terminal reports whether no record may follow one with this status, but for
// that of a dead job which is requeued.
func (s Status) Terminal() bool {
	return s == Succeeded || s == Failed || s == Cancelled || s == Expired
}

// Reason says why a job waits.
type Reason string

// Reasons of a waiting record. ReasonCancel marks a running record whose
// worker has been asked to stop.
const (
	ReasonRetry  Reason = "retry"
	ReasonBudget Reason = "budget"
	ReasonLimit  Reason = "limit"
	ReasonDelay  Reason = "delay"
	ReasonCancel Reason = "cancel"
	// ReasonRequeue: an administrator has the job run again. It is the only
	// record that follows a terminal one.
	ReasonRequeue Reason = "requeue"
	// ReasonRecall: a router took the job back from a pool's queue, where no
	// attempt had begun.
	ReasonRecall Reason = "recall"
)
