package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/sluicehq/sluice/analytics/engine"
	"github.com/sluicehq/sluice/analytics/store"
	"github.com/sluicehq/sluice/sdk"
	"github.com/sluicehq/sluice/sdk/wire"
)

// Binaries are the programs that a fleet runs.
type Binaries struct {
	Sluice     []string // the command that runs `sluice`, without arguments
	NATSServer string   // nats-server
	NATSConfig string   // deploy/nats/cluster.conf
}

// Shape is how many processes of each kind a fleet has.
type Shape struct {
	NATS, Routers, Workers, Ingesters int // NATS: 1 or 3; no ingesters: no ClickHouse either
	Proxied                           bool
	Native                            NativeFront // nil: ingesters speak HTTP to ClickHouse
}

// NativeFront gives the address of a server that speaks ClickHouse's native
// protocol before the engine at an HTTP address, for the ingesters.
type NativeFront func(ctx context.Context, engine, password string) (string, error)

// Fleet is a running Sluice of many processes. Make one with newFleet.
type Fleet struct {
	group
	bin       Binaries
	shape     Shape
	providers *providers
	nats      []string // addresses of the NATS servers themselves
	engine    string   // address of ClickHouse itself
	http      string   // address of the gateway
	addrs     map[string]string
	wires     []wiring
}

// wiring is a proxied way from one part to another.
type wiring struct {
	from, to string
	proxy    *Proxy
}

// Kinds of processes.
const (
	kindNATS   = "nats"
	kindRouter = "router"
	kindWorker = "worker"
	kindIngest = "ingest"
	kindEngine = "clickhouse"

	kindGateway = "gateway"
)

// Who logs in where. The fleet listens on loopback and lives for one run.
const (
	tenant    = "acme" // of deploy/nats/accounts.conf.example
	tenantKey = "outer"
	password  = "inner"
)

// newFleet makes a fleet in a folder of its own and starts it; config is the
// part of sluice.yaml below the addresses, where {{NAME}} is the address of
// the provider NAME.
func newFleet(ctx context.Context, bin Binaries, shape Shape, list []Provider, config string) (*Fleet, error) {
	dir, err := os.MkdirTemp("", "sluice-fleet-")
	if err != nil {
		return nil, err
	}
	for i := range list {
		if list[i].Books != "" {
			list[i].Books = filepath.Join(dir, list[i].Books)
		}
	}
	f := &Fleet{group: group{dir: dir}, bin: bin, shape: shape, addrs: map[string]string{}}
	if err := f.start(ctx, list, config); err != nil {
		return nil, errors.Join(err, f.close(false))
	}
	return f, nil
}

// close ends every process. The folder with the logs is kept on demand.
func (f *Fleet) close(keep bool) error {
	f.group.close()
	for _, w := range f.wires {
		w.proxy.close()
	}
	if keep {
		return nil
	}
	return os.RemoveAll(f.dir)
}

func (f *Fleet) start(ctx context.Context, list []Provider, config string) error {
	var counts map[string]Count
	var err error
	if f.providers, counts, err = f.startProviders(ctx, f.bin.Sluice, list); err != nil {
		return err
	}
	for name, c := range counts {
		f.addrs[name] = c.Addr
	}
	if err := f.startNATS(); err != nil {
		return err
	}
	if err := f.awaitNATS(ctx); err != nil {
		return err
	}
	if f.shape.Ingesters > 0 {
		if err := f.startEngine(); err != nil {
			return err
		}
	}
	for _, role := range []struct {
		kind string
		n    int
	}{{kindRouter, f.shape.Routers}, {kindWorker, f.shape.Workers}, {kindIngest, f.shape.Ingesters}} {
		for i := range role.n {
			if err := f.startRole(ctx, role.kind, i+1, config); err != nil {
				return err
			}
		}
	}
	return nil
}

// way gives the address at which a part finds another: a proxy of its own, if
// the fleet is to be cut.
func (f *Fleet) way(from, to, addr string) (string, error) {
	if !f.shape.Proxied {
		return addr, nil
	}
	p, err := newProxy(addr)
	if err != nil {
		return "", err
	}
	f.wires = append(f.wires, wiring{from: from, to: to, proxy: p})
	return p.Addr(), nil
}

// startNATS starts the servers; each reaches each of the others by a way of
// its own.
func (f *Fleet) startNATS() error {
	n := f.shape.NATS
	if n == 1 {
		return f.startOneNATS()
	}
	cluster := make([]string, n)
	for i := range n {
		f.nats, cluster[i] = append(f.nats, freeAddr()), freeAddr()
	}
	for i := range n {
		name := fmt.Sprintf("nats-%d", i+1)
		env := []string{"NATS_NAME=" + name, "NATS_LISTEN=" + quote(f.nats[i]), "NATS_CLUSTER=" + quote(cluster[i]), "NATS_SYNC=" + quote("1s"),
			"NATS_ADVERTISE=" + quote(freeAddr()), // nobody learns of another way
			"NATS_DATA=" + quote(filepath.Join(f.dir, name)), "SLUICE_NATS_PASSWORD=" + password, "ACME_KEY=" + tenantKey}
		for k := 1; k < n; k++ {
			peer := (i + k) % n
			at, err := f.way(name, fmt.Sprintf("nats-%d", peer+1), cluster[peer])
			if err != nil {
				return err
			}
			env = append(env, fmt.Sprintf("NATS_PEER_%d=%s", k, quote("nats://"+at)))
		}
		if err := f.add(kindNATS, name, []string{f.bin.NATSServer, "-c", f.bin.NATSConfig}, env...).start(); err != nil {
			return err
		}
	}
	return nil
}

// startOneNATS starts a server that is no cluster, with the same accounts.
func (f *Fleet) startOneNATS() error {
	f.nats = []string{freeAddr()}
	conf := filepath.Join(f.dir, "nats.conf")
	text, err := os.ReadFile(filepath.Join(filepath.Dir(f.bin.NATSConfig), "accounts.conf.example"))
	if err != nil {
		return err
	}
	text = fmt.Appendf(text, "\nlisten: %q\nmax_payload: 8MB\nmax_pending: 256MB\njetstream { store_dir: %q, sync_interval: \"1s\" }\n",
		f.nats[0], filepath.Join(f.dir, "nats-1"))
	if err := os.WriteFile(conf, text, 0o600); err != nil {
		return err
	}
	return f.add(kindNATS, "nats-1", []string{f.bin.NATSServer, "-c", conf}, "SLUICE_NATS_PASSWORD="+password, "ACME_KEY="+tenantKey).start()
}

// quote makes a value of an environment variable a string to nats-server.
func quote(s string) string { return `"` + s + `"` }

// freeAddr is an address on loopback that was free a moment ago.
func freeAddr() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "127.0.0.1:0"
	}
	defer func() { _ = l.Close() }() // nobody has connected
	return l.Addr().String()
}

// url is how the inner user reaches the NATS servers at the addresses.
func url(addrs []string) string {
	var out []string
	for _, a := range addrs {
		out = append(out, "nats://sluice:"+password+"@"+a)
	}
	return strings.Join(out, ",")
}

// connect opens an inner connection past every proxy.
func (f *Fleet) connect() (jetstream.JetStream, error) {
	nc, err := nats.Connect(url(f.nats), nats.MaxReconnects(-1), nats.ReconnectWait(100*time.Millisecond))
	if err != nil {
		return nil, err
	}
	return jetstream.New(nc)
}

// watch keeps what passes between queues in a file beside the logs, a line each,
// until stop is called: what the servers say of their streams and queues
// (leaders, messages removed unacknowledged), which messages of jobs and of what
// was queued again are acknowledged, and what is queued again.
func (f *Fleet) watch(nc *nats.Conn) (stop func(), err error) {
	file, err := os.OpenFile(filepath.Join(f.dir, "queues.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	note := func(m *nats.Msg) {
		said := m.Data
		if !strings.HasPrefix(m.Subject, "$") { // a body
			a, _ := wire.DecodeAssignment(m.Header) // a job is named, if it can be
			said = []byte(a.Meta.ID)
		}
		_, _ = fmt.Fprintf(file, "%s %s %s\n", time.Now().UTC().Format("15:04:05.000"), m.Subject, said) // for whoever looks into a failed run
	}
	var s wire.Subjects
	for _, subject := range []string{
		"$JS.EVENT.ADVISORY.STREAM.>", "$JS.EVENT.ADVISORY.CONSUMER.>", // not of requests: a hundred megabytes
		"$JS.ACK." + s.Stream(wire.StreamJobs) + ".>", "$JS.ACK." + s.Stream(wire.StreamSched) + ".>",
		s.Requeue("*", "*"), s.Sched("*", "*"),
	} {
		if _, err := nc.Subscribe(subject, note); err != nil {
			return nil, errors.Join(err, file.Close())
		}
	}
	return func() { _ = file.Close() }, nil // the connection closes next
}

// awaitNATS waits until the servers can make streams.
func (f *Fleet) awaitNATS(ctx context.Context) error {
	return until(ctx, time.Minute, "the NATS cluster", func() error {
		js, err := f.connect()
		if err != nil {
			return err
		}
		defer js.Conn().Close()
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		_, err = js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{Name: "READY", Subjects: []string{"fleet.ready"}, Replicas: f.shape.NATS})
		if err == nil {
			err = js.DeleteStream(ctx, "READY")
		}
		return err
	})
}

// startEngine starts ClickHouse as a process of its own.
func (f *Fleet) startEngine() error {
	lib, err := engine.Find()
	if err != nil {
		return err
	}
	f.engine = freeAddr()
	cfg := engine.Config{Lib: lib, Path: filepath.Join(f.dir, kindEngine), Listen: f.engine, Password: password}
	p := f.add(kindEngine, kindEngine, append(f.bin.Sluice[:len(f.bin.Sluice):len(f.bin.Sluice)], "engine"))
	if p.input, err = json.Marshal(cfg); err != nil {
		return err
	}
	return p.start()
}

// startRole starts `sluice serve` with its own ways to everything.
func (f *Fleet) startRole(ctx context.Context, kind string, n int, config string) error {
	name := fmt.Sprintf("%s-%d", kind, n)
	var servers []string
	for i, addr := range f.nats {
		at, err := f.way(name, fmt.Sprintf("nats-%d", i+1), addr)
		if err != nil {
			return err
		}
		servers = append(servers, at)
	}
	front := "127.0.0.1:0"
	if kind == kindGateway {
		front = freeAddr()
		f.http = front
	}
	text := fmt.Sprintf("nats: {url: %q, replicas: %d}\nhttp: {listen: %q}\ndata_dir: %s\n", url(servers), f.shape.NATS, front, filepath.Join(f.dir, name))
	ch := ""
	if f.engine != "" && (kind == kindIngest || kind == kindGateway) {
		at, form := f.engine, "http://default:%s@%s"
		if f.shape.Native != nil && kind == kindIngest {
			var err error
			if at, err = f.shape.Native(ctx, f.engine, password); err != nil {
				return err
			}
			form = "clickhouse://default:%s@%s?compress=lz4"
		}
		at, err := f.way(name, kindEngine, at)
		if err != nil {
			return err
		}
		ch = fmt.Sprintf("dsn: %q, ", fmt.Sprintf(form, password, at))
	}
	text += "clickhouse: {" + ch + "embedded: {enabled: false}}\n" + config
	for provider, addr := range f.addrs {
		if kind == kindWorker {
			var err error
			if addr, err = f.way(name, provider, addr); err != nil {
				return err
			}
		}
		text = strings.ReplaceAll(text, "{{"+provider+"}}", addr)
	}
	path := filepath.Join(f.dir, name+".yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return err
	}
	args := append(f.bin.Sluice[:len(f.bin.Sluice):len(f.bin.Sluice)], "serve", "--role", kind, "--config", path)
	return f.add(kind, name, args, "GOMAXPROCS=2").start()
}

func dsn(addr string) string { return "http://default:" + password + "@" + addr }

// client connects as the tenant, past every proxy, through any server.
func (f *Fleet) client(ctx context.Context) (*sdk.Client, error) {
	var servers []string
	for _, a := range f.nats {
		servers = append(servers, "nats://"+a)
	}
	return sdk.Dial(ctx, strings.Join(servers, ","), sdk.WithTenant(tenant), sdk.WithKey(tenantKey),
		sdk.WithNATS(nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond)))
}

// ready waits until there are streams and live workers of every pool.
func (f *Fleet) ready(ctx context.Context, js jetstream.JetStream, pools int) error {
	var subjects wire.Subjects
	return until(ctx, time.Minute, "the workers", func() error {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		s, err := js.Stream(ctx, subjects.Stream(wire.StreamWork))
		if err != nil {
			return err
		}
		if got := s.CachedInfo().State.Consumers; got < pools {
			return fmt.Errorf("%d of %d pools have a queue", got, pools)
		}
		return nil
	})
}

// openStore connects to ClickHouse past the proxies.
func (f *Fleet) openStore() (*store.Store, error) {
	return store.Open(store.Config{DSN: dsn(f.engine)})
}

// logs writes the ends of all logs, for a run that failed.
func (f *Fleet) logs(w io.Writer, n int) {
	for _, p := range f.all {
		fmt.Fprintf(w, "--- %s\n%s\n", p.Name, p.tail(n))
	}
}
