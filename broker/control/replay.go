package control

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/sluicehq/sluice/broker/peek"
	"github.com/sluicehq/sluice/sdk/wire"
)

// replayMost and replayBytes bound one answer; a single message may be larger.
// Who wants more asks again, so a slow reader holds nothing up.
const (
	replayMost  = 256
	replayBytes = 1 << 20
)

// Replay answers one replay request: it sends what is stored to the reply
// subject, and then the end marker. A tenant reads that way, since a consumer
// of its own could deliver to any subject.
func Replay(ctx context.Context, nc *nats.Conn, s wire.Subjects, m *nats.Msg) error {
	if m.Reply == "" {
		return nil
	}
	end := replay(ctx, nc, s, m)
	b, err := json.Marshal(end)
	if err != nil {
		return err
	}
	return nc.PublishMsg(&nats.Msg{Subject: m.Reply, Data: b, Header: nats.Header{wire.HeaderMore: {strconv.FormatBool(end.More)}}})
}

func replay(ctx context.Context, nc *nats.Conn, s wire.Subjects, m *nats.Msg) *wire.ReplayEnd {
	refuse := func(code wire.Code, format string, args ...any) *wire.ReplayEnd {
		return &wire.ReplayEnd{Error: &wire.AnswerError{Code: code, Message: fmt.Sprintf(format, args...)}}
	}
	tenant, job, ok := s.SplitTenantJob(m.Subject)
	if !ok || !wire.ValidName(tenant) || !wire.ValidName(job) {
		return refuse(wire.CodeInvalidSubject, subjectFault)
	}
	var req wire.ReplayRequest
	if len(m.Data) > 0 {
		if err := json.Unmarshal(m.Data, &req); err != nil {
			return refuse(wire.CodeInvalidJSON, "the request must be a JSON object: %v", err)
		}
	}
	if req.Attempt < 0 || req.Index < 0 || req.Most < 0 {
		return refuse(wire.CodeInvalidRequest, "attempt, index and most must not be negative")
	}
	if req.After == math.MaxUint64 { // nothing is behind it
		return &wire.ReplayEnd{Seq: req.After}
	}
	most := replayMost
	if req.Most > 0 {
		most = min(req.Most, replayMost)
	}
	w := peek.Walk{Conn: nc, From: req.After + 1, Batch: most, Bytes: replayBytes / replayMost * most}
	wanted := func(*nats.Msg) bool { return true }
	switch req.Of {
	case "", wire.ReplayChunks:
		w.Stream, w.Subject, wanted = s.Stream(wire.StreamChunks), s.Chunks(tenant, job), from(req.Attempt, req.Index)
	case wire.ReplayRecords:
		w.Stream, w.Subject = s.Stream(wire.StreamLedger), s.Records(tenant, job)
	default:
		return refuse(wire.CodeInvalidRequest, "of must be %q or %q", wire.ReplayChunks, wire.ReplayRecords)
	}
	end := &wire.ReplayEnd{Seq: req.After}
	var failed error
	more, err := w.Run(ctx, func(stored peek.Message) {
		end.Seq = stored.Seq
		if failed != nil || !wanted(stored.Msg) {
			return
		}
		if failed = nc.PublishMsg(&nats.Msg{Subject: m.Reply, Header: contract(stored.Header), Data: stored.Data}); failed == nil {
			end.Messages++
		}
	}, func() bool { return end.Messages > 0 })
	if err != nil || failed != nil {
		end.Error = &wire.AnswerError{Code: wire.CodeUnavailable, Message: "the replay broke off, try again"}
		return end
	}
	end.More = more
	return end
}

// contract are the headers that belong to a stored message: not those that the
// server adds as it reads.
func contract(h nats.Header) nats.Header {
	out := nats.Header{}
	for k, v := range h {
		if strings.HasPrefix(k, "Sluice-") || k == wire.HeaderTrace || k == wire.HeaderState {
			out[k] = v
		}
	}
	return out
}

// from tells the chunks of attempt from index on, and of the attempts after
// it.
func from(attempt, index int) func(*nats.Msg) bool {
	return func(m *nats.Msg) bool {
		a, err := strconv.Atoi(m.Header.Get(wire.HeaderAttempt))
		if err != nil {
			return false
		}
		i, err := strconv.Atoi(m.Header.Get(wire.HeaderIndex))
		return err == nil && (a > attempt || a == attempt && i >= index)
	}
}
