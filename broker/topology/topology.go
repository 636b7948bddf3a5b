package topology

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
)

// Config sizes the topology.
type Config struct {
	Subjects  wire.Subjects
	Replicas  int           // of every stream; default 1
	ChunksAge time.Duration // how long chunks can be read; default 1 h
	ChunksMax int64         // bytes of chunks kept; default 2 GiB
	JobsMax   int64         // bytes of queued jobs, beyond which submissions are refused; 0: no bound
	// CapturesAge is how long captures of decisions are kept, and what responses
	// in the background were asked with; default 24 h.
	CapturesAge time.Duration
	CapturesMax int64 // bytes of them; default 1 GiB
	TextsMax    int64 // bytes of texts that are not in ClickHouse yet; default wire.TextBacklog
	Pins        bool  // queues of streams without replicas are pinned, too (ledger.OpenQueue), from when the streams are made
}

// jobsAckWait is how long a router may hold a job without a sign of life.
const jobsAckWait = 30 * time.Second

// JobsHeld is the most jobs of one class and stream that all routers together
// hold in memory; the rest of the backlog stays in the stream.
const JobsHeld = 8192

// duplicates is the window in which a repeated Nats-Msg-Id is filtered. Only
// a publisher's own quick retry needs it (job identity does not), and each
// entry costs the server about 150 bytes.
const duplicates = 2 * time.Minute

// streams is the whole topology, in the order of creation.
func streams(c Config) []jetstream.StreamConfig {
	s := c.Subjects
	age := c.ChunksAge
	if age == 0 {
		age = time.Hour
	}
	chunks := c.ChunksMax
	if chunks == 0 {
		chunks = defaultChunks
	}
	var jobs []string
	for _, class := range wire.Classes() {
		jobs = append(jobs, s.Jobs("*", class))
	}
	jobs = append(jobs, s.BacklogAll())
	list := []jetstream.StreamConfig{
		{Name: s.Stream(wire.StreamJobs), Subjects: jobs,
			Retention: jetstream.WorkQueuePolicy, Discard: jetstream.DiscardNew, AllowDirect: true,
			AllowAtomicPublish: true, Duplicates: duplicates, MaxBytes: c.JobsMax},
		{Name: s.Stream(wire.StreamSched), Subjects: []string{s.Requeue("*", "*"), s.Sched("*", "*"), s.Cron("*", "*")},
			Retention: jetstream.WorkQueuePolicy, AllowDirect: true, AllowMsgSchedules: true, AllowMsgTTL: true, Duplicates: duplicates},
		{Name: s.Stream(wire.StreamWork), Subjects: []string{s.WorkAll()},
			Retention: jetstream.WorkQueuePolicy, Discard: jetstream.DiscardNew, AllowDirect: true, Duplicates: duplicates},
		{Name: s.Stream(wire.StreamLedger), Subjects: []string{s.Ledger("*", "*")}, AllowDirect: true, Duplicates: duplicates,
			SubjectTransform: &jetstream.SubjectTransformConfig{Source: s.Ledger("*", "*"), Destination: s.Records("$1", "$2")},
			RePublish:        &jetstream.RePublish{Source: s.Records("*", "*"), Destination: s.Records("$1", "$2")}},
		{Name: s.Stream(wire.StreamChunks), Subjects: []string{s.Chunks("*", "*")}, AllowDirect: true,
			MaxAge: age, MaxBytes: chunks, Duplicates: duplicates},
		{Name: s.Stream(wire.StreamHolds), Subjects: []string{s.Holds(), s.HoldsState()}, AllowDirect: true, Duplicates: duplicates},
		{Name: s.Stream(wire.StreamDead), Subjects: []string{s.Dead("*", "*")}, AllowDirect: true,
			MaxAge: 30 * 24 * time.Hour, MaxMsgsPerSubject: 1, Duplicates: duplicates},
		{Name: s.Stream(wire.StreamCaptures), Subjects: []string{s.Captures("*", "*")}, AllowDirect: true,
			MaxAge: captures(c), MaxBytes: cmp.Or(c.CapturesMax, capturesMax), Duplicates: duplicates},
		// One copy each until it is written, and no longer than it may be kept. What does not fit is dropped.
		{Name: s.Stream(wire.StreamTexts), Subjects: []string{s.TextsAll()}, AllowDirect: true, AllowMsgTTL: true,
			Discard: jetstream.DiscardNew, MaxBytes: cmp.Or(c.TextsMax, wire.TextBacklog), Duplicates: duplicates},
		{Name: s.Stream(wire.StreamBundles), Subjects: []string{s.Bundles("*", "*", "*")}, AllowDirect: true, Duplicates: duplicates},
		{Name: s.Stream(wire.StreamFiles), Subjects: []string{s.Files("*", "*")}, AllowDirect: true, Duplicates: duplicates},
	}
	for i := range list {
		if q := &list[i]; q.Retention == jetstream.WorkQueuePolicy {
			if c.Pins {
				q.Metadata = map[string]string{ledger.PinsKey: "always"}
			}
			if q.Name == s.Stream(wire.StreamWork) && (c.Pins || c.Replicas > 1) {
				q.Subjects = append(q.Subjects, s.Pins(wire.StreamWork)...)
			}
		}
	}
	return list
}

func captures(c Config) time.Duration { return cmp.Or(c.CapturesAge, 24*time.Hour) }

// capturesMax is the most bytes of captures that are kept.
const capturesMax = 1 << 30

const defaultChunks = 2 << 30

// Share divides a store among the streams that have a bound. Jobs get half of
// what the others leave, so that there is room to work off what was accepted
// when no more is.
func (c Config) Share(store int64) Config {
	if store > 0 {
		c.ChunksMax, c.CapturesMax, c.TextsMax = min(defaultChunks, store/8), min(capturesMax, store/8), min(wire.TextBacklog, store/16)
		c.JobsMax = (store - c.ChunksMax - c.CapturesMax - c.TextsMax) / 2
	}
	return c
}

// maxConsumers of each stream: pools and active batches on the work queues,
// readers on the others.
const maxConsumers = 65536

// PresenceTTL is how long a process counts as alive after its last sign.
const PresenceTTL = 15 * time.Second

// Ensure creates what is missing and updates what differs. It may be called
// by every process at start, also by many at once. What a cluster answers while
// it elects a leader, or does not answer, is asked again for a minute.
func Ensure(ctx context.Context, js jetstream.JetStream, c Config) error {
	for _, sc := range streams(c) {
		sc.Replicas = max(c.Replicas, 1)
		sc.Storage = jetstream.FileStorage
		// Above the server's default of 1,000: a pool or an active batch is a
		// consumer each.
		sc.MaxConsumers = maxConsumers
		if err := Persist(ctx, func(ctx context.Context) error { return ensureStream(ctx, js, sc) }); err != nil {
			return fmt.Errorf("stream %s: %w", sc.Name, err)
		}
	}
	for kind, subject := range keepers(c.Subjects) {
		if err := Persist(ctx, func(ctx context.Context) error { return keepBlock(ctx, js, c.Subjects.Stream(kind), subject) }); err != nil {
			return err
		}
	}
	for _, b := range []jetstream.KeyValueConfig{
		{Bucket: c.Subjects.Stream(wire.BucketNodes), TTL: PresenceTTL, Description: "processes that are alive"},
		{Bucket: c.Subjects.Stream(wire.BucketPools), Description: "pools that are drained"},
		{Bucket: c.Subjects.Stream(wire.BucketBatches), Description: "files and batches", LimitMarkerTTL: time.Minute},
		{Bucket: c.Subjects.Stream(wire.BucketBundles), Description: "bundles at providers' batch APIs", LimitMarkerTTL: time.Minute},
		{Bucket: c.Subjects.Stream(wire.BucketResponses), TTL: captures(c), Description: "what responses in the background were asked with"},
		{Bucket: c.Subjects.Stream(wire.BucketRoster), Description: "pools that were added while running"},
		{Bucket: c.Subjects.Stream(wire.BucketRollouts), Description: "how far each rollout is"},
		{Bucket: c.Subjects.Stream(wire.BucketProbes), Description: "how the last probe of each pool ended"},
		{Bucket: c.Subjects.Stream(wire.BucketLimits), Description: "budgets set while running"},
		{Bucket: c.Subjects.Stream(wire.BucketQuality), Description: "reported quality of models, by pool", LimitMarkerTTL: time.Minute},
	} {
		b.Replicas, b.Storage = max(c.Replicas, 1), jetstream.FileStorage
		if err := Persist(ctx, func(ctx context.Context) error { return ensureBucket(ctx, js, b) }); err != nil {
			return fmt.Errorf("bucket %s: %w", b.Bucket, err)
		}
	}
	return nil
}

// ensureStream asks before it changes anything: a change goes through the
// cluster's leader, and one that comes while the stream is being made by
// another process gets no answer.
func ensureStream(ctx context.Context, js jetstream.JetStream, want jetstream.StreamConfig) error {
	s, err := js.Stream(ctx, want.Name)
	switch {
	case err == nil && equal(s.CachedInfo().Config, want):
		return nil
	case err == nil:
		_, err = js.UpdateStream(ctx, want)
	case errors.Is(err, jetstream.ErrStreamNotFound):
		_, err = js.CreateStream(ctx, want)
	}
	return err
}

// equal reports whether a stream is as wanted, in all that Sluice sets.
func equal(have, want jetstream.StreamConfig) bool {
	for _, n := range []*int64{&want.MaxMsgs, &want.MaxBytes, &want.MaxMsgsPerSubject} {
		if *n == 0 {
			*n = -1 // as the server says it
		}
	}
	if want.MaxMsgSize == 0 {
		want.MaxMsgSize = -1
	}
	// What the server fills in, or an operator may have chosen.
	want.Metadata, want.ConsumerLimits, want.Placement, want.Compression = have.Metadata, have.ConsumerLimits, have.Placement, have.Compression
	want.AllowRollup, want.DenyPurge, want.DenyDelete, want.AllowMsgTTL = have.AllowRollup, have.DenyPurge, have.DenyDelete, want.AllowMsgTTL || have.AllowMsgTTL
	return reflect.DeepEqual(have, want)
}

func ensureBucket(ctx context.Context, js jetstream.JetStream, want jetstream.KeyValueConfig) error {
	kv, err := js.KeyValue(ctx, want.Bucket)
	switch {
	case err == nil:
		st, err := kv.Status(ctx)
		if err != nil {
			return err
		}
		if b, ok := st.(*jetstream.KeyValueBucketStatus); ok && st.TTL() == want.TTL && b.StreamInfo().Config.Replicas == want.Replicas {
			return nil
		}
		_, err = js.UpdateKeyValue(ctx, want)
		return err
	case errors.Is(err, jetstream.ErrBucketNotFound):
		_, err = js.CreateKeyValue(ctx, want)
	}
	return err
}

// Messages is how many messages a stream holds, without those that are never
// taken: the one that keeps its block, and those that pin its queues.
func Messages(ctx context.Context, js jetstream.JetStream, s wire.Subjects, kind string) (n uint64, info *jetstream.StreamInfo, err error) {
	stream, err := js.Stream(ctx, s.Stream(kind))
	if err != nil {
		return 0, nil, err
	}
	kept, never := uint64(0), s.Pins(kind)
	if keeper := keepers(s)[kind]; keeper != "" {
		never = append(never, keeper)
	}
	for _, filter := range never {
		if info, err = stream.Info(ctx, jetstream.WithSubjectFilter(filter)); err != nil {
			return 0, nil, err
		}
		for _, n := range info.State.Subjects {
			kept += n
		}
	}
	if info == nil {
		info = stream.CachedInfo()
	}
	return info.State.Msgs - min(info.State.Msgs, kept), info, nil
}

// Source is a queue that routers take jobs from.
type Source struct {
	Class    wire.Class
	Consumer jetstream.Consumer
	subjects wire.Subjects
	kind     string
	filter   string
}

// Renew makes the source's consumer again if it is gone.
func (s Source) Renew(ctx context.Context, js jetstream.JetStream) (Source, error) {
	name := ClassQueue(s.Class)
	c, err := ledger.OpenQueue(ctx, js, s.subjects, s.kind, routerConsumer(name, s.filter))
	if err != nil {
		return s, fmt.Errorf("consumer %s: %w", name, err)
	}
	s.Consumer = c
	return s, nil
}

// Sources creates the routers' consumers, the most urgent class first, and for
// each class what was requeued before what is new.
func Sources(ctx context.Context, js jetstream.JetStream, s wire.Subjects) ([]Source, error) {
	var out []Source
	for _, class := range wire.Classes() {
		for _, q := range []struct{ stream, filter string }{
			{wire.StreamSched, s.Requeue("*", class)},
			{wire.StreamJobs, s.Jobs("*", class)},
		} {
			src, err := Source{Class: class, subjects: s, kind: q.stream, filter: q.filter}.Renew(ctx, js)
			if err != nil {
				return nil, fmt.Errorf("queue of class %s on %s: %w", class, q.stream, err)
			}
			out = append(out, src)
		}
	}
	return out, nil
}

// routerConsumer is a queue that routers share.
func routerConsumer(name, filter string) jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{Durable: name, FilterSubject: filter, AckPolicy: jetstream.AckExplicitPolicy,
		AckWait: jobsAckWait, MaxAckPending: JobsHeld, MaxDeliver: -1, MaxWaiting: 512}
}

// lotThreshold is how long the consumer of parked jobs outlives its last
// reader.
const lotThreshold = 5 * time.Minute

// Backlog creates the routers' consumer for the parked jobs of a class and
// route.
func Backlog(ctx context.Context, js jetstream.JetStream, s wire.Subjects, class wire.Class, route string) (Source, error) {
	cc := routerConsumer(BacklogQueue(class, route), "")
	cc.FilterSubjects = []string{s.Backlog(class, route, "*"), s.Backlog(class, route, "")}
	cc.InactiveThreshold = lotThreshold
	c, err := ledger.OpenQueue(ctx, js, s, wire.StreamJobs, cc)
	if err != nil {
		return Source{}, fmt.Errorf("consumer of parked jobs of %s: %w", route, err)
	}
	return Source{Class: class, Consumer: c}, nil
}

// ClassQueue is the consumer of the new, and of the requeued, jobs of a class.
func ClassQueue(class wire.Class) string { return "router_" + string(class) }

// BacklogQueue is the consumer of the parked jobs of a class and route.
func BacklogQueue(class wire.Class, route string) string {
	return "backlog_" + string(class) + "_" + wire.Token(route)
}

// Waiting counts what a queue stream holds by subject, of those that the
// filter matches.
func Waiting(ctx context.Context, js jetstream.JetStream, stream, filter string) (map[string]uint64, error) {
	st, err := js.Stream(ctx, stream)
	if err != nil {
		return nil, err
	}
	info, err := st.Info(ctx, jetstream.WithSubjectFilter(filter))
	if err != nil {
		return nil, err
	}
	return info.State.Subjects, nil
}

// ResetQueues drops the delivery state of all queues, so that everything still
// in them is delivered again, at once. Only for a moment when no other process
// works on them; fences make a wrong guess harmless.
func ResetQueues(ctx context.Context, js jetstream.JetStream, s wire.Subjects) error {
	for _, kind := range []string{wire.StreamJobs, wire.StreamSched, wire.StreamWork} {
		stream, err := js.Stream(ctx, s.Stream(kind))
		if err != nil {
			return fmt.Errorf("reset queues: %w", err)
		}
		names := stream.ConsumerNames(ctx)
		var all []string
		for name := range names.Name() {
			all = append(all, name)
		}
		if err := names.Err(); err != nil {
			return fmt.Errorf("reset queues: %w", err)
		}
		for _, name := range all {
			err := stream.DeleteConsumer(ctx, name)
			if err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
				return fmt.Errorf("reset queue %s: %w", name, err)
			}
		}
	}
	return nil
}
