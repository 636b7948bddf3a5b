package topology

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/sluicehq/sluice/sdk/ledger"
)

// How long and how often something is asked of a cluster that cannot answer.
const (
	persistFor = time.Minute
	persistTry = 5 * time.Second
	persistGap = 500 * time.Millisecond
)

// Persist does something that a cluster may refuse or not answer while it
// elects a leader, again and again for at most a minute. Other errors come back
// at once. f is to give up when its context ends.
func Persist(ctx context.Context, f func(context.Context) error) error {
	for begin := time.Now(); ; {
		try, cancel := context.WithTimeout(ctx, persistTry)
		err := f(try)
		cancel()
		if err == nil || ctx.Err() != nil || !passing(err) || time.Since(begin) > persistFor {
			return err
		}
		if pause := ledger.Pause(ctx, persistGap); pause != nil {
			return pause
		}
	}
}

// codeNoPeers is what a cluster says that does not know its servers yet.
const codeNoPeers jetstream.ErrorCode = 10005

// passing reports whether an error may be gone the next time.
func passing(err error) bool {
	var api *jetstream.APIError
	if errors.As(err, &api) {
		return api.Code >= 500 || api.ErrorCode == codeNoPeers ||
			api.ErrorCode == jetstream.JSErrCodeStreamNameInUse // another process was faster
	}
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrTimeout) || errors.Is(err, nats.ErrNoResponders) ||
		errors.Is(err, jetstream.ErrNoStreamResponse)
}
