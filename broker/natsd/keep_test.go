package natsd

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/sluicehq/sluice/broker/topology"
	"github.com/sluicehq/sluice/sdk/wire"
)

// kept is a server that is looked after, on a disk with as much room as said.
type kept struct {
	*Server
	t    *testing.T
	free atomic.Int64
	log  syncBuffer
}

func keep(t *testing.T, tenants ...Tenant) *kept {
	k := &kept{t: t}
	k.free.Store(1 << 40)
	var err error
	if k.Server, err = Start(Config{DataDir: t.TempDir(), Listen: "127.0.0.1:0", Sync: time.Second, Tenants: tenants,
		Logger: slog.New(slog.NewTextHandler(&k.log, nil))}); err != nil {
		t.Fatal(err)
	}
	k.disk = func(string) (int64, int64) { return k.free.Load(), 1 << 40 }
	k.keepEvery = 10 * time.Millisecond
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { k.Keep(ctx) })
	t.Cleanup(func() { cancel(); wg.Wait(); k.Stop() })
	return k
}

func (k *kept) until(what string, ok func() bool) {
	k.t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			k.t.Fatalf("not within a minute: %s\n%s", what, k.log.String())
		}
	}
}

// store publishes, and waits a second for the acknowledgement.
func store(ctx context.Context, js jetstream.JetStream, subject string, size int) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_, err := js.Publish(ctx, subject, make([]byte, size))
	return err
}

// TestKeep: a stream that could not be written makes the server start anew once
// there is room. Connections come back by themselves, tenants log in, and what
// was acknowledged is there.
func TestKeep(t *testing.T) {
	k := keep(t, both...)
	nc, err := k.Connect("test")
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if err := topology.Ensure(t.Context(), js, topology.Config{}); err != nil {
		t.Fatal(err)
	}
	tenant, err := nats.Connect("nats://"+k.Addr(), nats.UserInfo("acme", "acme-key"), nats.MaxReconnects(-1), nats.ReconnectWait(10*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	defer tenant.Close()
	var s wire.Subjects
	subject := s.Jobs("acme", wire.Batch)
	addr, limit := k.Addr(), k.MaxStore()

	// The folder of the stream's messages is taken away, so that the next block
	// of them cannot be made.
	folder := filepath.Join(k.opts.StoreDir, "jetstream", "$G", "streams", s.Stream(wire.StreamJobs), "msgs")
	acked := 0
	put := func() error {
		err := store(t.Context(), js, subject, 1<<20)
		if err == nil {
			acked++
		}
		return err
	}
	if err := put(); err != nil {
		t.Fatal(err)
	}
	k.free.Store(needLeast - 1)
	if err := os.Rename(folder, folder+".away"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(folder, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	k.until("a refusal", func() bool { return put() != nil })
	k.until("a fault", func() bool { return k.Fault() != nil })
	srv := k.running()
	time.Sleep(100 * time.Millisecond)
	if k.running() != srv {
		t.Fatal("it was started anew without room")
	}
	if err := put(); err == nil {
		t.Fatal("a message was acknowledged that cannot be stored")
	}
	if text := k.log.String(); !strings.Contains(text, "takes no jobs") || strings.Count(text, "starts anew once") != 1 {
		t.Errorf("the log says %s", text)
	}

	if err := os.Remove(folder); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(folder+".away", folder); err != nil {
		t.Fatal(err)
	}
	k.free.Store(1 << 40)
	k.until("the end of the fault", func() bool { return k.Fault() == nil })
	if k.Addr() != addr || k.MaxStore() != limit {
		t.Errorf("at %s with %d bytes, was at %s with %d", k.Addr(), k.MaxStore(), addr, limit)
	}
	had := acked
	k.until("an acknowledgement", func() bool { return put() == nil })
	st, err := js.Stream(t.Context(), s.Stream(wire.StreamJobs))
	if err != nil {
		t.Fatal(err)
	}
	info, err := st.Info(t.Context(), jetstream.WithSubjectFilter(subject))
	if err != nil {
		t.Fatal(err)
	}
	if n := int(info.State.Subjects[subject]); n < had+1 {
		t.Errorf("%d messages, %d were acknowledged before and one after", n, had)
	}
	k.until("a tenant's connection", func() bool { return tenant.IsConnected() })
	if _, err := nats.Connect("nats://"+addr, nats.UserInfo("acme", "other")); err == nil {
		t.Error("any key lets in")
	}
}

// TestKeepJetStreamOff: what turns JetStream off as a whole is healed as well,
// and tenants that changed meanwhile are known.
func TestKeepJetStreamOff(t *testing.T) {
	k := keep(t, both...)
	first := k.running()
	if err := first.ShutdownJetStream(); err != nil {
		t.Fatal(err)
	}
	if err := k.SetTenants([]Tenant{{Name: "third", Key: "third-key"}}); err != nil {
		t.Fatal(err)
	}
	k.until("another server", func() bool { return k.running() != first && k.Fault() == nil })
	for _, c := range []struct {
		name string
		ok   bool
	}{{"third", true}, {"acme", false}} {
		nc, err := nats.Connect("nats://"+k.Addr(), nats.UserInfo(c.name, c.name+"-key"))
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
		nc.Close()
	}
	last := k.running()
	time.Sleep(100 * time.Millisecond)
	if k.running() != last {
		t.Error("a healthy server was started anew")
	}
}

func TestSpace(t *testing.T) {
	for size, want := range map[int64]int64{0: 0, 96 << 20: needLeast, 64 << 30: needMost, 10 << 30: 160 << 20, 1 << 50: needMost} {
		s := &Server{disk: func(string) (int64, int64) { return size / 2, size }}
		if free, need := s.space(); need != want || free != size/2 {
			t.Errorf("of %d: %d free, needs %d, want %d", size, free, need, want)
		}
	}
}

// syncBuffer is a log that is read while it is written.
type syncBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

// Write implements io.Writer.
func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

// String implements fmt.Stringer.
func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
