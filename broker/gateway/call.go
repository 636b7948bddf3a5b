package gateway

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/sluicehq/sluice/sdk"
	"github.com/sluicehq/sluice/sdk/wire"
)

// Headers of answers.
const (
	headerJob  = "Sluice-Job"
	headerPool = wire.HeaderPool
	headerCost = wire.HeaderCost
)

// call is one request for an answer on its way. It belongs to the goroutine
// of its handler.
type call struct {
	g        *Gateway
	w        http.ResponseWriter
	r        *http.Request
	endpoint wire.Endpoint
	req      *request
	job      *sdk.Handle
}

// serveCall handles an endpoint that gives answers.
func (g *Gateway) serveCall(e wire.Endpoint) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c := &call{g: g, w: w, r: r, endpoint: e}
		if f := c.serve(); f != nil {
			refuse(w, e, f, 0)
		}
	}
}

// serve carries the request out. An error it returns is still to be told.
func (c *call) serve() *wire.Error {
	ctx := c.r.Context()
	if !c.g.enter() {
		return wire.Errorf(wire.CodeUnavailable, "", "this gateway has too many requests under way: try again")
	}
	defer c.g.leave()
	tenant, f := c.g.tenants.of(c.r)
	if f != nil {
		return f
	}
	body, f := c.g.readBody(c.w, c.r)
	if f != nil {
		return f
	}
	if c.req, f = parse(tenant, c.endpoint, c.r.Header, body, time.Now()); f != nil {
		return f
	}
	client, give, err := c.g.clients.take(ctx, tenant)
	if err != nil {
		return faultOf(err)
	}
	defer give()
	if f := c.submit(ctx, client); f != nil {
		return f
	}
	if c.req.meta.Stream && c.endpoint != wire.Embeddings {
		return c.stream(ctx)
	}
	return c.wait(ctx)
}

// submit makes the job durable.
func (c *call) submit(ctx context.Context, client *client) *wire.Error {
	job, err := client.Submit(ctx, c.req.job)
	c.job, c.req.job.Body = job, nil // so that it is not kept while the job runs
	c.req.meta.ID = job.ID()
	c.name()
	if err != nil {
		if ctx.Err() != nil {
			c.abandon(ctx)
		}
		return faultOf(reason(ctx, err))
	}
	if c.req.named {
		return c.conflict(ctx)
	}
	return nil
}

// name tells the client which job is its own.
func (c *call) name() {
	h := c.w.Header()
	id := []string{c.job.ID()}
	h[headerJob], h["X-Request-Id"] = id, id
	if c.endpoint == wire.Messages {
		h["Request-Id"] = id
	}
}

// wait answers with the whole result.
func (c *call) wait(ctx context.Context) *wire.Error {
	res, err := c.job.Wait(ctx)
	if err != nil {
		c.abandon(ctx)
		return faultOf(reason(ctx, err))
	}
	if c.other(&res.Record.Entry.Meta) {
		return c.taken()
	}
	c.settle(res)
	if res.Err != nil {
		f := &wire.Error{Code: res.Err.Code, Param: res.Err.Param, Message: res.Err.Message}
		refuse(c.w, c.endpoint, f, providerStatus(res))
		return nil
	}
	rc := http.NewResponseController(c.w)
	_ = rc.SetWriteDeadline(time.Now().Add(c.g.cfg.WriteTimeout))
	writeJSON(c.w, http.StatusOK, res.Body)
	_ = rc.SetWriteDeadline(time.Time{})
	return nil
}

// settle says where the job ran and what it cost.
func (c *call) settle(res *sdk.Result) {
	h := c.w.Header()
	if res.Pool != "" {
		h[headerPool] = []string{res.Pool}
	}
	if res.CostKnown {
		h[headerCost] = []string{strconv.FormatInt(int64(res.Cost), 10)}
	}
}

func providerStatus(res *sdk.Result) int {
	if a := res.Record.Entry.Attempt; a != nil {
		return a.HTTP
	}
	return 0
}

// conflict tells whether the chosen ID is another job's, as far as the ledger
// knows yet.
func (c *call) conflict(ctx context.Context) *wire.Error {
	last, err := c.g.ledger.Last(ctx, c.req.meta.Tenant, c.job.ID())
	if err == nil && last != nil && c.other(&last.Entry.Meta) {
		return c.taken()
	}
	return nil // not known: it shows at the end
}

// other reports whether m is not of the job that was asked for.
func (c *call) other(m *wire.Meta) bool {
	want := &c.req.meta
	return c.req.named && (m.BodyHash != want.BodyHash || m.BodyBytes != want.BodyBytes || m.Endpoint != want.Endpoint)
}

func (c *call) taken() *wire.Error {
	return wire.Errorf(wire.CodeIDConflict, headerIdempotency, "the job ID belongs to another request with another body: choose another")
}

// reason is why waiting ended: the context's cause, if it was the context.
func reason(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

const (
	cancelTimeout = 10 * time.Second
	stopCancel    = time.Second // while the gateway stops
	cancelPause   = 100 * time.Millisecond
)

// abandon cancels the job of a client that is not there any more (I4). While
// the gateway stops, a job with a chosen ID goes on: its client can come back
// for it.
func (c *call) abandon(ctx context.Context) {
	stopping := errors.Is(context.Cause(ctx), errStopping)
	if c.req.keep || stopping && c.req.named {
		return
	}
	limit := cancelTimeout
	if stopping {
		limit = stopCancel
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	for {
		_, err := c.job.Cancel(ctx)
		code := sdk.CodeOf(err)
		if err == nil || code == wire.CodeFinished {
			return
		}
		if code != wire.CodeNotFound || ctx.Err() != nil {
			c.g.cfg.Logger.Warn("job of a client that has gone is not cancelled", "tenant", c.req.meta.Tenant, "job", c.job.ID(), "err", err)
			return
		}
		select { // it is on its way into the queue
		case <-ctx.Done():
		case <-time.After(cancelPause):
		}
	}
}
