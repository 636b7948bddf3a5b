package wire

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"
	"unsafe"
)

// Attempt is one call to a provider: at its claim the fields up to Price are
// set, at its end all of them.
type Attempt struct {
	N        int    `json:"n"` // from 1
	Pool     string `json:"p"`
	Provider string `json:"pr"`
	Model    string `json:"m"` // the upstream model
	Region   string `json:"rg,omitempty"`
	Strategy string `json:"sg,omitempty"`
	Price    *Price `json:"$,omitempty"` // nil: unknown
	QueueMS  int64  `json:"q"`           // from submission (or requeue) to the claim

	Status    Status      `json:"s,omitempty"` // succeeded, failed, cancelled, expired or interrupted
	ErrorCode Code        `json:"ec,omitempty"`
	HTTP      int         `json:"h,omitempty"` // provider's HTTP status, 0: none
	Usage     Usage       `json:"u"`
	Source    UsageSource `json:"us,omitempty"`
	Cost      *NanoUSD    `json:"c,omitempty"` // nil: unknown
	TTFTMS    int64       `json:"tf,omitempty"`
	LatencyMS int64       `json:"l,omitempty"`
	// What the provider said of being called: after how long again, and what
	// is left of its limits.
	RetryAfterMS int64   `json:"ra,omitempty"`
	Limits       *Limits `json:"rl,omitempty"` // nil: nothing
	// Doubtful says that the pool failed other jobs too when the router chose
	// it: a failure there says more of the pool than of this job.
	Doubtful bool `json:"db,omitempty"`

	// What the routers ask of the worker: the attempts after which the job is
	// dead (0: as the worker is configured), and the most output tokens (0: as
	// the body says).
	MaxAttempts int   `json:"ma,omitempty"`
	MaxTokens   int64 `json:"mx,omitempty"`

	// Hold is what was set aside for the attempt; nil: no budget binds it.
	Hold *Hold `json:"ho,omitempty"`

	// Folded is the JSON of a Decision that has not been asked for: see DecodeWork.
	Folded   string    `json:"-"`
	Decision *Decision `json:"d,omitempty"`
}

// Unfold reads the Decision of an attempt that DecodeWork has left it folded
// in. Of any other it does nothing.
func (a *Attempt) Unfold() error {
	if a.Folded == "" {
		return nil
	}
	d := new(Decision)
	s := scanner{text: a.Folded}
	if err := s.decision(d); err != nil || s.end() != nil {
		*d = Decision{}
		if err := json.Unmarshal([]byte(a.Folded), d); err != nil {
			return fmt.Errorf("attempt with a bad decision: %w", err)
		}
	}
	a.Decision, a.Folded = d, ""
	return nil
}

// Hold is money, tokens or a job set aside in every budget that binds an
// attempt.
type Hold struct {
	Seq uint64 `json:"s"`  // of the message that took it, in the stream of holds
	At  int64  `json:"at"` // Unix nanoseconds: the attempt counts in the windows of this moment
	// The worst case that was set aside: what counts where nobody knows what the
	// attempt has cost. 0: not known, or nothing.
	USD    NanoUSD `json:"$,omitempty"`
	Tokens int64   `json:"n,omitempty"`
}

// Limits are a provider's own rate limits, as an answer of it told them.
type Limits struct {
	Requests Limit `json:"r"`
	Tokens   Limit `json:"t"`
}

// Limit is one of them. Its zero value says nothing.
type Limit struct {
	Limit   int64 `json:"l"`           // in the provider's own period
	Left    int64 `json:"n"`           // of it
	ResetMS int64 `json:"r,omitempty"` // until some or all of it is free again
}

// Settle sets usage, its source and the cost that follows from the price.
func (a *Attempt) Settle(u Usage, src UsageSource) {
	a.Usage, a.Source, a.Cost = u, src, nil
	if a.Price != nil {
		c := a.Price.Cost(u)
		a.Cost = &c
	}
}

// NotTaken reports whether the provider turned the attempt away without
// looking at the job: it called too often, is overloaded or cannot be reached.
// That says nothing of the job, which may wait for better times.
func (a *Attempt) NotTaken() bool {
	switch a.ErrorCode {
	case CodeRateLimited:
		return true
	case CodeConnection:
		return a.HTTP == 0
	}
	return a.HTTP == 503 || a.HTTP == 529
}

// Excused reports whether a failure of the attempt does not count against the
// job: the provider did not take it, or fails others just as well. What only a
// change of the configuration mends is not excused, so that somebody hears of it.
func (a *Attempt) Excused() bool {
	return a.NotTaken() || a.Doubtful && a.ErrorCode != CodeProviderAuth && a.ErrorCode != CodeModelNotFound
}

// Decision is what the router chose and why: every candidate with its score,
// or the reason it was excluded.
type Decision struct {
	Route      string      `json:"r"`
	Strategy   string      `json:"sg"`
	Pool       string      `json:"p,omitempty"` // empty: none could be chosen
	Model      string      `json:"m,omitempty"`
	Candidates []Candidate `json:"c"`
	Sequence   uint64      `json:"n,omitempty"` // what the picker turned on
	// Rules are the names of the rules that matched, Failed of those that
	// could not be evaluated and so did not.
	Rules  []string `json:"ru,omitempty"`
	Failed []string `json:"rf,omitempty"`
	// Experiment, or rollout, that the route is under, and the job's variant.
	Experiment string `json:"ex,omitempty"`
	Variant    string `json:"va,omitempty"`
	// Fallback is the step of the fallback chain that was taken, from 1; 0:
	// none. Left is how many more steps lead to an attempt, and Next says that
	// the first of them may do so at once.
	Fallback int  `json:"fb,omitempty"`
	Left     int  `json:"fl,omitempty"`
	Next     bool `json:"fx,omitempty"`
	// Seen marks where what the decision saw is kept; empty: nowhere.
	Seen string `json:"sn,omitempty"`
}

// Candidate is a (pool, upstream model) pair as a decision saw it.
type Candidate struct {
	Pool     string  `json:"p"`
	Model    string  `json:"m"`
	Weight   int     `json:"w"`
	Depth    int     `json:"d"`           // queued and running at the pool
	Score    float64 `json:"s"`           // lower is better; meaning depends on the strategy
	Excluded string  `json:"x,omitempty"` // the filter's reason; empty: eligible
}

// Progress is what earlier attempts of a job leave for the next.
type Progress struct {
	Attempts int      `json:"n"`            // ended so far
	Spent    NanoUSD  `json:"$"`            // sum of their known costs
	Unknown  bool     `json:"u,omitempty"`  // a cost among them is not known
	Cuts     int      `json:"k,omitempty"`  // attempts among them that were interrupted
	Held     int      `json:"h,omitempty"`  // attempts among them that failed and are excused: see Attempt.Excused
	Tried    []string `json:"t,omitempty"`  // pools that failed and should not be tried first
	Recalls  int      `json:"rc,omitempty"` // how often routers took it back from a pool's queue
	Expect   uint64   `json:"x"`            // ledger sequence of the job's last record, 0: none
	ReadyAt  int64    `json:"ra,omitempty"` // Unix nanoseconds since when the job could run
	Steps    int      `json:"f,omitempty"`  // of the fallback chain that failures have used up
	Told     int64    `json:"td,omitempty"` // Unix nanoseconds: until when the last record says that it waits for a budget
	// Misfits are the candidates (CandidateKey) that the request does not fit:
	// they refused it, the last one with the code Misfit.
	Misfits []string `json:"mf,omitempty"`
	Misfit  Code     `json:"mc,omitempty"`
}

// CandidateKey names a candidate in Progress.Misfits. Pools have no slash in
// their names, so it is unique.
func CandidateKey(pool, model string) string { return pool + "/" + model }

// Failures are the attempts that count against the job itself.
func (p *Progress) Failures() int { return p.Attempts - p.Cuts - p.Held }

// Add counts an ended attempt.
func (p *Progress) Add(a *Attempt) {
	p.Attempts = max(p.Attempts, a.N)
	if a.Status == Interrupted {
		p.Cuts++
	}
	if a.Status == Failed && a.Excused() {
		p.Held++
	}
	if a.Cost != nil {
		p.Spent += *a.Cost
	} else {
		p.Unknown = true
	}
}

// Assignment travels in one header beside a job's body: on the work queues
// with Attempt set, on requeue subjects and dead letters without.
type Assignment struct {
	Meta     Meta     `json:"j"`
	Progress Progress `json:"p"`
	Attempt  *Attempt `json:"a,omitempty"`
}

// Record is one step of a job's life.
type Record struct {
	Status Status
	Reason Reason
	Until  time.Time // of a waiting record: when the job goes on at the latest known time
	Entry  Entry
	Body   []byte // of a terminal record: the answer, or an error object
}

// Entry is the part of a record that Sluice folds its state from.
type Entry struct {
	Meta     Meta     `json:"j"`
	Progress Progress `json:"p"`           // including an attempt that this record ends
	Attempt  *Attempt `json:"a,omitempty"` // claimed (running), or ended by this record
	Owner    string   `json:"o,omitempty"` // of a claim: the worker instance
	WorkSeq  uint64   `json:"w,omitempty"` // of a claim: the work message it was made for
	Error    Code     `json:"e,omitempty"` // of a terminal record
	// Decision that led to no attempt, of a record that follows from it: the job
	// waits, or has ended; nil: none, or Attempt has it.
	Decision *Decision `json:"d,omitempty"`
}

// EndsAttempt reports whether the record is the end of an attempt, and so a
// row of the attempts table.
func (r *Record) EndsAttempt() bool {
	return r.Entry.Attempt != nil && r.Entry.Attempt.Status != ""
}

// entrySize is room for an ordinary entry.
const entrySize = 1024

// Encode is the record as NATS headers; the body goes as it is.
func (r *Record) Encode() map[string][]string {
	entry := appendEntry(make([]byte, 0, entrySize), &r.Entry)
	h := headerWriter{h: make(map[string][]string, headerRoom), values: make([]string, 0, headerRoom)}
	set := h.set
	set(HeaderStatus, string(r.Status))
	set(HeaderEntry, text(entry))
	set(HeaderReason, string(r.Reason))
	if !r.Until.IsZero() {
		set(HeaderUntil, r.Until.UTC().Format(time.RFC3339Nano))
	}
	set(HeaderErrorCode, string(r.Entry.Error))
	if a := r.Entry.Attempt; a != nil {
		set(HeaderAttempt, strconv.Itoa(a.N))
		set(HeaderPool, a.Pool)
		set(HeaderProvider, a.Provider)
		set(HeaderModel, a.Model)
		if r.EndsAttempt() {
			a.endHeaders(set)
		}
	}
	return h.h
}

// headerRoom is for the headers of an ordinary record, and one more that its
// writer adds.
const headerRoom = 14

// headerWriter collects single-valued headers in one allocation.
type headerWriter struct {
	h      map[string][]string
	values []string
}

func (w *headerWriter) set(name, v string) {
	if v == "" {
		return
	}
	w.values = append(w.values, v)
	n := len(w.values)
	w.h[name] = w.values[n-1 : n : n]
}

func (a *Attempt) endHeaders(set func(name, v string)) {
	set(HeaderErrorCode, string(a.ErrorCode))
	if a.Cost != nil {
		set(HeaderCost, strconv.FormatInt(int64(*a.Cost), 10))
	}
	set(HeaderInputTokens, strconv.FormatInt(a.Usage.Input, 10))
	set(HeaderOutputTokens, strconv.FormatInt(a.Usage.Output, 10))
	for _, c := range [...]struct {
		name string
		n    int64
	}{{HeaderCacheReadTokens, a.Usage.CacheRead}, {HeaderCacheWriteTokens, a.Usage.CacheWrite}, {HeaderReasoningTokens, a.Usage.Reasoning}} {
		if c.n != 0 {
			set(c.name, strconv.FormatInt(c.n, 10))
		}
	}
}

// DecodeRecord reads what Encode made (I4). It does not copy body.
func DecodeRecord(header map[string][]string, body []byte) (Record, error) {
	get := func(name string) string {
		if v := header[name]; len(v) > 0 {
			return v[0]
		}
		return ""
	}
	r := Record{Status: Status(get(HeaderStatus)), Reason: Reason(get(HeaderReason)), Body: body}
	if r.Status != Running && r.Status != Waiting && !r.Status.Terminal() {
		return r, fmt.Errorf("record with unknown status %.20q", r.Status)
	}
	if u := get(HeaderUntil); u != "" {
		t, err := time.Parse(time.RFC3339Nano, u)
		if err != nil {
			return r, fmt.Errorf("record with bad %s: %w", HeaderUntil, err)
		}
		r.Until = t
	}
	if err := decodeEntry(get(HeaderEntry), &r.Entry); err != nil {
		return r, fmt.Errorf("record with bad %s: %w", HeaderEntry, err)
	}
	return r, nil
}

// EncodeAssignment is the assignment as the headers of a queue message.
func EncodeAssignment(a *Assignment) map[string][]string {
	b := appendAssignment(make([]byte, 0, entrySize), a)
	return map[string][]string{HeaderAssignment: {text(b)}}
}

// text is a string of what nobody will change any more.
func text(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// DecodeAssignment reads what EncodeAssignment made.
func DecodeAssignment(header map[string][]string) (Assignment, error) {
	return assignment(header, decodeAssignment)
}

// DecodeWork is DecodeAssignment for a worker, which hands the decision on as it
// is and seldom looks into it: it is left folded, for [Attempt.Unfold].
func DecodeWork(header map[string][]string) (Assignment, error) {
	return assignment(header, decodeWork)
}

func assignment(header map[string][]string, decode func(string, *Assignment) error) (Assignment, error) {
	var a Assignment
	v := header[HeaderAssignment]
	if len(v) != 1 {
		return a, fmt.Errorf("queue message without a %s header", HeaderAssignment)
	}
	if err := decode(v[0], &a); err != nil {
		return a, fmt.Errorf("queue message with bad %s: %w", HeaderAssignment, err)
	}
	return a, nil
}
