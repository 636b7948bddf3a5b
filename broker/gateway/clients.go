package gateway

import (
	"context"
	"sync"

	"github.com/nats-io/nats.go"

	"github.com/sluicehq/sluice/sdk"
	"github.com/sluicehq/sluice/sdk/wire"
)

// maxIdle bounds how many clients nobody uses are kept: each has a goroutine
// and half a megabyte of room for hints.
const maxIdle = 64

// clients keeps one SDK client per tenant, all on one connection.
type clients struct {
	conn   *nats.Conn
	prefix string

	mu     sync.Mutex
	tenant map[string]*client
	tick   uint64 // of the last use
	idle   int    // clients without a user
	closed bool
}

// client is a tenant's; clients.mu guards users and used.
type client struct {
	*sdk.Client
	users int
	used  uint64
}

func newClients(conn *nats.Conn, s wire.Subjects) *clients {
	prefix := s.Prefix
	if prefix == "" {
		prefix = wire.DefaultPrefix
	}
	return &clients{conn: conn, prefix: prefix, tenant: make(map[string]*client)}
}

// take gives the tenant's client until the returned function is called.
func (c *clients) take(ctx context.Context, tenant string) (*client, func(), error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, nil, errStopping
	}
	x := c.tenant[tenant]
	if x == nil {
		s, err := sdk.Dial(ctx, "", sdk.WithConn(c.conn), sdk.WithTenant(tenant), sdk.WithPrefix(c.prefix))
		if err != nil {
			return nil, nil, err
		}
		x = &client{Client: s}
		c.tenant[tenant] = x
		c.idle++
	}
	if x.users == 0 {
		c.idle--
	}
	x.users++
	return x, func() { c.give(x) }, nil
}

// give returns a client, and closes the one longest unused if there are too
// many.
func (c *clients) give(x *client) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tick++
	x.used = c.tick
	if x.users--; x.users > 0 || c.closed {
		return
	}
	if c.idle++; c.idle <= maxIdle {
		return
	}
	var oldest *client
	for _, y := range c.tenant {
		if y.users == 0 && (oldest == nil || y.used < oldest.used) {
			oldest = y
		}
	}
	delete(c.tenant, oldest.Tenant())
	c.idle--
	oldest.Close()
}

// close ends all clients: whoever waits in one gets an error.
func (c *clients) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for name, x := range c.tenant {
		x.Close()
		delete(c.tenant, name)
	}
}
