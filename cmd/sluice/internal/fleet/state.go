package fleet

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/sluicehq/sluice/broker/topology"
	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
)

// leader is the name of the NATS server that leads a stream, empty if nobody
// knows.
func (f *Fleet) leader(stream string) string {
	js, err := f.connect()
	if err != nil {
		return ""
	}
	defer js.Conn().Close()
	m, err := js.Conn().Request("$JS.API.STREAM.INFO."+stream, nil, time.Second)
	if err != nil {
		return ""
	}
	var info struct {
		Cluster struct {
			Leader string `json:"leader"`
		} `json:"cluster"`
	}
	if json.Unmarshal(m.Data, &info) != nil {
		return ""
	}
	return info.Cluster.Leader
}

// leftovers says what is left in the queues: a message or a slot that nobody
// gives back. Empty: nothing.
func leftovers(ctx context.Context, js jetstream.JetStream) ([]string, error) {
	var subjects wire.Subjects
	var out []string
	for _, kind := range []string{wire.StreamJobs, wire.StreamWork, wire.StreamSched} {
		stream, err := js.Stream(ctx, subjects.Stream(kind))
		if err != nil {
			return nil, err
		}
		n, _, err := topology.Messages(ctx, js, subjects, kind)
		if err != nil {
			return nil, err
		}
		if n > 0 {
			out = append(out, fmt.Sprintf("%d messages in %s", n, subjects.Stream(kind)))
		}
		list := stream.ListConsumers(ctx)
		for c := range list.Info() {
			if n := ledger.Taken(c); n > 0 {
				out = append(out, fmt.Sprintf("%d slots taken in queue %s of %s", n, c.Name, c.Stream))
			}
			if c.NumPending > 0 && c.Config.FilterSubject != "" {
				out = append(out, fmt.Sprintf("%d messages wait in queue %s of %s", c.NumPending, c.Name, c.Stream))
			}
		}
		if err := list.Err(); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// autopsy writes what the queues look like to log, and has the routers and
// workers write the stacks of their goroutines to their own logs and end.
func (f *Fleet) autopsy(ctx context.Context, js jetstream.JetStream, accepted map[string]bool, log io.Writer) {
	var subjects wire.Subjects
	for _, kind := range []string{wire.StreamJobs, wire.StreamWork, wire.StreamSched} {
		stream, err := js.Stream(ctx, subjects.Stream(kind))
		if err != nil {
			fmt.Fprintln(log, kind, err)
			continue
		}
		fmt.Fprintf(log, "%s led by %s: %+v\n", kind, f.leader(subjects.Stream(kind)), stream.CachedInfo().State)
		list := stream.ListConsumers(ctx)
		for c := range list.Info() {
			fmt.Fprintf(log, "  %s: delivered %d, ack floor %d, ack pending %d, redelivered %d, pending %d, waiting pulls %d, cluster %+v\n", c.Name,
				c.Delivered.Stream, c.AckFloor.Stream, c.NumAckPending, c.NumRedelivered, c.NumPending, c.NumWaiting, c.Cluster)
		}
	}
	ask := func(subject string) []byte {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		m, err := js.Conn().RequestWithContext(ctx, subject, nil)
		if err != nil {
			return []byte(err.Error())
		}
		return m.Data
	}
	fmt.Fprintf(log, "pools: %s\n", ask(subjects.Admin("pools")))
	shown := 0
	for job := range accepted {
		var a wire.Answer
		b := ask(subjects.Status(tenant, job))
		if json.Unmarshal(b, &a) == nil && a.Status.Terminal() {
			continue
		}
		fmt.Fprintf(log, "%s\n", b)
		if shown++; shown == 3 {
			break
		}
	}
	for _, kind := range []string{kindRouter, kindWorker} {
		for _, p := range f.of(kind) {
			if !p.ended() {
				signal(p.cmd.Process, sigQuit)
			}
		}
	}
	_ = ledger.Pause(ctx, time.Second) // they write
}
