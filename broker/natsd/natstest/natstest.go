package natstest

import (
	"os"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server/ats"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/sluicehq/sluice/broker/natsd"
)

// Main runs the tests, with the server's clock started outside of any bubble:
// otherwise fake time stands still.
func Main(m *testing.M) {
	ats.Register()
	code := m.Run()
	ats.Unregister()
	os.Exit(code)
}

// JetStream starts a server on a folder, without streams, and connects to it.
func JetStream(t testing.TB, dir string) jetstream.JetStream {
	t.Helper()
	return Start(t, natsd.Config{DataDir: dir, Sync: time.Second})
}

// Start starts a server as configured, without streams, and connects to it.
func Start(t testing.TB, cfg natsd.Config) jetstream.JetStream {
	t.Helper()
	srv, err := natsd.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Stop)
	nc, err := srv.Connect("test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}
