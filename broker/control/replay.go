package control

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
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
	wanted := func(m *nats.Msg) []*nats.Msg { return []*nats.Msg{m} }
	switch req.Of {
	case "", wire.ReplayChunks:
		w.Stream, w.Subject, wanted = s.Stream(wire.StreamChunks), s.Chunks(tenant, job), from(&req)
	case wire.ReplayRecords:
		w.Stream, w.Subject = s.Stream(wire.StreamLedger), s.Records(tenant, job)
	default:
		return refuse(wire.CodeInvalidRequest, "of must be %q or %q", wire.ReplayChunks, wire.ReplayRecords)
	}
	end := &wire.ReplayEnd{Seq: req.After}
	var failed error
	full := false // of events that are stored together
	more, err := w.Run(ctx, func(stored peek.Message) {
		if full = full || end.Messages >= most; full || failed != nil {
			return
		}
		end.Seq = stored.Seq
		for _, out := range wanted(stored.Msg) {
			if failed = nc.PublishMsg(&nats.Msg{Subject: m.Reply, Header: contract(out.Header), Data: out.Data}); failed != nil {
				return
			}
			end.Messages++
		}
	}, func() bool { return end.Messages > 0 })
	if err != nil || failed != nil {
		end.Error = &wire.AnswerError{Code: wire.CodeUnavailable, Message: "the replay broke off, try again"}
		return end
	}
	end.More = more || full
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

// from gives the chunks of attempt from index on, and of the attempts after it:
// one message for each event, unless packed ones are asked for.
func from(req *wire.ReplayRequest) func(*nats.Msg) []*nats.Msg {
	return func(m *nats.Msg) []*nats.Msg {
		a, err1 := strconv.Atoi(m.Header.Get(wire.HeaderAttempt))
		i, err2 := strconv.Atoi(m.Header.Get(wire.HeaderIndex))
		sizes := m.Header.Get(wire.HeaderSizes)
		first := 0 // of its events that is wanted
		if a == req.Attempt {
			first = max(req.Index-i, 0)
		}
		if err1 != nil || err2 != nil || a < req.Attempt || first >= wire.PackedEvents(sizes) {
			return nil
		}
		if sizes == "" || req.Packed {
			return []*nats.Msg{m}
		}
		return single(m, i, first, sizes)
	}
}

// single is a message for each event of a packed one, from its event first on.
func single(m *nats.Msg, index, first int, sizes string) (out []*nats.Msg) {
	events, ok := wire.UnpackEvents(sizes, m.Data)
	if !ok {
		return nil
	}
	for n := first; n < len(events); n++ {
		h := maps.Clone(m.Header)
		delete(h, wire.HeaderSizes)
		h[wire.HeaderIndex] = []string{strconv.Itoa(index + n)}
		if n < len(events)-1 {
			delete(h, wire.HeaderEnd)
		}
		out = append(out, &nats.Msg{Header: h, Data: events[n]})
	}
	return out
}
