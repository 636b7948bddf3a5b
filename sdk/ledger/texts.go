package ledger

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/sdk/wire"
)

// ForgetTexts orders that what is kept of what a tenant, or one of its jobs,
// has said be deleted: all of it that came before. Job "" means all of the
// tenant's. It waits until that has been done, up to the end of ctx; then done
// is false and it will be done, when ClickHouse and an ingester are there.
func ForgetTexts(ctx context.Context, js jetstream.JetStream, subjects wire.Subjects, tenant, job string) (done bool, err error) {
	body, err := wire.EncodeText(&wire.Text{Tenant: tenant, Job: job, Forget: true})
	if err != nil {
		return false, err
	}
	ack, err := js.Publish(ctx, subjects.Texts(tenant, job), body)
	if err != nil {
		return false, fmt.Errorf("order the deletion of texts: %w", err)
	}
	stream, err := js.Stream(ctx, subjects.Stream(wire.StreamTexts))
	if err != nil {
		return false, nil //nolint:nilerr // it is ordered
	}
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		info, err := stream.Info(ctx)
		if err == nil && info.State.FirstSeq > ack.Sequence {
			return true, nil
		}
		if Pause(ctx, wait) != nil {
			return false, nil
		}
	}
}
