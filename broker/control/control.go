package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/sluicehq/sluice/broker/budget"
	"github.com/sluicehq/sluice/broker/observe"
	"github.com/sluicehq/sluice/broker/rollout"
	"github.com/sluicehq/sluice/broker/roster"
	"github.com/sluicehq/sluice/broker/steer"
	"github.com/sluicehq/sluice/router"
	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
)

// Config says what the service works with.
type Config struct {
	JS       jetstream.JetStream
	Subjects wire.Subjects
	Ledger   *ledger.Ledger
	Logger   *slog.Logger
	// Table is the current pools and routes.
	Table func() *router.Table
	// Pools are the static facts that admin answers show beside the table's.
	Pools func() []PoolInfo
	// Plan is how jobs are steered; nil: they are not.
	Plan func() *steer.Plan
	// Rollouts are followed by it; nil: there are none.
	Rollouts *rollout.Watcher
	// Tier is a tenant's tier; nil: they have none.
	Tier func(tenant string) string
	// Budgets is the router's view of them; nil: there are none.
	Budgets *budget.Book
	// Alerts lists what is raised, or was a while ago; nil: nothing is.
	Alerts func(context.Context) ([]wire.Alert, error)
	// Observer says how the pools do; nil: nothing is known of it.
	Observer *observe.Observer
	// Roster are the pools that are added while running; nil: none can be.
	Roster *roster.Roster
	// CheckPool checks the text of a pool that is to be added, and gives its
	// name.
	CheckPool func(text string) (name string, err error)
}

// PoolInfo is what an administrator sees of a pool's configuration.
type PoolInfo struct {
	Name        string      `json:"name"`
	Adapter     string      `json:"adapter"`
	Provider    string      `json:"provider"`
	Region      string      `json:"region,omitempty"`
	Tier        string      `json:"tier,omitempty"`
	Weight      int         `json:"weight"`
	Concurrency int         `json:"concurrency"`
	Models      []ModelInfo `json:"models"`
	Queued      int         `json:"queued"`  // in the pool's queue, not started
	Running     int         `json:"running"` // leased to workers
	Workers     int         `json:"workers"` // live processes
	Draining    bool        `json:"draining"`
	Added       bool        `json:"added,omitempty"`    // while running, and in no file
	Removing    bool        `json:"removing,omitempty"` // it goes when it is idle
	// Health is nil where nobody observes the pools.
	Health *observe.Health `json:"health,omitempty"`
}

// ModelInfo is a model that a pool offers.
type ModelInfo struct {
	Name     string `json:"name"`
	Upstream string `json:"upstream"`
	Priced   bool   `json:"priced"`
}

// Service answers requests. Make one with New, start it with Run.
type Service struct {
	cfg   Config
	index *indexes
	jobs  sync.WaitGroup
	busy  chan struct{}
}

// maxBusy bounds the requests in work; further ones wait in the connection.
const maxBusy = 64

// requestTimeout bounds one request.
const requestTimeout = 30 * time.Second

// New makes a Service; it does no I/O.
func New(cfg Config) *Service {
	return &Service{cfg: cfg, index: newIndexes(cfg.JS, cfg.Subjects), busy: make(chan struct{}, maxBusy)}
}

// queueGroup shares the requests among all processes that answer.
const queueGroup = "sluice"

// subjectFault refuses a request about no job.
const subjectFault = "the subject must end in .<tenant>.<job>, both [A-Za-z0-9_-]{1,64}"

// Run answers until ctx ends, gives the requests under way 5 s more, and
// returns.
func (s *Service) Run(ctx context.Context) error {
	work, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	sub := s.cfg.Subjects
	handlers := map[string]func(context.Context, string, string, []byte) any{
		sub.Status("*", "*"): s.status,
		sub.Cancel("*", "*"): s.cancel,
	}
	var subs []*nats.Subscription
	for subject, h := range handlers {
		x, err := s.cfg.JS.Conn().QueueSubscribe(subject, queueGroup, func(m *nats.Msg) {
			s.serve(ctx, work, m, func(ctx context.Context) any {
				tenant, job, ok := sub.SplitTenantJob(m.Subject)
				if !ok || !wire.ValidName(tenant) || !wire.ValidName(job) {
					return failure(tenant, job, wire.CodeInvalidSubject, subjectFault)
				}
				return h(ctx, tenant, job, m.Data)
			})
		})
		if err != nil {
			return fmt.Errorf("control: %w", err)
		}
		subs = append(subs, x)
	}
	for subject, h := range map[string]func(context.Context, *nats.Msg) any{
		sub.Admin(">"):       s.admin,
		sub.Replay("*", "*"): s.replay,
	} {
		x, err := s.cfg.JS.Conn().QueueSubscribe(subject, queueGroup, func(m *nats.Msg) {
			s.serve(ctx, work, m, func(ctx context.Context) any { return h(ctx, m) })
		})
		if err != nil {
			return fmt.Errorf("control: %w", err)
		}
		subs = append(subs, x)
	}
	<-ctx.Done()
	for _, x := range subs {
		_ = x.Unsubscribe() // the connection may be gone, which is as good
	}
	grace := time.AfterFunc(stopGrace, cut)
	defer grace.Stop()
	s.jobs.Wait()
	return nil
}

// stopGrace is how long requests under way may take after a stop: with the
// streams away, each would go on for requestTimeout.
const stopGrace = 5 * time.Second

// serve runs one request beside the others, within work, and replies with its
// answer.
func (s *Service) serve(ctx, work context.Context, m *nats.Msg, f func(context.Context) any) {
	select {
	case s.busy <- struct{}{}:
	case <-ctx.Done():
		return
	}
	s.jobs.Go(func() {
		defer func() { <-s.busy }()
		ctx, cancel := context.WithTimeout(work, requestTimeout)
		defer cancel()
		answer := f(ctx)
		if answer == nil { // it has been given
			return
		}
		b, err := json.Marshal(answer)
		if err != nil {
			s.cfg.Logger.Error("answer cannot be encoded", "subject", m.Subject, "err", err)
			return
		}
		if m.Reply == "" {
			return
		}
		if err := m.Respond(b); err != nil {
			s.cfg.Logger.Debug("answer not sent", "subject", m.Subject, "err", err)
		}
	})
}

// replay answers by itself, with any number of messages.
func (s *Service) replay(ctx context.Context, m *nats.Msg) any {
	if err := Replay(ctx, s.cfg.JS.Conn(), s.cfg.Subjects, m); err != nil {
		s.cfg.Logger.Debug("replay not sent", "subject", m.Subject, "err", err)
	}
	return nil
}

func failure(tenant, job string, code wire.Code, msg string) *wire.Answer {
	return &wire.Answer{Job: job, Tenant: tenant, Error: &wire.AnswerError{Code: code, Message: msg}}
}

func (s *Service) internal(tenant, job string, err error) *wire.Answer {
	if errors.Is(err, errSearching) {
		return failure(tenant, job, wire.CodeUnavailable, "the job has no record yet, and the tenant's queue is too long to be searched at once: try again in a moment")
	}
	s.cfg.Logger.Warn("request failed", "tenant", tenant, "job", job, "err", err)
	return failure(tenant, job, wire.CodeInternal, "the request could not be carried out, try again: "+err.Error())
}

// status answers with a job's state and history.
func (s *Service) status(ctx context.Context, tenant, job string, _ []byte) any {
	records, err := s.cfg.Ledger.History(ctx, tenant, job)
	if err != nil {
		return s.internal(tenant, job, err)
	}
	if len(records) == 0 {
		m, err := s.queued(ctx, tenant, job)
		if err != nil {
			return s.internal(tenant, job, err)
		}
		// It may have started while the queues were searched.
		if records, err = s.cfg.Ledger.History(ctx, tenant, job); err != nil {
			return s.internal(tenant, job, err)
		}
		if len(records) == 0 && m != nil {
			return ledger.DescribeQueued(m)
		}
	}
	if len(records) == 0 {
		return failure(tenant, job, wire.CodeNotFound, "no such job: it was never published, or its record is older than the retention")
	}
	return ledger.Describe(tenant, job, records)
}

// cancelTries bounds how often a cancel follows a job that changes state.
const cancelTries = 10

// cancel ends a job in whatever state it is.
func (s *Service) cancel(ctx context.Context, tenant, job string, _ []byte) any {
	for range cancelTries {
		last, err := s.cfg.Ledger.Last(ctx, tenant, job)
		if err != nil {
			return s.internal(tenant, job, err)
		}
		done, err := s.tryCancel(ctx, tenant, job, last)
		var c *ledger.Conflict
		switch {
		case errors.As(err, &c):
			continue
		case errors.Is(err, errNoJob):
			return failure(tenant, job, wire.CodeNotFound, "no such job: it was never published, or its record is older than the retention")
		case err != nil:
			return s.internal(tenant, job, err)
		case done:
			return s.status(ctx, tenant, job, nil)
		}
	}
	return failure(tenant, job, wire.CodeInternal, "the job keeps changing, try again")
}

var errNoJob = errors.New("no such job")

// tryCancel acts on the job as last shows it; false: look again.
func (s *Service) tryCancel(ctx context.Context, tenant, job string, last *ledger.Stored) (bool, error) {
	if last == nil {
		m, err := s.queued(ctx, tenant, job)
		if err != nil {
			return false, err
		}
		if m == nil {
			if last, err = s.cfg.Ledger.Last(ctx, tenant, job); err == nil && last == nil {
				err = errNoJob
			}
			return false, err
		}
		return s.endCancelled(ctx, &wire.Entry{Meta: *m, Progress: wire.Progress{ReadyAt: m.SubmittedAt}}, 0)
	}
	switch {
	case last.Status.Terminal():
		return true, nil
	case last.Status == wire.Waiting:
		e := last.Entry
		e.Attempt = nil
		done, err := s.endCancelled(ctx, &e, last.Seq)
		if err == nil && last.Until.After(time.Now()) {
			if err := s.cfg.Ledger.Wipe(ctx, tenant, job); err != nil {
				s.cfg.Logger.Debug("schedule of a cancelled job stays until it fires", "job", job, "err", err)
			}
		}
		return done, err
	}
	return true, s.abort(ctx, tenant, job, last)
}

func (s *Service) endCancelled(ctx context.Context, e *wire.Entry, expect uint64) (bool, error) {
	e.Error = wire.CodeCancelled
	body := wire.Errorf(wire.CodeCancelled, "", "the job was cancelled before it ran").Body()
	_, err := s.cfg.Ledger.Append(ctx, &wire.Record{Status: wire.Cancelled, Entry: *e, Body: body}, expect)
	return err == nil, err
}

// abortWait is how long a cancel waits for the worker to stop; after that the
// answer says `running` with reason `cancel`, and the end follows by itself.
const abortWait = 2 * time.Second

// abort calls the worker that runs the job and waits for the end.
func (s *Service) abort(ctx context.Context, tenant, job string, last *ledger.Stored) error {
	nc := s.cfg.JS.Conn()
	sub, err := nc.SubscribeSync(s.cfg.Subjects.Records(tenant, job))
	if err != nil {
		return err
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := s.cfg.Ledger.AskCancel(ctx, last); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, abortWait)
	defer cancel()
	for {
		m, err := sub.NextMsgWithContext(ctx)
		if err != nil {
			return nil //nolint:nilerr // not stopped yet: the record already says that it shall
		}
		if wire.Status(m.Header.Get(wire.HeaderStatus)).Terminal() {
			return nil
		}
	}
}
