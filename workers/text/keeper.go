package text

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"maps"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/sdk/wire"
)

// Policy is what is kept of a tenant's jobs.
type Policy struct {
	Keep     time.Duration // how long; at least a second
	Share    float64       // of the jobs, 0 to 1
	MaxBytes int           // of a prompt, and of an answer; up to wire.MaxText
	Redactor *Redactor     // nil: nothing is left out
}

// takes reports whether the job is in the policy's share. It is so for all of
// its attempts, in every process.
func (p *Policy) takes(m *wire.Meta) bool {
	if p.Share >= 1 {
		return true
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(m.Tenant + "." + m.ID)) // never fails
	return float64(h.Sum64()%1_000_000) < p.Share*1_000_000
}

// publishTimeout is how long the end of an attempt waits for its text (I4).
const publishTimeout = 2 * time.Second

// Keeper publishes what is kept. It is safe for concurrent use.
type Keeper struct {
	js       jetstream.JetStream
	subjects wire.Subjects
	log      *slog.Logger
	policies atomic.Pointer[map[string]*Policy]

	mu     sync.Mutex
	counts Counts
	warned time.Time
}

// Counts are what a keeper has done since it was made.
type Counts struct {
	Kept     uint64            // texts that the stream has taken
	Bytes    uint64            // of prompts and answers in them
	Dropped  map[string]uint64 // texts that it has not, by reason: full, unavailable
	Redacted map[string]uint64 // what was left out of texts, by kind
}

// NewKeeper makes a keeper that keeps nothing yet; it does no I/O.
func NewKeeper(js jetstream.JetStream, subjects wire.Subjects, log *slog.Logger) *Keeper {
	k := &Keeper{js: js, subjects: subjects, log: log, counts: Counts{Dropped: map[string]uint64{"full": 0, "unavailable": 0}, Redacted: map[string]uint64{}}}
	for _, kind := range Kinds() {
		k.counts.Redacted[kind] = 0
	}
	k.Set(nil)
	return k
}

// Set replaces the policies, by tenant, for attempts that end from now on.
func (k *Keeper) Set(policies map[string]*Policy) { k.policies.Store(&policies) }

// Counts are the keeper's.
func (k *Keeper) Counts() Counts {
	k.mu.Lock()
	defer k.mu.Unlock()
	c := k.counts
	c.Dropped, c.Redacted = maps.Clone(c.Dropped), maps.Clone(c.Redacted)
	return c
}

// Keep keeps an attempt's text, if its tenant wants it: body is what the job
// asked, answer what came, nil if nothing did. It may be called again for the
// same attempt. It returns when the stream has the text, or it is dropped.
func (k *Keeper) Keep(ctx context.Context, m *wire.Meta, at *wire.Attempt, body, answer []byte) {
	if k == nil {
		return
	}
	p := (*k.policies.Load())[m.Tenant]
	if p == nil || m.Shadow != "" || !p.takes(m) {
		return // I1
	}
	t := p.text(m, at, body, answer)
	why, err := k.publish(ctx, t, p.Keep)
	k.mu.Lock()
	defer k.mu.Unlock()
	for kind, n := range t.Redacted {
		k.counts.Redacted[kind] += uint64(n)
	}
	if err == nil {
		k.counts.Kept++
		k.counts.Bytes += uint64(len(t.Prompt) + len(t.Answer))
		return
	}
	k.counts.Dropped[why]++
	if now := time.Now(); now.Sub(k.warned) >= time.Minute {
		k.warned = now
		k.log.Warn("a job's text is not kept; its result and cost are", "tenant", m.Tenant, "job", m.ID, "attempt", at.N, "reason", why,
			"dropped", k.counts.Dropped[why], "err", err)
	}
}

// text is what the policy keeps of an attempt.
func (p *Policy) text(m *wire.Meta, at *wire.Attempt, body, answer []byte) *wire.Text {
	t := &wire.Text{Tenant: m.Tenant, Job: m.ID, Attempt: at.N, Expires: time.Now().Add(p.Keep).Unix(),
		Route: m.Route, Pool: at.Pool, Model: at.Model, Status: at.Status, Redacted: map[string]uint32{}}
	prompt, said := Prompt(body), ""
	if len(answer) > 0 {
		said = Answer(answer)
	}
	t.Bytes = [2]int64{int64(len(prompt)), int64(len(said))}
	t.Prompt = p.Redactor.Redact(prompt, p.MaxBytes, t.Redacted)
	t.Answer = p.Redactor.Redact(said, p.MaxBytes, t.Redacted)
	return t
}

// errStoreFailed is the server's code for a stream that is full.
const errStoreFailed jetstream.ErrorCode = 10077

// publish gives the reason with an error.
func (k *Keeper) publish(ctx context.Context, t *wire.Text, keep time.Duration) (why string, err error) {
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	body, err := wire.EncodeText(t)
	if err != nil {
		return "unavailable", fmt.Errorf("a text of %d bytes cannot be written as JSON", t.Bytes[0]+t.Bytes[1]) // err may quote it
	}
	_, err = k.js.PublishMsg(ctx, &nats.Msg{Subject: k.subjects.Texts(t.Tenant, t.Job), Data: body, Header: nats.Header{
		wire.HeaderMsgID: {t.ID()}, wire.HeaderTTL: {strconv.FormatInt(int64(max(keep/time.Second, 1)), 10) + "s"}}})
	var refused *jetstream.APIError
	if errors.As(err, &refused) && refused.ErrorCode == errStoreFailed {
		return "full", err
	}
	return "unavailable", err
}
