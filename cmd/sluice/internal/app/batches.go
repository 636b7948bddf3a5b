package app

import (
	"context"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/sluicehq/sluice/broker/batch"
	"github.com/sluicehq/sluice/broker/gateway"
)

// startBatches runs batches in the group, together with other routers.
func (a *App) startBatches(ctx context.Context, g *errgroup.Group, js jetstream.JetStream) {
	s := batch.New(batch.Config{JS: js, Subjects: a.subjects, Logger: a.log, Instance: a.instance, Replicas: a.cfg.NATS.Replicas, StatusOf: gateway.StatusOf,
		Routes: func(model string) bool {
			_, ok := a.dispatcher.Table().Route(model)
			return ok
		}})
	g.Go(func() error { return s.Run(ctx) })
}
