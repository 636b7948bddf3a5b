//go:build unix

package natsd

import (
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// library is the server's own way into it.
type library struct{ *server.Server }

// BenchmarkInProcess is a request of 2 KiB and its small answer, which is what
// Sluice's parts do all day, over the server's own net.Pipe and over ours.
func BenchmarkInProcess(b *testing.B) {
	srv, err := server.NewServer(&server.Options{DontListen: true, NoSigs: true})
	if err != nil {
		b.Fatal(err)
	}
	srv.Start()
	defer srv.Shutdown()
	for name, how := range map[string]nats.InProcessConnProvider{"net.Pipe": library{srv}, "ours": &Server{srv: srv}} {
		b.Run(name, func(b *testing.B) {
			nc, err := nats.Connect("", nats.InProcessServer(how))
			if err != nil {
				b.Fatal(err)
			}
			defer nc.Close()
			if _, err := nc.Subscribe("x", func(m *nats.Msg) { _ = m.Respond([]byte("+ACK")) }); err != nil {
				b.Fatal(err)
			}
			body := make([]byte, 2048)
			var before, after syscall.Rusage
			_ = syscall.Getrusage(syscall.RUSAGE_SELF, &before)
			for b.Loop() {
				for range 4 {
					_ = nc.Publish("nobody", []byte("+ACK"))
				}
				if _, err := nc.Request("x", body, time.Minute); err != nil {
					b.Fatal(err)
				}
			}
			_ = syscall.Getrusage(syscall.RUSAGE_SELF, &after)
			cpu := after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano()
			b.ReportMetric(float64(cpu)/float64(b.N), "CPU-ns/op")
		})
	}
}
