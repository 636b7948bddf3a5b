package app

import (
	"context"

	"golang.org/x/sync/errgroup"
)

// startGateway starts the HTTP role in the group.
func (a *App) startGateway(context.Context, *errgroup.Group) error { return nil }
