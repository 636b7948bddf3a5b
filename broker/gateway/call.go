package gateway

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/sluicehq/sluice/internal/tracing"
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
	start    time.Time
	endpoint wire.Endpoint
	req      *request
	job      *sdk.Handle
	release  func() // of what job listens with
	outcome  outcome
	joined   bool // counted in g.readers
	span     tracing.Span
}

// serveCall handles an endpoint that gives answers.
func (g *Gateway) serveCall(e wire.Endpoint) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c := &call{g: g, w: w, r: r, start: time.Now(), endpoint: e, outcome: refused}
		end := g.metrics.begin(e)
		defer func() { end(c.outcome) }()
		if g.cfg.Tracer != nil {
			w = c.trace()
			defer c.traced()
		}
		if f := c.serve(); f != nil {
			refuse(w, e, f, 0)
		}
	}
}

// serve carries the request out. An error that it returns is still to be told.
func (c *call) serve() *wire.Error {
	if !c.g.enter() {
		return errCrowded()
	}
	defer c.g.leave()
	ctx := c.r.Context()
	who, f := c.g.tenants.Load().caller(c.r)
	if f != nil {
		return f
	}
	meter := c.g.meters.find(who)
	if f = meter.admit(c.w.Header(), c.start); f != nil {
		return f
	}
	body, f := c.g.readBody(c.w, c.r)
	if f != nil {
		return f
	}
	now := time.Now()
	if c.req, f = parse(who, c.endpoint, c.r.Header, body, now); f != nil {
		return f
	}
	if c.g.cfg.Full() != nil {
		return wire.Errorf(wire.CodeUnavailable, "", "the broker cannot store jobs now, its disk is full or cannot be written: try again when its operator has made room")
	}
	if t := c.span.Traceparent(); t != "" {
		c.req.meta.Trace, c.req.job.Traceparent = t, t
	}
	if c.req.meta.Webhook != "" && c.g.cfg.Webhooks == nil {
		return wire.Errorf(wire.CodeInvalidHeader, wire.HeaderWebhook, "this Sluice calls no webhooks: webhooks.secret is not configured")
	}
	if d := c.g.cfg.Deadline; d > 0 && c.req.meta.Deadline == 0 && !c.req.keep {
		c.req.meta.Deadline = now.Add(d).UnixNano()
		c.req.job.Deadline = now.Add(d)
	}
	if f = meter.spend(c.w.Header(), &c.req.meta, now); f != nil {
		return f
	}
	client, give, err := c.g.clients.take(ctx, who.tenant)
	if err != nil {
		return faultOf(err)
	}
	defer give()
	defer c.part()
	if c.req.background {
		if err := c.g.keep(ctx, &c.req.meta, c.req.echo["input"]); err != nil {
			return faultOf(reason(ctx, err))
		}
	}
	if f := c.submit(ctx, client); f != nil {
		c.release()
		return f
	}
	defer c.release()
	switch {
	case c.req.background:
		return c.background(ctx)
	case c.req.streams:
		return c.stream(ctx)
	}
	return c.wait(ctx)
}

func errCrowded() *wire.Error {
	return wire.Errorf(wire.CodeUnavailable, "", "this gateway has too many requests under way: try again")
}

// submit makes the job durable.
func (c *call) submit(ctx context.Context, client *client) *wire.Error {
	if c.req.named {
		c.joined = true
		c.g.readers.join(c.key())
	}
	job, release, err := client.Attend(ctx, c.req.job)
	c.g.acks.note(err, c.g.cfg.Logger)
	c.release = release
	c.job, c.req.job.Body = job, nil // so that it is not kept while the job runs
	c.req.meta.ID = job.ID()
	c.name()
	if err != nil {
		if ctx.Err() != nil { // it may have got through all the same
			return c.lost(ctx, err)
		}
		return faultOf(err)
	}
	c.outcome = broken
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
		return c.lost(ctx, err)
	}
	if c.other(&res.Record.Entry.Meta) {
		return c.taken()
	}
	c.outcome = outcome(res.Status)
	for name, v := range settled(res) {
		c.w.Header()[name] = []string{v}
	}
	if res.Err != nil {
		if c.req.named { // the ID stands for this result from now on
			c.w.Header()["X-Should-Retry"] = []string{"false"}
		}
		refuse(c.w, c.endpoint, faultOf(res.Err), providerStatus(res))
		return nil
	}
	// net/http takes it back when the answer is out. A recorder of a test has none, which is no harm.
	_ = http.NewResponseController(c.w).SetWriteDeadline(time.Now().Add(c.g.cfg.WriteTimeout))
	writeJSON(c.w, http.StatusOK, res.Body)
	return nil
}

// settled says, as headers, where a job ran and what it cost.
func settled(res *sdk.Result) map[string]string {
	h := make(map[string]string, 2)
	if res.Pool != "" {
		h[headerPool] = res.Pool
	}
	if res.CostKnown {
		h[headerCost] = strconv.FormatInt(int64(res.Cost), 10)
	}
	return h
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
	return nil // not known yet: it shows at the end
}

// other reports whether m is not of the job that was asked for.
func (c *call) other(m *wire.Meta) bool {
	want := &c.req.meta
	return c.req.named && (m.BodyHash != want.BodyHash || m.BodyBytes != want.BodyBytes || m.Endpoint != want.Endpoint)
}

func (c *call) taken() *wire.Error {
	c.outcome = refused
	return wire.Errorf(wire.CodeIDConflict, headerIdempotency, "the job ID belongs to another request with another body: choose another")
}

// reason is why waiting ended: the context's cause, if it was the context.
func reason(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// lost gives up waiting for the job: its client or this gateway is about to
// go, or the broker cannot be asked.
func (c *call) lost(ctx context.Context, err error) *wire.Error {
	switch {
	case errors.Is(context.Cause(ctx), errStopping):
		c.outcome = stopped
	case ctx.Err() != nil:
		c.outcome = gone
	}
	c.abandon(ctx)
	return faultOf(reason(ctx, err))
}

func (c *call) key() string { return c.req.meta.Tenant + "." + c.req.meta.ID }

// part stops counting as a reader and returns how many others there are.
func (c *call) part() int {
	if !c.joined {
		return 0
	}
	c.joined = false
	return c.g.readers.part(c.key())
}

const (
	cancelTimeout = 10 * time.Second
	stopCancel    = time.Second // while the gateway stops
	cancelPause   = 100 * time.Millisecond
)

// abandon cancels a job that nobody waits for any more (I4). While the gateway
// stops, a job with a chosen ID goes on: its client can come back for it.
func (c *call) abandon(ctx context.Context) {
	stopping := errors.Is(context.Cause(ctx), errStopping)
	if c.part() > 0 || c.req.keep || stopping && c.req.named {
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
			c.g.cfg.Logger.Warn("job without a reader is not cancelled", "tenant", c.req.meta.Tenant, "job", c.job.ID(), "err", err)
			return
		}
		select { // it is on its way into a queue
		case <-ctx.Done():
		case <-time.After(cancelPause):
		}
	}
}
