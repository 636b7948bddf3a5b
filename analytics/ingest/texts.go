package ingest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/analytics/store"
	"github.com/sluicehq/sluice/sdk/wire"
)

// Bounds of one insert of texts, and how long a text waits for company.
const (
	textsMost  = 200
	textsBytes = 8 << 20
	textsWait  = 2 // flush intervals
)

// shortenInterval is how often what tenants keep is compared with how long they
// want to.
const shortenInterval = time.Hour

// texts carries texts from their stream into the table texts, until ctx or held
// ends. What is written is purged from the stream, so that the stream is what is
// not: a session begins with its first message, and a crash between the two
// makes rows come again, which the table has and the store leaves out. An order
// to forget stands in the stream among them, so it is for what came before it.
func (in *Ingester) texts(ctx, held context.Context) {
	in.carry(ctx, held, "texts are not written yet, and tried again", func(ctx, held context.Context, retry *backoff) error {
		s := &textSession{in: in, retry: retry}
		return s.run(ctx, held)
	})
}

// textSession reads the stream from its first message to a failure or the end.
type textSession struct {
	in     *Ingester
	retry  *backoff
	stream jetstream.Stream

	rows   []store.Text
	forget *wire.Text // behind the rows; nil: none
	bytes  int
	last   uint64    // sequence of what was read last
	reads  uint64    // the consumer's number of it
	looked time.Time // at how long texts are kept
}

// errGap means that a message did not arrive.
var errGap = errors.New("texts were lost on their way from the stream")

func (s *textSession) run(ctx, held context.Context) (err error) {
	js, name := s.in.cfg.JS, s.in.cfg.Subjects.Stream(wire.StreamTexts)
	if s.stream, err = js.Stream(ctx, name); err != nil {
		return err
	}
	if err := s.shorten(held); err != nil {
		return err
	}
	consumer, err := js.CreateConsumer(ctx, name, jetstream.ConsumerConfig{Description: "ingester", AckPolicy: jetstream.AckNonePolicy,
		MemoryStorage: true, Replicas: 1, InactiveThreshold: time.Minute})
	if err != nil {
		return err
	}
	defer func() { // or its InactiveThreshold removes it
		ctx, cancel := context.WithTimeout(held, time.Second)
		defer cancel()
		_ = js.DeleteConsumer(ctx, name, consumer.CachedInfo().Name)
	}()
	messages, err := consumer.Messages(jetstream.PullMaxMessagesWithBytesLimit(textsMost, textsBytes+wire.MaxPayload))
	if err != nil {
		return err
	}
	defer messages.Stop()
	defer context.AfterFunc(ctx, messages.Stop)()
	for {
		err := s.collect(messages)
		if werr := s.write(held); werr != nil {
			return werr
		}
		if err != nil {
			return err
		}
		if time.Since(s.looked) >= shortenInterval {
			if err := s.shorten(held); err != nil {
				return err
			}
		}
	}
}

// collect waits for a text, and a little longer for others.
func (s *textSession) collect(messages jetstream.MessagesContext) error {
	until := time.Now().Add(shortenInterval)
	for len(s.rows) < textsMost && s.bytes < textsBytes && s.forget == nil {
		m, err := messages.Next(jetstream.NextMaxWait(max(time.Until(until), time.Millisecond)))
		if errors.Is(err, nats.ErrTimeout) {
			return nil
		}
		if err != nil {
			return err
		}
		if s.last == 0 {
			until = time.Now().Add(textsWait * s.in.cfg.FlushInterval)
		}
		if err := s.add(m); err != nil {
			return err
		}
	}
	return nil
}

func (s *textSession) add(m jetstream.Msg) error {
	md, err := m.Metadata()
	if err != nil {
		return err
	}
	if md.Sequence.Consumer != s.reads+1 {
		return errGap
	}
	s.reads, s.last = md.Sequence.Consumer, md.Sequence.Stream
	t, err := wire.DecodeText(m.Data())
	switch {
	case err != nil:
		s.in.progress.undecodable.Add(1)
		s.in.log.Error("a text cannot be read and is passed over", "seq", s.last, "error", err)
	case t.Forget:
		s.forget = t
	default:
		s.rows = append(s.rows, store.Text{Seq: s.last, TS: md.Timestamp, Text: *t})
		s.bytes += len(m.Data())
	}
	return nil
}

// write inserts the rows, then forgets what is to be, and then lets the stream
// forget both.
func (s *textSession) write(ctx context.Context) error {
	if s.last == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.in.cfg.InsertTimeout)
	defer cancel()
	added, err := s.in.cfg.Store.InsertTexts(ctx, s.rows)
	s.in.progress.texts.Add(uint64(added))
	if err != nil {
		return err
	}
	if f := s.forget; f != nil {
		if err := s.in.cfg.Store.ForgetTexts(ctx, f.Tenant, f.Job); err != nil {
			return err
		}
		s.in.log.Info("texts deleted on request", "tenant", f.Tenant, "job", f.Job)
	}
	if err := s.stream.Purge(ctx, jetstream.WithPurgeSequence(s.last+1)); err != nil {
		return fmt.Errorf("purge written texts: %w", err)
	}
	clear(s.rows)
	s.rows, s.forget, s.bytes, s.last = s.rows[:0], nil, 0, 0
	s.retry.reset()
	return nil
}

// shorten has what is kept already go when its tenant now wants it to, where
// that is earlier.
func (s *textSession) shorten(ctx context.Context) error {
	s.looked = time.Now()
	if s.in.cfg.TextsKept == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.in.cfg.InsertTimeout)
	defer cancel()
	for tenant, keep := range s.in.cfg.TextsKept() {
		if err := s.in.cfg.Store.ShortenTexts(ctx, tenant, keep); err != nil {
			return err
		}
	}
	return nil
}
