package natsd_test

import (
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/broker/natsd"
	"github.com/sluicehq/sluice/broker/natsd/natstest"
	"github.com/sluicehq/sluice/broker/topology"
	"github.com/sluicehq/sluice/sdk/wire"
)

// BenchmarkSync is what a policy of syncs costs: jobs of 1 KiB into the jobs
// stream, until each is acknowledged. By one publisher and by 64 that wait for
// each acknowledgement, by one that sends 256 ahead, and in atomic batches of
// 256, which the server syncs once (`make bench-sync`).
func BenchmarkSync(b *testing.B) {
	for _, policy := range []struct {
		name string
		sync time.Duration // 0: always
	}{{"always", 0}, {"100ms", 100 * time.Millisecond}, {"1s", time.Second}, {"2m", 2 * time.Minute}} {
		for _, way := range []struct {
			name string
			run  func(*testing.B, jetstream.JetStream)
		}{{"one", func(b *testing.B, js jetstream.JetStream) { publishers(b, js, 1) }},
			{"64", func(b *testing.B, js jetstream.JetStream) { publishers(b, js, 64) }},
			{"ahead", ahead}, {"atomic", atomicBatches}} {
			b.Run("sync="+policy.name+"/publish="+way.name, func(b *testing.B) {
				js := natstest.Start(b, natsd.Config{DataDir: b.TempDir(), Sync: policy.sync})
				if err := topology.Ensure(b.Context(), js, topology.Config{}); err != nil {
					b.Fatal(err)
				}
				b.ResetTimer()
				way.run(b, js)
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "jobs/s")
			})
		}
	}
}

// syncJob is a job of 1 KiB.
func syncJob(header ...string) *nats.Msg {
	m := &nats.Msg{Subject: wire.Subjects{}.Jobs("acme", wire.Batch), Header: nats.Header{}, Data: make([]byte, 1024)}
	for i := 0; i < len(header); i += 2 {
		m.Header[header[i]] = []string{header[i+1]}
	}
	return m
}

func publishers(b *testing.B, js jetstream.JetStream, n int) {
	var left atomic.Int64
	left.Store(int64(b.N))
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			for left.Add(-1) >= 0 {
				if _, err := js.PublishMsg(b.Context(), syncJob()); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
}

// syncWindow is how many are sent ahead, and how many are in a batch.
const syncWindow = 256

func ahead(b *testing.B, js jetstream.JetStream) {
	var flight []jetstream.PubAckFuture
	settle := func() {
		select {
		case <-flight[0].Ok():
		case err := <-flight[0].Err():
			b.Fatal(err)
		}
		flight = flight[1:]
	}
	for range b.N {
		f, err := js.PublishMsgAsync(syncJob())
		if err != nil {
			b.Fatal(err)
		}
		if flight = append(flight, f); len(flight) == syncWindow {
			settle()
		}
	}
	for len(flight) > 0 {
		settle()
	}
}

func atomicBatches(b *testing.B, js jetstream.JetStream) {
	for sent := 0; sent < b.N; {
		size := min(syncWindow, b.N-sent)
		id := fmt.Sprint("b", sent)
		for i := 1; i < size; i++ {
			if err := js.Conn().PublishMsg(syncJob("Nats-Batch-Id", id, "Nats-Batch-Sequence", strconv.Itoa(i))); err != nil {
				b.Fatal(err)
			}
		}
		if _, err := js.PublishMsg(b.Context(), syncJob("Nats-Batch-Id", id, "Nats-Batch-Sequence", strconv.Itoa(size), "Nats-Batch-Commit", "1")); err != nil {
			b.Fatal(err)
		}
		sent += size
	}
	s, err := js.Stream(b.Context(), wire.Subjects{}.Stream(wire.StreamJobs))
	if err != nil {
		b.Fatal(err)
	}
	if n := s.CachedInfo().State.Msgs; n < uint64(b.N) {
		b.Fatalf("%d of %d jobs are stored", n, b.N)
	}
}
