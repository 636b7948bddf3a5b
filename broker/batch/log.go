package batch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/sdk/wire"
)

// errOvertaken says that another process writes the batch's log.
var errOvertaken = errors.New("another process owns the batch")

// results is the log of a batch's results, as its owner knows it.
type results struct {
	s          *Store
	tenant, id string

	seq      uint64 // of the last commit, 0: none
	position uint64 // ledger sequence up to which was folded
	tally    Tally
	done     bitmap
}

// openLog reads what the log holds. A log without a commit starts at the
// ledger sequence start.
func (s *Store) openLog(ctx context.Context, m *Manifest) (*results, error) {
	l := &results{s: s, tenant: m.Tenant, id: m.ID, position: m.Start}
	subject := s.subjects.Files(m.Tenant, m.ID)
	stream, err := s.js.Stream(ctx, s.subjects.Stream(wire.StreamFiles))
	if err != nil {
		return nil, fmt.Errorf("read the results: %w", err)
	}
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(subject))
	if err != nil {
		return nil, fmt.Errorf("read the results: %w", err)
	}
	n := info.State.Subjects[subject]
	if n == 0 {
		return l, nil
	}
	cons, err := stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{FilterSubjects: []string{subject}, HeadersOnly: true})
	if err != nil {
		return nil, fmt.Errorf("read the results: %w", err)
	}
	it, err := cons.Messages()
	if err != nil {
		return nil, fmt.Errorf("read the results: %w", err)
	}
	defer context.AfterFunc(ctx, it.Stop)()
	defer it.Stop()
	for range n {
		msg, err := it.Next()
		if err != nil {
			return nil, fmt.Errorf("read the results: %w", err)
		}
		if err := l.replay(msg); err != nil {
			return nil, err
		}
	}
	return l, nil
}

func (l *results) replay(msg jetstream.Msg) error {
	md, err := msg.Metadata()
	if err != nil {
		return fmt.Errorf("read the results: %w", err)
	}
	var c commit
	if err := json.Unmarshal([]byte(msg.Headers().Get(headerCommit)), &c); err != nil {
		return fmt.Errorf("commit %d: %w", md.Sequence.Stream, err)
	}
	l.seq, l.position, l.tally = md.Sequence.Stream, c.Position, c.Tally
	return unpackLines(c.Lines, l.done.add)
}

// commit appends what is pending. errOvertaken: the log has gone on without
// us. Any other error means that it may or may not have been written.
func (l *results) commit(ctx context.Context, p *pending) error {
	head, err := json.Marshal(commit{Position: p.position, Tally: p.tally, Lines: packLines(p.lines)})
	if err != nil {
		return err
	}
	msg := &nats.Msg{Subject: l.s.subjects.Files(l.tenant, l.id), Data: append(p.out, p.errs...), Header: nats.Header{
		headerCommit:            {string(head)},
		headerSplit:             {strconv.Itoa(len(p.out))},
		wire.HeaderExpectedLast: {strconv.FormatUint(l.seq, 10)},
	}}
	f, err := l.s.pub.Publish(msg)
	if err != nil {
		return fmt.Errorf("store results: %w", err)
	}
	seq, err := await(ctx, f)
	if err != nil {
		if strings.Contains(err.Error(), "(10071)") || strings.Contains(err.Error(), "(10164)") {
			return errOvertaken
		}
		return fmt.Errorf("store results: %w", err)
	}
	l.seq, l.position, l.tally = seq, p.position, p.tally
	for _, n := range p.lines {
		l.done.add(n)
	}
	return nil
}
