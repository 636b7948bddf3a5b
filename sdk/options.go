package sdk

import (
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sluicehq/sluice/sdk/wire"
)

// Option changes how [Dial] connects.
type Option func(*options)

type options struct {
	tenant string
	key    string
	prefix string
	name   string
	conn   *nats.Conn
	nats   []nats.Option
}

// WithTenant sets the tenant that pays, [A-Za-z0-9_-]{1,64}. Defaults to
// "default".
func WithTenant(tenant string) Option { return func(o *options) { o.tenant = tenant } }

// WithKey sets the tenant's key, or one of its named keys, which its jobs then
// count for in budgets. The client then logs in to NATS with the
// tenant as user and the key as password. Defaults to none, which a broker
// without configured tenants accepts.
func WithKey(key string) Option { return func(o *options) { o.key = key } }

// WithPrefix sets the subject prefix that the broker was configured with: one
// or more literal tokens, such as "sluice" or "prod.sluice". Defaults to
// "sluice".
func WithPrefix(prefix string) Option { return func(o *options) { o.prefix = prefix } }

// WithName sets the connection's name, as NATS monitoring shows it. Defaults
// to "sluice-sdk".
func WithName(name string) Option { return func(o *options) { o.name = name } }

// WithConn makes the client use an existing connection instead of opening
// one: the URL must then be "", and WithKey, WithName and WithNATS do nothing.
// The caller keeps owning conn: Close leaves it open.
func WithConn(conn *nats.Conn) Option { return func(o *options) { o.conn = conn } }

// WithNATS adds options for the connection that Dial opens, after the SDK's
// own: TLS, credentials, reconnect behaviour, an in-process server. An error
// handler given here replaces the SDK's, which makes a call that lacks a
// permission fail at once; without it such a call fails by time-out.
func WithNATS(opts ...nats.Option) Option {
	return func(o *options) { o.nats = append(o.nats, opts...) }
}

// resolve applies defaults and checks every field, reporting all faults.
func resolve(opts []Option) (options, error) {
	o := options{tenant: "default", prefix: wire.DefaultPrefix, name: "sluice-sdk"}
	for _, opt := range opts {
		opt(&o)
	}
	var faults []string
	if !wire.ValidName(o.tenant) {
		faults = append(faults, fmt.Sprintf("tenant %.80q must match [A-Za-z0-9_-]{1,64}", o.tenant))
	}
	for token := range strings.SplitSeq(o.prefix, ".") {
		if !wire.ValidName(token) {
			faults = append(faults, fmt.Sprintf("prefix %.80q must be tokens of [A-Za-z0-9_-]{1,64} with dots between", o.prefix))
			break
		}
	}
	if len(faults) > 0 {
		return o, fail(wire.CodeInvalidSubject, nil, "%s", strings.Join(faults, "; "))
	}
	return o, nil
}

// connectOptions are the SDK's own options for a connection of its own: it
// reconnects for ever.
func (o *options) connectOptions(timeout time.Duration, onError nats.ErrHandler) []nats.Option {
	opts := []nats.Option{
		nats.Name(o.name),
		nats.Timeout(timeout),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(250 * time.Millisecond),
		nats.ReconnectJitter(100*time.Millisecond, 500*time.Millisecond),
		nats.ErrorHandler(onError),
	}
	if o.key != "" {
		opts = append(opts, nats.UserInfo(o.tenant, o.key))
	}
	return append(opts, o.nats...)
}
