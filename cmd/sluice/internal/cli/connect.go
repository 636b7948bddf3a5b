package cli

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/sluicehq/sluice/analytics/store"
	"github.com/sluicehq/sluice/cmd/sluice/internal/config"
	"github.com/sluicehq/sluice/sdk"
	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/spf13/cobra"
)

const (
	dialTimeout  = 5 * time.Second
	adminTimeout = 10 * time.Second
)

// Files below the data directory that the server writes for its owner, and
// the user that the second one is the password of.
const (
	clickhousePasswordFile = "clickhouse.password"
	adminPasswordFile      = "nats.password"
	adminUser              = "$sluice"
)

// variable is one of the variables that only clients read.
func (g *globals) variable(name string) string {
	for _, kv := range slices.Backward(g.deps.Environ) {
		if k, v, ok := strings.Cut(kv, "="); ok && k == name {
			return v
		}
	}
	return ""
}

// load reads the configuration as a client does.
func (g *globals) load(cmd *cobra.Command) (*config.Config, error) {
	src, err := g.sources(cmd)
	if err != nil {
		return nil, err
	}
	src.Client = true
	return loadAs(src)
}

// natsURL is where NATS is: the external one, or the embedded server's
// listener.
func natsURL(c *config.Config) string {
	if !c.NATS.URL.IsZero() {
		return c.NATS.URL.Reveal()
	}
	return "nats://" + dialable(c.NATS.Embedded.Listen)
}

// dialable turns a listen address into one to connect to.
func dialable(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return listen
	}
	if host == "" || host == "0.0.0.0" {
		host = "127.0.0.1"
	} else if host == "::" {
		host = "::1"
	}
	return net.JoinHostPort(host, port)
}

// identity is the tenant to act for, and its key: as given, or as configured.
func (g *globals) identity(c *config.Config) (tenant, key string) {
	tenant, key = firstOf(g.tenant, g.variable("SLUICE_TENANT")), firstOf(g.key, g.variable("SLUICE_KEY"))
	if tenant == "" && len(c.Tenants) == 1 {
		tenant = c.Tenants[0].Name
	}
	for _, t := range c.Tenants {
		if t.Name == tenant && key == "" {
			key = t.Key.Reveal()
		}
	}
	return firstOf(tenant, "default"), key
}

func firstOf(words ...string) string {
	for _, w := range words {
		if w != "" {
			return w
		}
	}
	return ""
}

// dial connects as a tenant.
func (g *globals) dial(cmd *cobra.Command) (*sdk.Client, *config.Config, error) {
	c, err := g.load(cmd)
	if err != nil {
		return nil, nil, err
	}
	tenant, key := g.identity(c)
	ctx, cancel := context.WithTimeout(cmd.Context(), dialTimeout)
	defer cancel()
	client, err := sdk.Dial(ctx, natsURL(c), sdk.WithTenant(tenant), sdk.WithKey(key),
		sdk.WithPrefix(c.SubjectPrefix), sdk.WithName("sluice-cli"))
	if err != nil {
		return nil, nil, unreachable(err, c)
	}
	return client, c, nil
}

// unreachable says where NATS was looked for.
func unreachable(err error, c *config.Config) error {
	var e *sdk.Error
	if errors.As(err, &e) && e.Code == wire.CodePermission || errors.Is(err, nats.ErrAuthorization) {
		return failed(err, hintFor(wire.CodePermission), "NATS at %s refuses these credentials", config.NewURL(natsURL(c)))
	}
	if errors.As(err, &e) && e.Code == wire.CodeInvalidSubject { // options that Dial refuses
		return usage("for example --tenant acme", "%s", clean(e.Message))
	}
	return failed(err, "start it with: sluice up; or say where it is with --nats URL; look closer with: sluice doctor",
		"NATS cannot be reached at %s", config.NewURL(natsURL(c)))
}

// admin is a connection for administrative requests.
type admin struct {
	nc       *nats.Conn
	subjects wire.Subjects
}

// dialAdmin connects for administration: with tenants configured, as the
// server's own user, whose password lies in the data directory.
func (g *globals) dialAdmin(cmd *cobra.Command) (*admin, *config.Config, error) {
	c, err := g.load(cmd)
	if err != nil {
		return nil, nil, err
	}
	a, err := g.connectAdmin(c)
	return a, c, err
}

func (g *globals) connectAdmin(c *config.Config) (*admin, error) {
	opts := []nats.Option{nats.Name("sluice-cli"), nats.Timeout(dialTimeout), nats.MaxReconnects(0)}
	if password, err := readPassword(c, adminPasswordFile); err == nil && password != "" {
		opts = append(opts, nats.UserInfo(adminUser, password))
	} else if tenant, key := g.identity(c); key != "" {
		opts = append(opts, nats.UserInfo(tenant, key))
	}
	nc, err := nats.Connect(natsURL(c), opts...)
	if err != nil {
		return nil, unreachable(err, c)
	}
	return &admin{nc: nc, subjects: wire.Subjects{Prefix: c.SubjectPrefix}}, nil
}

func (a *admin) close() { a.nc.Close() }

// ask sends one administrative request, which becomes JSON unless it is a
// message; answer may be nil.
func (a *admin) ask(ctx context.Context, op string, request, answer any) error {
	msg, ok := request.(*nats.Msg)
	if !ok {
		msg = &nats.Msg{Data: []byte("{}")}
		if request != nil {
			b, err := json.Marshal(request)
			if err != nil {
				return err
			}
			msg.Data = b
		}
	}
	msg.Subject = a.subjects.Admin(op)
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	m, err := a.nc.RequestMsgWithContext(ctx, msg)
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return failed(err, hintFor(wire.CodeUnavailable), "NATS is there, but no Sluice router answers on %s", a.subjects.Admin(op))
	case err != nil:
		return failed(err, "administration needs the server's own user: run this where its data directory is (--data-dir)",
			"no answer on %s: %v", a.subjects.Admin(op), err)
	}
	var fault struct {
		Error *wire.AnswerError `json:"error"`
	}
	if err := json.Unmarshal(m.Data, &fault); err != nil {
		return failed(err, "is the server of the same version?", "the answer on %s is not understood: %v", a.subjects.Admin(op), err)
	}
	if fault.Error != nil {
		return failed(nil, hintFor(fault.Error.Code), "%s: %s", fault.Error.Code, fault.Error.Message)
	}
	if answer == nil {
		return nil
	}
	return json.Unmarshal(m.Data, answer)
}

// readPassword reads a password that the server keeps in its data directory.
func readPassword(c *config.Config, name string) (string, error) {
	b, err := os.ReadFile(filepath.Join(c.DataDir, name))
	return strings.TrimSpace(string(b)), err
}

// clickhouseDSN is where ClickHouse is: the external one, or the embedded
// engine with the password that the server uses.
func clickhouseDSN(c *config.Config) (string, error) {
	switch {
	case !c.ClickHouse.DSN.IsZero():
		return c.ClickHouse.DSN.Reveal(), nil
	case !c.ClickHouse.Embedded.Enabled:
		return "", &failure{code: exitUsage, msg: "no ClickHouse is configured", hint: "say where it is with --clickhouse DSN"}
	}
	password := c.ClickHouse.Embedded.Password.Reveal()
	if password == "" {
		var err error
		if password, err = readPassword(c, clickhousePasswordFile); err != nil {
			hint := "it is written when sluice up first starts there; elsewhere say where ClickHouse is: --data-dir DIR or --clickhouse DSN"
			if errors.Is(err, fs.ErrPermission) {
				hint = "only the user who runs the server may read it"
			}
			return "", failed(err, hint, "the password of the embedded ClickHouse cannot be read: %v", err)
		}
	}
	u := url.URL{Scheme: "http", Host: dialable(c.ClickHouse.Embedded.Listen),
		User: url.UserPassword("default", password), Path: "/" + store.DefaultDatabase}
	return u.String(), nil
}

// openStore opens ClickHouse for reading.
func (g *globals) openStore(cmd *cobra.Command) (*store.Store, error) {
	c, err := g.load(cmd)
	if err != nil {
		return nil, err
	}
	return openStoreOf(c)
}

func openStoreOf(c *config.Config) (*store.Store, error) {
	dsn, err := clickhouseDSN(c)
	if err != nil {
		return nil, err
	}
	sc := c.Store(dsn)
	sc.DialTimeout = dialTimeout
	return store.Open(sc)
}
