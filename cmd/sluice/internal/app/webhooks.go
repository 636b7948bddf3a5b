package app

import (
	"context"

	"golang.org/x/sync/errgroup"

	"github.com/sluicehq/sluice/broker/webhook"
)

// newWebhooks is the service of the configured webhooks, nil without any.
func (a *App) newWebhooks() (*webhook.Service, error) {
	w := a.cfg.Webhooks
	if w.Secret.Reveal() == "" {
		return nil, nil
	}
	js, err := a.connect("webhooks")
	if err != nil {
		return nil, err
	}
	return webhook.New(webhook.Config{JS: js, Subjects: a.subjects, Replicas: a.cfg.NATS.Replicas, Logger: a.log, Secret: w.Secret.Reveal(),
		AllowPrivate: w.AllowPrivate, Timeout: w.Timeout, RetryFor: w.RetryFor}), nil
}

// startWebhooks delivers them in the group.
func (a *App) startWebhooks(ctx context.Context, g *errgroup.Group) error {
	s, err := a.newWebhooks()
	if s != nil {
		g.Go(func() error { return s.Run(ctx) })
	}
	return err
}
