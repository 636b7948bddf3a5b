package webhook

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/sdk/wire"
)

// Event is the body of a delivery.
type Event struct {
	Type      string `json:"type"`      // job.succeeded, job.failed, job.cancelled or job.expired
	Timestamp string `json:"timestamp"` // RFC 3339: when the job ended
	Data      Data   `json:"data"`
}

// Data is what is told of a job. Result is its answer, or the error object, as
// the job's record has it.
type Data struct {
	Job      string            `json:"job_id"`
	Tenant   string            `json:"tenant"`
	Status   wire.Status       `json:"status"`
	Endpoint wire.Endpoint     `json:"endpoint"`
	Route    string            `json:"route"`
	Batch    string            `json:"batch_id,omitempty"`
	Labels   map[string]string `json:"labels,omitempty"`
	Attempts int               `json:"attempts"`
	Cost     *wire.NanoUSD     `json:"cost_nano_usd,omitempty"` // absent: unknown
	Error    wire.Code         `json:"error_code,omitempty"`
	Result   json.RawMessage   `json:"result,omitempty"`
}

// headerURL is where a stored delivery goes.
const headerURL = wire.HeaderWebhook

// collect stores a delivery for a terminal record whose job asks for one. The
// ledger is long, and most of it is nobody's business here: that is seen
// without decoding.
func (s *Service) collect(ctx context.Context, m jetstream.Msg) {
	h := m.Headers()
	if !wire.Status(h.Get(wire.HeaderStatus)).Terminal() || !strings.Contains(h.Get(wire.HeaderEntry), `"wh":`) {
		_ = m.Ack() // lost: it comes again, with the same end
		return
	}
	ctx, cancel := context.WithTimeout(ctx, ackWait/2)
	defer cancel()
	if err := s.store(ctx, m); err != nil {
		s.cfg.Logger.Warn("a webhook is not stored yet", "err", err)
		_ = m.NakWithDelay(time.Second) // lost: it comes again after the ack wait
		return
	}
	_ = m.Ack() // as above
}

// store puts the delivery into the queue, once for each job.
func (s *Service) store(ctx context.Context, m jetstream.Msg) error {
	tenant, job, ok := s.cfg.Subjects.SplitTenantJob(m.Subject())
	if !ok {
		return nil
	}
	last, err := s.ledger.Last(ctx, tenant, job) // with its body
	if err != nil {
		return err
	}
	if last == nil || !last.Status.Terminal() || last.Entry.Meta.Webhook == "" {
		return nil // purged, or the job has been taken up again
	}
	meta, p := &last.Entry.Meta, &last.Entry.Progress
	e := Event{Type: "job." + string(last.Status), Timestamp: last.At.UTC().Format(time.RFC3339Nano), Data: Data{
		Job: job, Tenant: tenant, Status: last.Status, Endpoint: meta.Endpoint, Route: meta.Route, Batch: meta.Batch, Labels: meta.Labels,
		Attempts: p.Attempts, Error: last.Entry.Error, Result: last.Body}}
	if !p.Unknown {
		e.Data.Cost = &p.Spent
	}
	body, err := json.Marshal(e)
	if err != nil || len(body) > wire.MaxPayload-(64<<10) {
		e.Data.Result = nil // no JSON, or too much of it: the record has it
		if body, err = json.Marshal(e); err != nil {
			return err
		}
	}
	id := idOf(tenant, job, last.Seq)
	_, err = s.cfg.JS.PublishMsg(ctx, &nats.Msg{Subject: s.cfg.Subjects.Webhook(tenant, job), Data: body,
		Header: nats.Header{headerURL: {meta.Webhook}, wire.HeaderMsgID: {id}}})
	return err
}
