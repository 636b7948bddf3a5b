package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/sluicehq/sluice/broker/natsd"
	"golang.org/x/sync/errgroup"
)

// hopAckers is how many double acknowledgements are under way at once.
const hopAckers = 64

// hopPublishers is how many publish at once where each waits for its
// acknowledgement.
const hopPublishers = 64

// Hop moves n messages of 1 KiB through one JetStream work queue in an
// embedded, in-process server with a file store, and returns how many a
// second: published with Nats-Msg-Id and acknowledged (64 publishers that each
// wait, or pipelined), consumed, double-acknowledged. It is the least that any
// durable queue on JetStream does, the reference for the whole path.
func Hop(ctx context.Context, n int, pipelined bool) (float64, error) {
	dir, err := os.MkdirTemp("", "sluice-hop-")
	if err != nil {
		return 0, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	srv, err := natsd.Start(natsd.Config{DataDir: dir, Sync: time.Second})
	if err != nil {
		return 0, err
	}
	defer srv.Stop()
	pub, err := hopConn(srv, "hop-publish")
	if err != nil {
		return 0, err
	}
	defer pub.Conn().Close()
	sub, err := hopConn(srv, "hop-consume")
	if err != nil {
		return 0, err
	}
	defer sub.Conn().Close()
	if _, err := pub.CreateStream(ctx, jetstream.StreamConfig{Name: "HOP", Subjects: []string{"hop"}, Retention: jetstream.WorkQueuePolicy}); err != nil {
		return 0, err
	}
	cons, err := sub.CreateConsumer(ctx, "HOP", jetstream.ConsumerConfig{Durable: "hop", AckPolicy: jetstream.AckExplicitPolicy, MaxAckPending: 4096})
	if err != nil {
		return 0, err
	}
	begin := time.Now()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := hopConsume(ctx, cons, n); err != nil {
			stop(err)
		}
	})
	err = hopPublish(ctx, pub, n, pipelined)
	if err != nil {
		stop(err)
	}
	wg.Wait()
	if err := context.Cause(ctx); err != nil {
		return 0, fmt.Errorf("one hop: %w", err)
	}
	return float64(n) / time.Since(begin).Seconds(), nil
}

func hopConn(srv *natsd.Server, name string) (jetstream.JetStream, error) {
	nc, err := srv.Connect(name, nats.InProcessServer(srv.Bare()))
	if err != nil {
		return nil, err
	}
	return jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(4096))
}

// hopPublish publishes n messages, each with an ID and a wait for its
// acknowledgement: one after the other by each of 64 publishers, or as many at
// once as the client library lets through.
func hopPublish(ctx context.Context, js jetstream.JetStream, n int, pipelined bool) error {
	body, run := Prompt(1024), uuid.NewString()
	message := func(i int) *nats.Msg {
		return &nats.Msg{Subject: "hop", Data: body, Header: nats.Header{"Nats-Msg-Id": {run + strconv.Itoa(i)}}}
	}
	if pipelined {
		return hopPipeline(js, n, message)
	}
	var next atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	for range hopPublishers {
		g.Go(func() error {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				if _, err := js.PublishMsg(ctx, message(i)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

func hopPipeline(js jetstream.JetStream, n int, message func(int) *nats.Msg) error {
	window := make(chan jetstream.PubAckFuture, 4000)
	var g errgroup.Group
	g.Go(func() error {
		var failed error
		for f := range window {
			select {
			case <-f.Ok():
			case failed = <-f.Err():
			}
		}
		return failed
	})
	var err error
	for i := 0; i < n && err == nil; i++ {
		var f jetstream.PubAckFuture
		if f, err = js.PublishMsgAsync(message(i)); err == nil {
			window <- f
		}
	}
	close(window)
	return errors.Join(err, g.Wait())
}

func hopConsume(ctx context.Context, cons jetstream.Consumer, n int) error {
	msgs := make(chan jetstream.Msg, hopAckers)
	done := make(chan error, 1)
	var left atomic.Int64
	left.Store(int64(n))
	var wg sync.WaitGroup
	for range hopAckers {
		wg.Go(func() {
			for m := range msgs {
				err := m.DoubleAck(ctx)
				if left.Add(-1) == 0 || err != nil {
					select {
					case done <- err:
					default:
					}
				}
			}
		})
	}
	cc, err := cons.Consume(func(m jetstream.Msg) { msgs <- m }, jetstream.PullMaxMessages(1000))
	if err == nil {
		select {
		case err = <-done:
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
		cc.Drain()
		<-cc.Closed()
	}
	close(msgs)
	wg.Wait()
	return err
}
