package sdk

import (
	"context"
	"encoding/json"
	"fmt"
	"sync/atomic"

	"github.com/sluicehq/sluice/sdk/wire"
)

// Handle names one job of the client's tenant. It holds nothing open and needs
// no closing, but for what [Client.Attend] says.
type Handle struct {
	c     *Client
	id    string
	fresh bool                        // submitted by this client: the broker knows it, or will soon
	ear   atomic.Pointer[chunkReader] // opened before the job was published; whoever takes it closes it
}

// Attach is the handle of an existing job, whoever submitted it. It asks
// nobody: that the job does not exist shows when the handle is used.
func (c *Client) Attach(id string) *Handle { return &Handle{c: c, id: id} }

// ID is the job's ID.
func (h *Handle) ID() string { return h.id }

// Tenant is the tenant that the job belongs to.
func (h *Handle) Tenant() string { return h.c.tenant }

// valid refuses an ID that would be more than one subject token.
func (h *Handle) valid() error {
	if !wire.ValidName(h.id) {
		return fail(wire.CodeInvalidJobID, nil, "the job ID %.80q does not match [A-Za-z0-9_-]{1,64}", h.id)
	}
	return nil
}

// Wait waits until the job has ended and returns how, at once if it has
// already, and for as long as the broker keeps its record (24 hours unless
// configured). That the job failed, was cancelled or expired is in Result.Err;
// the error beside it is about the waiting: ctx ended, the client was closed,
// a permission is missing, or no such job exists (wire.CodeNotFound, found out
// within about ten seconds, and only for a handle made by [Client.Attach]).
// Wait survives reconnects and restarts of the broker.
func (h *Handle) Wait(ctx context.Context) (*Result, error) {
	if err := h.valid(); err != nil {
		return nil, err
	}
	r := h.ear.Swap(nil)
	if r == nil {
		var err error
		if r, err = h.openReader(0, 0, false); err != nil {
			return nil, err
		}
	}
	defer r.close()
	last, err := h.await(ctx, r.l)
	if err != nil {
		return nil, h.waiting(ctx, err)
	}
	return newResult(h, last), nil
}

// await returns the terminal record once the ledger holds it.
func (h *Handle) await(ctx context.Context, l *listener) (stored, error) {
	unknown := 0
	for hinted := false; ; {
		r, ok, err := l.look(ctx, hinted)
		if err != nil || ok && r.Status.Terminal() {
			return r, err
		}
		if hinted, err = l.next(ctx); err != nil {
			return r, err
		}
		if hinted || ok || l.confirm > 0 {
			unknown = 0
		} else if unknown, err = h.exists(ctx, unknown); err != nil {
			return r, err
		}
	}
}

// exists asks the broker for a job that has no record after a while. Only the
// second denial counts, so that a job is not denied while it is being stored.
func (h *Handle) exists(ctx context.Context, unknown int) (int, error) {
	if h.fresh {
		return 0, nil
	}
	a, err := h.ask(ctx, h.c.subjects.Status(h.c.tenant, h.id))
	if err != nil || a.Error == nil || a.Error.Code != wire.CodeNotFound {
		return 0, nil
	}
	if unknown == 0 {
		return 1, nil
	}
	return 0, fail(a.Error.Code, nil, "%s", a.Error.Message).of(h.id)
}

// waiting says for what the context or the client ended.
func (h *Handle) waiting(ctx context.Context, err error) error {
	if e, ok := err.(*Error); ok {
		return named(e, h.id)
	}
	return fmt.Errorf("sluice: wait for job %s: %w", h.id, err)
}

// Cancel asks the broker to end the job as cancelled, whatever its state, and
// returns the state that the job is in then. A running attempt is told to
// stop and may take a moment to: the terminal record says what came of it. A
// job that has ended already gives wire.CodeFinished, a job that does not
// exist wire.CodeNotFound. When nobody answers for 2 seconds the error has
// wire.CodeUnavailable. Repeating Cancel is safe.
func (h *Handle) Cancel(ctx context.Context) (*wire.Answer, error) {
	return h.control(ctx, h.c.subjects.Cancel(h.c.tenant, h.id))
}

// Status asks the broker for the job's state and history, also while the job
// is still queued and has no record. Its errors are those of [Handle.Cancel]
// but for wire.CodeFinished.
func (h *Handle) Status(ctx context.Context) (*wire.Answer, error) {
	return h.control(ctx, h.c.subjects.Status(h.c.tenant, h.id))
}

func (h *Handle) control(ctx context.Context, subject string) (*wire.Answer, error) {
	if err := h.valid(); err != nil {
		return nil, err
	}
	var answer *wire.Answer
	err := h.c.persist(ctx, func() (err error) {
		answer, err = h.ask(ctx, subject)
		return err
	})
	if err != nil {
		return nil, named(err, h.id)
	}
	if answer.Error != nil {
		return answer, fail(answer.Error.Code, nil, "%s", answer.Error.Message).of(h.id)
	}
	return answer, nil
}

// ask is one request to the broker's control service.
func (h *Handle) ask(ctx context.Context, subject string) (*wire.Answer, error) {
	m, err := h.c.request(ctx, subject, nil)
	if err != nil {
		return nil, err
	}
	a := new(wire.Answer)
	if err := json.Unmarshal(m.Data, a); err != nil {
		return nil, fail(wire.CodeInternal, err, "the broker's answer on %s is not understood: %v", subject, err)
	}
	return a, nil
}
