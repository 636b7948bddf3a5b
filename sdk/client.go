package sdk

import (
	"context"
	"errors"
	"fmt"
	neturl "net/url"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/sdk/wire"
)

// DefaultURL is where Dial connects when its url is "".
const DefaultURL = nats.DefaultURL

const (
	connectTimeout = 5 * time.Second
	ackTimeout     = 5 * time.Second  // for one try of a publish or request
	askTimeout     = 30 * time.Second // for all tries, where the context has no deadline
	windowSize     = 4096             // asynchronous publishes in flight, per client
)

// Client is a connection to a broker in the name of one tenant. It is safe
// for concurrent use. Make one per process and tenant with [Dial].
type Client struct {
	nc       *nats.Conn
	js       jetstream.JetStream
	owned    bool // Close closes nc
	tenant   string
	subjects wire.Subjects
	watch    watches

	stop   context.CancelFunc // ends the watch loop
	closed chan struct{}      // closed by the watch loop as it ends

	mu    sync.Mutex
	calls map[*call]struct{} // requests under way, for denied
}

// call is one request under way.
type call struct {
	subject string
	cancel  context.CancelCauseFunc
}

// Dial connects to the NATS server at url (several with commas between; ""
// is [DefaultURL]) and returns a client. It waits for the connection, at most
// until ctx ends or 5 seconds a server; it does not look for a broker. Once
// connected, a lost connection is made again for ever. ctx bounds only the
// dialling, not the client.
func Dial(ctx context.Context, url string, opts ...Option) (*Client, error) {
	o, err := resolve(opts)
	if err != nil {
		return nil, err
	}
	if o.conn != nil && url != "" {
		return nil, fail(wire.CodeInvalidRequest, nil, "Dial takes a URL or WithConn, not both")
	}
	c := &Client{
		tenant: o.tenant, subjects: wire.Subjects{Prefix: o.prefix},
		nc: o.conn, calls: make(map[*call]struct{}), closed: make(chan struct{}),
	}
	if c.nc == nil {
		if err := c.connect(ctx, url, &o); err != nil {
			return nil, err
		}
	}
	c.js, err = jetstream.New(c.nc, jetstream.WithPublishAsyncMaxPending(windowSize),
		jetstream.WithPublishAsyncTimeout(ackTimeout))
	if err != nil {
		c.closeConn()
		return nil, classify(err)
	}
	c.watch.init(c)
	loop, stop := context.WithCancel(context.WithoutCancel(ctx))
	c.stop = stop
	go c.watch.run(loop) // Close waits for it
	return c, nil
}

func (c *Client) connect(ctx context.Context, url string, o *options) error {
	timeout := connectTimeout
	if d, ok := ctx.Deadline(); ok {
		timeout = min(timeout, time.Until(d))
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("sluice: dial: %w", err)
	}
	if url == "" {
		url = DefaultURL
	}
	nc, err := nats.Connect(url, o.connectOptions(timeout, c.asyncError)...)
	var bad *neturl.Error // quotes what it cannot read, and with it a key
	switch {
	case errors.As(err, &bad):
		return fail(wire.CodeConnection, nil, "the server's URL cannot be read: it must be like nats://tenant:key@host:4222, special characters of the key percent-encoded")
	case err != nil:
		e := classify(err)
		if errors.Is(err, nats.ErrNoServers) || errors.Is(err, nats.ErrTimeout) {
			e = fail(wire.CodeConnection, err, "no NATS server at %s: is `sluice up` running?", redact(url))
		}
		return e
	}
	c.nc, c.owned = nc, true
	return nil
}

// redact cuts user names and passwords out of URLs.
func redact(urls string) string {
	parts := strings.Split(urls, ",")
	for i, u := range parts {
		if at := strings.LastIndexByte(u, '@'); at >= 0 {
			scheme := strings.Index(u, "://") + len("://")
			if scheme < len("://") || scheme > at {
				scheme = 0
			}
			parts[i] = u[:scheme] + u[at+1:]
		}
	}
	return strings.Join(parts, ",")
}

// Tenant is the tenant that the client acts for.
func (c *Client) Tenant() string { return c.tenant }

// Conn is the connection below, for what the SDK does not do. The client
// still owns it, unless it came by [WithConn].
func (c *Client) Conn() *nats.Conn { return c.nc }

// Close ends the client at once: every call under way fails with
// wire.CodeConnection. Jobs go on without it. Close may be called repeatedly.
func (c *Client) Close() {
	c.stop()
	<-c.closed
	c.js.CleanupPublisher()
	c.closeConn()
}

func (c *Client) closeConn() {
	if c.owned {
		c.nc.Close()
	}
}

// Drain waits until every job that is being submitted has been acknowledged,
// or ctx ends, and then closes the client. It returns ctx's error if that
// came first; Waits under way are not waited for.
func (c *Client) Drain(ctx context.Context) error {
	defer c.Close()
	select {
	case <-c.js.PublishAsyncComplete():
		return nil
	case <-ctx.Done():
		return fmt.Errorf("sluice: drain: %w", context.Cause(ctx))
	}
}

// asyncError is the connection's error handler. It fails the calls that the
// server said are not permitted, which would otherwise only time out.
func (c *Client) asyncError(_ *nats.Conn, _ *nats.Subscription, err error) {
	if !errors.Is(err, nats.ErrPermissionViolation) {
		return // a slow consumer or a repeated look: S2 takes care of it
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for call := range c.calls {
		if strings.Contains(err.Error(), `"`+call.subject+`"`) {
			call.cancel(classify(err))
		}
	}
}

// guard gives a context for one try of a request on subject: it ends after
// ackTimeout, when the client closes, and when the server denies the subject.
func (c *Client) guard(ctx context.Context, subject string) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	timed, cancelTimer := context.WithTimeoutCause(ctx, ackTimeout, nats.ErrTimeout)
	k := &call{subject: subject, cancel: cancel}
	c.mu.Lock()
	c.calls[k] = struct{}{}
	c.mu.Unlock()
	return timed, func() {
		c.mu.Lock()
		delete(c.calls, k)
		c.mu.Unlock()
		cancelTimer()
		cancel(nil)
	}
}

// cause replaces the bare context error that nats.go returns by the reason
// for which guard's context ended.
func cause(ctx context.Context, err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		if why := context.Cause(ctx); why != nil {
			return why
		}
	}
	return err
}

// request asks once and waits for the answer.
func (c *Client) request(ctx context.Context, subject string, data []byte) (*nats.Msg, error) {
	try, done := c.guard(ctx, subject)
	defer done()
	msg, err := c.nc.RequestMsgWithContext(try, &nats.Msg{Subject: subject, Data: data})
	if err != nil {
		return nil, cause(try, err)
	}
	return msg, nil
}

// persist repeats do, which must be safe to repeat, while it fails for want
// of an answer: for noAnswer when nobody listens, otherwise until ctx ends,
// or for askTimeout if it has no deadline.
func (c *Client) persist(ctx context.Context, do func() error) error {
	const noAnswer, pause = 2 * time.Second, 250 * time.Millisecond
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, askTimeout, errNoAnswer)
		defer cancel()
	}
	var silent time.Duration
	for {
		err := do()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return unanswered(ctx, err)
		}
		e := classify(err)
		if c.isClosed() {
			return errClosed
		}
		var api *jetstream.APIError
		transient := errors.Is(err, nats.ErrTimeout) || errors.Is(err, nats.ErrDisconnected) ||
			errors.Is(err, jetstream.ErrAsyncPublishTimeout) || errors.Is(err, jetstream.ErrTooManyStalledMsgs)
		unheard := e.Code == wire.CodeUnavailable && !errors.As(err, &api) && !transient
		if unheard {
			silent += pause
		}
		if !transient && (!unheard || silent > noAnswer) {
			return e
		}
		select {
		case <-ctx.Done():
			return unanswered(ctx, err)
		case <-c.closed:
			return errClosed
		case <-time.After(pause):
		}
	}
}

// unanswered says that ctx ended, and what the last try met.
func unanswered(ctx context.Context, last error) error {
	return fmt.Errorf("sluice: no answer yet (%w): %w", context.Cause(ctx), last)
}

func (c *Client) isClosed() bool {
	select {
	case <-c.closed:
		return true
	default:
		return c.nc.IsClosed()
	}
}
