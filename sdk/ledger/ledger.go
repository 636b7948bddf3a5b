package ledger

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/sluicehq/sluice/sdk/wire"
)

// Ledger is a handle on the ledger stream.
type Ledger struct {
	js       jetstream.JetStream
	pub      *Publisher
	subjects wire.Subjects
	stream   string
	timers   sync.Pool // of those that have been stopped
	echo     *Echo     // that is told; nil: none
}

// New makes a Ledger; it does no I/O.
func New(js jetstream.JetStream, subjects wire.Subjects) *Ledger {
	return &Ledger{js: js, pub: NewPublisher(js.Conn()), subjects: subjects, stream: subjects.Stream(wire.StreamLedger)}
}

// Tell has an echo hear of what is appended from now on. It returns l.
func (l *Ledger) Tell(e *Echo) *Ledger {
	l.echo = e
	return l
}

// Stored is a record as the stream holds it.
type Stored struct {
	wire.Record
	Seq    uint64
	At     time.Time // by the server's clock
	header nats.Header
}

// Conflict is the error of an Append that lost: Last is the record that
// stands there, nil if the subject is empty.
type Conflict struct{ Last *Stored }

// Error implements error.
func (c *Conflict) Error() string {
	if c.Last == nil {
		return "ledger: the job has no record, another was expected"
	}
	return fmt.Sprintf("ledger: the job's last record is %s at %d, another was expected", c.Last.Status, c.Last.Seq)
}

// appendTries bounds how often an Append with a lost acknowledgement is
// settled and sent again before it gives up with the context's error or the
// last one seen.
const appendTries = 20

// ackWait is how long an acknowledgement is waited for before the subject is
// read instead.
const ackWait = 5 * time.Second

// Append writes the record if the last message on the job's subject is expect
// (0: none) and returns its sequence. If something else stands there, the
// error is a *Conflict. Any other error means that the record may or may not
// have been written.
func (l *Ledger) Append(ctx context.Context, rec *wire.Record, expect uint64) (uint64, error) {
	h := rec.Encode()
	h[wire.HeaderExpectedLast] = []string{strconv.FormatUint(expect, 10)}
	m := &rec.Entry.Meta
	subject := l.subjects.RecordsOf(m)
	var last error
	for try := range appendTries {
		seq, err := l.Publish(ctx, &nats.Msg{Subject: l.subjects.LedgerOf(m), Header: h, Data: rec.Body})
		if err == nil {
			l.echo.tell(seq, time.Now(), rec, h)
			return seq, nil
		}
		last = err
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		standing, err := l.readLast(ctx, subject)
		switch {
		case err != nil:
			last = err
		case standing != nil && same(standing.header, h): // I2
			l.echo.tell(standing.Seq, standing.At, rec, h)
			return standing.Seq, nil
		case standing == nil && expect != 0, standing != nil && standing.Seq != expect:
			return 0, &Conflict{Last: standing}
		}
		if err := Pause(ctx, time.Duration(try)*100*time.Millisecond); err != nil {
			return 0, err
		}
	}
	return 0, fmt.Errorf("ledger: record of job %s: %w", rec.Entry.Meta.ID, last)
}

// Publish sends m, which must not be used again, and returns its sequence once
// the stream that takes its subject, whichever that is, has stored it. After an
// error, five seconds without an answer among them, it may have been stored all
// the same.
func (l *Ledger) Publish(ctx context.Context, m *nats.Msg) (uint64, error) {
	f, err := l.pub.Publish(m)
	if err != nil {
		return 0, err
	}
	timer, ok := l.timers.Get().(*time.Timer)
	if ok {
		timer.Reset(ackWait)
	} else {
		timer = time.NewTimer(ackWait)
	}
	defer func() {
		timer.Stop()
		l.timers.Put(timer)
	}()
	select {
	case <-f.Done():
		return f.Result()
	case <-timer.C:
		f.Forget()
		return 0, errors.New("no acknowledgement from the stream")
	case <-ctx.Done():
		f.Forget()
		return 0, context.Cause(ctx)
	}
}

// same reports whether a stored message is the one we sent.
func same(stored nats.Header, sent map[string][]string) bool {
	for _, name := range [...]string{wire.HeaderStatus, wire.HeaderReason, wire.HeaderEntry} {
		if !slices.Equal(stored[name], sent[name]) {
			return false
		}
	}
	return true
}

// Last is the job's last record, nil if it has none. It asks the stream's
// leader, so it sees every acknowledged write.
func (l *Ledger) Last(ctx context.Context, tenant, job string) (*Stored, error) {
	return l.readLast(ctx, l.subjects.Records(tenant, job))
}

// msgGetResponse is the server's reply to STREAM.MSG.GET.
type msgGetResponse struct {
	Error *struct {
		Code        int    `json:"code"`
		Description string `json:"description"`
	} `json:"error"`
	Message *struct {
		Seq  uint64    `json:"seq"`
		Hdrs string    `json:"hdrs"`
		Data []byte    `json:"data"`
		Time time.Time `json:"time"`
	} `json:"message"`
}

// readLast asks the leader: a direct get may be answered by a replica that
// lags, which would be wrong after a refused write.
func (l *Ledger) readLast(ctx context.Context, subject string) (*Stored, error) {
	ctx, cancel := context.WithTimeout(ctx, ackWait)
	defer cancel()
	req, err := json.Marshal(map[string]string{"last_by_subj": subject})
	if err != nil {
		return nil, err
	}
	msg, err := l.js.Conn().RequestWithContext(ctx, "$JS.API.STREAM.MSG.GET."+l.stream, req)
	if err != nil {
		return nil, fmt.Errorf("ledger: read the last record: %w", err)
	}
	var resp msgGetResponse
	if err := json.Unmarshal(msg.Data, &resp); err != nil {
		return nil, fmt.Errorf("ledger: read the last record: %w", err)
	}
	if resp.Error != nil {
		if resp.Error.Code == 404 {
			return nil, nil
		}
		return nil, fmt.Errorf("ledger: read the last record: %s", resp.Error.Description)
	}
	if resp.Message == nil {
		return nil, errors.New("ledger: read the last record: empty reply")
	}
	raw, err := base64.StdEncoding.DecodeString(resp.Message.Hdrs)
	if err != nil {
		return nil, fmt.Errorf("ledger: read the last record: %w", err)
	}
	h, err := nats.DecodeHeadersMsg(raw)
	if err != nil {
		return nil, fmt.Errorf("ledger: read the last record: %w", err)
	}
	return newStored(h, resp.Message.Data, resp.Message.Seq, resp.Message.Time)
}

func newStored(h nats.Header, body []byte, seq uint64, at time.Time) (*Stored, error) {
	rec, err := wire.DecodeRecord(h, body)
	if err != nil {
		return nil, fmt.Errorf("ledger: sequence %d: %w", seq, err)
	}
	return &Stored{Record: rec, Seq: seq, At: at, header: h}, nil
}

// maxHistory bounds how many records of a job History returns.
const maxHistory = 1000

// History is the job's records, oldest first, at most 1,000.
func (l *Ledger) History(ctx context.Context, tenant, job string) ([]*Stored, error) {
	stream, err := l.js.Stream(ctx, l.stream)
	if err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	subject := l.subjects.Records(tenant, job)
	var out []*Stored
	for seq := uint64(1); len(out) < maxHistory; {
		m, err := stream.GetMsg(ctx, seq, jetstream.WithGetMsgSubject(subject))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("ledger: history of job %s: %w", job, err)
		}
		s, err := newStored(m.Header, m.Data, m.Sequence, m.Time)
		if err != nil {
			return nil, err
		}
		out = append(out, s)
		seq = m.Sequence + 1
	}
	return out, nil
}

// Describe turns a job's records into what people are shown.
func Describe(tenant, job string, records []*Stored) *wire.Answer {
	a := &wire.Answer{Job: job, Tenant: tenant, Status: wire.Queued}
	for _, s := range records {
		a.Status, a.Reason, a.Until = s.Status, s.Reason, stamp(s.Until)
		fillMeta(a, &s.Entry.Meta)
		p := &s.Entry.Progress
		a.Attempts = p.Attempts
		if a.Cost = nil; !p.Unknown {
			spent := p.Spent
			a.Cost = &spent
		}
		a.History = append(a.History, step(s))
	}
	return a
}

func fillMeta(a *wire.Answer, m *wire.Meta) {
	a.Key, a.Class, a.Route, a.Batch = m.Key, m.Class, m.Route, m.Batch
	a.Queued = stamp(time.Unix(0, m.SubmittedAt))
}

// DescribeQueued is the answer for a job that has no record yet.
func DescribeQueued(m *wire.Meta) *wire.Answer {
	a := &wire.Answer{Job: m.ID, Tenant: m.Tenant, Status: wire.Queued}
	fillMeta(a, m)
	return a
}

func step(s *Stored) wire.Step {
	st := wire.Step{Seq: s.Seq, At: stamp(s.At), Status: s.Status, Reason: s.Reason, Until: stamp(s.Until),
		Error: s.Entry.Error, Worker: s.Entry.Owner, Decision: s.Entry.Decision}
	if at := s.Entry.Attempt; at != nil {
		st.Attempt, st.Pool, st.Model, st.Outcome, st.Decision = at.N, at.Pool, at.Model, at.Status, cmp.Or(at.Decision, s.Entry.Decision)
		if s.EndsAttempt() {
			u := at.Usage
			st.Usage, st.Cost, st.TTFTMS, st.Latency = &u, at.Cost, at.TTFTMS, at.LatencyMS
			if at.ErrorCode != "" {
				st.Error = at.ErrorCode
			}
		}
	}
	return st
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// Pause waits for d, or returns the cause of ctx ending first; of a d that is
// not above 0, the cause if it has ended.
func Pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return context.Cause(ctx)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// AskCancel asks whoever runs a job to stop it: last is its claim. The record
// says so, for a worker that does not hear it. A *Conflict says that the job has
// gone on.
func (l *Ledger) AskCancel(ctx context.Context, last *Stored) error {
	if last.Reason != wire.ReasonCancel {
		rec := last.Record
		rec.Reason = wire.ReasonCancel
		if _, err := l.Append(ctx, &rec, last.Seq); err != nil {
			return err
		}
	}
	return l.js.Conn().Publish(l.subjects.Abort(last.Entry.Meta.Tenant, last.Entry.Meta.ID), nil)
}

// Wipe removes the job's pending schedule, if it has one. It is only
// housekeeping: a schedule that fires late finds the job finished.
func (l *Ledger) Wipe(ctx context.Context, tenant, job string) error {
	s, err := l.js.Stream(ctx, l.subjects.Stream(wire.StreamSched))
	if err != nil {
		return err
	}
	return s.Purge(ctx, jetstream.WithPurgeSubject(l.subjects.Sched(tenant, job)))
}

// Requeue brings a job back to the routers at the given time, at once if that
// is not in the future. It returns when the message is durable. Doing it twice
// is harmless: the second copy's claim is refused.
func (l *Ledger) Requeue(ctx context.Context, a *wire.Assignment, body []byte, at, now time.Time) error {
	b := wire.Assignment{Meta: a.Meta, Progress: a.Progress}
	b.Progress.ReadyAt = max(at.UnixNano(), now.UnixNano())
	h := wire.EncodeAssignment(&b)
	target := l.subjects.Requeue(a.Meta.Tenant, a.Meta.Class)
	m := &nats.Msg{Subject: target, Header: h, Data: body}
	if at.After(now) {
		m.Subject = l.subjects.Sched(a.Meta.Tenant, a.Meta.ID)
		// With nanoseconds: the library's option truncates to seconds and
		// would fire early.
		h["Nats-Schedule"] = []string{"@at " + at.UTC().Format(time.RFC3339Nano)}
		h["Nats-Schedule-Target"] = []string{target}
	}
	if _, err := l.js.PublishMsg(ctx, m); err != nil {
		return fmt.Errorf("requeue job %s: %w", a.Meta.ID, err)
	}
	return nil
}

// RequeueWaiting is Requeue for the job of a waiting record that stands at seq,
// at the time that it says.
func (l *Ledger) RequeueWaiting(ctx context.Context, rec *wire.Record, seq uint64, body []byte) error {
	a := &wire.Assignment{Meta: rec.Entry.Meta, Progress: rec.Entry.Progress}
	a.Progress.Expect = seq
	return l.Requeue(ctx, a, body, rec.Until, time.Now())
}

// Bury stores a dead letter: the job as the record that ends it says, and its
// history, for dead list, show, edit and requeue. A repeat within the stream's
// duplicate window is filtered.
func (l *Ledger) Bury(ctx context.Context, rec *wire.Record, body []byte) error {
	m := &rec.Entry.Meta
	h := wire.EncodeAssignment(&wire.Assignment{Meta: *m, Progress: rec.Entry.Progress, Attempt: rec.Entry.Attempt})
	records, err := l.History(ctx, m.Tenant, m.ID)
	if err != nil {
		return err
	}
	if kept, err := history(append(records, &Stored{Record: *rec, At: time.Now()})); err == nil {
		h[wire.HeaderHistory] = []string{kept}
	}
	h[wire.HeaderMsgID] = []string{strings.Join([]string{m.Tenant, m.ID, strconv.FormatUint(m.Seq, 10), strconv.Itoa(rec.Entry.Progress.Attempts)}, ".")}
	if _, err := l.js.PublishMsg(ctx, &nats.Msg{Subject: l.subjects.Dead(m.Tenant, m.ID), Header: h, Data: body}); err != nil {
		return fmt.Errorf("bury job %s: %w", m.ID, err)
	}
	return nil
}

// buriedMost bounds the history in a dead letter: beside the largest body it
// must fit into a message.
const buriedMost = 24 << 10

// history is the JSON of an answer with the records, without what decisions saw
// and then without the oldest if it gets too long.
func history(records []*Stored) (string, error) {
	m := &records[len(records)-1].Entry.Meta
	for full := true; ; full = false {
		a := Describe(m.Tenant, m.ID, records)
		for i := range a.History {
			if !full {
				a.History[i].Decision = nil
			}
		}
		b, err := json.Marshal(a)
		if err != nil || len(b) <= buriedMost {
			return string(b), err
		}
		if !full {
			records = records[(len(records)+1)/2:]
		}
		if len(records) == 0 {
			return "", errors.New("ledger: one record is too long to keep")
		}
	}
}

// BuriedHistory is the history that a dead letter was stored with, nil if it
// has none.
func BuriedHistory(h nats.Header) *wire.Answer {
	var a wire.Answer
	if json.Unmarshal([]byte(h.Get(wire.HeaderHistory)), &a) != nil {
		return nil
	}
	return &a
}
