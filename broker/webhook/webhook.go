package webhook

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
)

// Config describes a Service. JS and Secret must be set.
type Config struct {
	JS       jetstream.JetStream
	Subjects wire.Subjects
	Replicas int // of the streams; default 1
	Logger   *slog.Logger

	// Secret is what the tenants' secrets are derived from.
	Secret string
	// AllowPrivate lets jobs name private addresses.
	AllowPrivate bool
	// Timeout bounds one delivery. Defaults to 15 seconds.
	Timeout time.Duration
	// RetryFor is how long a delivery is tried again. Defaults to 24 hours.
	RetryFor time.Duration
	// Concurrent is the most deliveries at a time, and PerHost to one host.
	// They default to 64 and 8.
	Concurrent, PerHost int
	// Transport makes the calls. Nil: one that keeps to AllowPrivate.
	Transport http.RoundTripper
	// Operator makes the calls to URLs that the operator has configured, for
	// alerts. Nil: Transport if that is given, else one that may go anywhere.
	Operator http.RoundTripper
}

// Service delivers webhooks. It is safe for use from many goroutines, and any
// number of processes may run one.
type Service struct {
	cfg    Config
	ledger *ledger.Ledger

	mu    sync.Mutex
	hosts map[string]int // deliveries under way
}

// New makes a Service; it does no I/O.
func New(cfg Config) *Service {
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = 15 * time.Second
	}
	if cfg.RetryFor <= 0 {
		cfg.RetryFor = 24 * time.Hour
	}
	if cfg.Concurrent <= 0 {
		cfg.Concurrent = 64
	}
	if cfg.PerHost <= 0 {
		cfg.PerHost = 8
	}
	if cfg.Operator == nil {
		if cfg.Operator = cfg.Transport; cfg.Transport == nil {
			cfg.Operator = newTransport(true)
		}
	}
	if cfg.Transport == nil {
		cfg.Transport = newTransport(cfg.AllowPrivate)
	}
	s := &Service{cfg: cfg, hosts: map[string]int{}}
	if cfg.JS != nil {
		s.ledger = ledger.New(cfg.JS, cfg.Subjects)
	}
	return s
}

// Secret is what a tenant checks signatures with, in the specification's form.
func (s *Service) Secret(tenant string) string {
	return secretPrefix + base64.StdEncoding.EncodeToString(keyOf(s.cfg.Secret, tenant))
}

// Bounds of the streams.
const (
	logAge     = 7 * 24 * time.Hour
	logMost    = 100_000
	mostWaits  = 50_000 // deliveries that wait to be tried again
	duplicates = 10 * time.Minute
	ackWait    = time.Minute // of a record or delivery whose holder is silent
)

func (s *Service) ensure(ctx context.Context) error {
	sub, js := s.cfg.Subjects, s.cfg.JS
	for _, c := range []jetstream.StreamConfig{
		{Name: sub.Stream(wire.StreamWebhooks), Subjects: []string{sub.Webhook("*", "*")}, Retention: jetstream.WorkQueuePolicy,
			Replicas: max(s.cfg.Replicas, 1), AllowDirect: true, Duplicates: duplicates},
		{Name: sub.Stream(wire.StreamWebhookLog), Subjects: []string{sub.WebhookLog("*", "*")}, MaxAge: logAge, MaxMsgs: logMost,
			Replicas: max(s.cfg.Replicas, 1), AllowDirect: true, Duplicates: duplicates},
	} {
		if _, err := js.CreateOrUpdateStream(ctx, c); err != nil {
			return fmt.Errorf("webhooks: stream %s: %w", c.Name, err)
		}
	}
	// New records only: when webhooks are turned on, what ended long ago is
	// not told. From then on the consumer remembers (I1).
	_, err := js.CreateOrUpdateConsumer(ctx, sub.Stream(wire.StreamLedger), jetstream.ConsumerConfig{Durable: consumer,
		DeliverPolicy: jetstream.DeliverNewPolicy, AckPolicy: jetstream.AckExplicitPolicy, AckWait: ackWait, MaxAckPending: 4096, HeadersOnly: true})
	if err != nil {
		return fmt.Errorf("webhooks: consumer of the ledger: %w", err)
	}
	_, err = ledger.OpenQueue(ctx, js, sub, wire.StreamWebhooks, jetstream.ConsumerConfig{Durable: consumer, FilterSubject: sub.Webhook("*", "*"),
		AckPolicy: jetstream.AckExplicitPolicy, AckWait: s.cfg.Timeout + ackWait, MaxAckPending: mostWaits})
	if err != nil {
		return fmt.Errorf("webhooks: consumer of the queue: %w", err)
	}
	return nil
}

// consumer is the name of both.
const consumer = "webhooks"

// Run delivers until ctx ends, then lets deliveries under way finish and
// returns nil.
func (s *Service) Run(ctx context.Context) error {
	if err := s.ensure(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.consume(gctx, wire.StreamLedger, 1, s.collect) })
	g.Go(func() error { return s.consume(gctx, wire.StreamWebhooks, s.cfg.Concurrent, s.deliver) })
	err := g.Wait()
	for _, x := range []http.RoundTripper{s.cfg.Transport, s.cfg.Operator} {
		if t, ok := x.(*http.Transport); ok {
			t.CloseIdleConnections()
		}
	}
	return err
}

// consume hands messages of a stream to each, some at a time, until ctx ends
// and all are done.
func (s *Service) consume(ctx context.Context, stream string, parallel int, each func(context.Context, jetstream.Msg)) error {
	cons, err := s.cfg.JS.Consumer(ctx, s.cfg.Subjects.Stream(stream), consumer)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("webhooks: %s: %w", stream, err)
	}
	it, err := cons.Messages(jetstream.PullMaxMessages(max(parallel, 256)))
	if err != nil {
		return fmt.Errorf("webhooks: %s: %w", stream, err)
	}
	stopped := context.AfterFunc(ctx, it.Stop)
	defer stopped()
	room := make(chan struct{}, parallel)
	var all sync.WaitGroup
	defer all.Wait()
	for {
		m, err := it.Next()
		switch {
		case errors.Is(err, jetstream.ErrMsgIteratorClosed):
			return nil
		case err != nil:
			s.cfg.Logger.Warn("webhooks are not read", "stream", stream, "err", err)
			if ledger.Pause(ctx, time.Second) != nil {
				return nil
			}
			continue
		}
		if s.cfg.Subjects.IsPin(m.Subject()) {
			continue
		}
		room <- struct{}{}
		all.Go(func() {
			defer func() { <-room }()
			each(context.WithoutCancel(ctx), m)
		})
	}
}
