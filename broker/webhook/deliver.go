package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/broker/peek"
	"github.com/sluicehq/sluice/sdk/wire"
)

// Delivery is a line of the delivery log.
type Delivery struct {
	At     string `json:"at"` // RFC 3339
	Tenant string `json:"tenant"`
	Job    string `json:"job_id"`
	ID     string `json:"webhook_id"`
	Host   string `json:"host"`
	Status int    `json:"http_status,omitempty"` // 0: no answer
	MS     int64  `json:"latency_ms"`
	// Outcome is delivered, later (it will be tried again) or given_up.
	Outcome string `json:"outcome"`
	Error   string `json:"error,omitempty"`
	Next    string `json:"next,omitempty"` // RFC 3339: when it is tried again
}

// The first and the longest pause between two tries.
const (
	firstPause   = 5 * time.Second
	longestPause = time.Hour
	hostPause    = time.Second // while the host has all the deliveries it may
)

// pauseAfter is how long to wait with the next try of a delivery of an age:
// it doubles each time, and no two endpoints are called in step.
func pauseAfter(age time.Duration, chance float64) time.Duration {
	d := min(max(age, firstPause), longestPause)
	return d + time.Duration(chance*0.2*float64(d))
}

// deliver tries one delivery.
func (s *Service) deliver(ctx context.Context, m jetstream.Msg) {
	tenant, job, ok := s.cfg.Subjects.SplitTenantJob(m.Subject())
	meta, err := m.Metadata()
	target, perr := url.Parse(m.Headers().Get(headerURL))
	if !ok || err != nil || perr != nil {
		_ = m.Term() // nothing that we have stored: lost, it comes again
		return
	}
	if !s.enter(target.Host) {
		_ = m.NakWithDelay(hostPause) // lost: it comes again after the ack wait
		return
	}
	defer s.leave(target.Host)
	began := time.Now()
	d := Delivery{At: began.UTC().Format(time.RFC3339Nano), Tenant: tenant, Job: job, ID: m.Headers().Get(wire.HeaderMsgID), Host: target.Hostname(), Outcome: "delivered"}
	d.Status, err = s.call(ctx, target, &d, string(m.Data()))
	d.MS = time.Since(began).Milliseconds()
	age := began.Sub(meta.Timestamp)
	switch pause := pauseAfter(age, rand.Float64()); {
	case err == nil:
		_ = m.DoubleAck(ctx) // lost: it is delivered again, under the same ID
	case d.Status == http.StatusGone || age+pause > s.cfg.RetryFor:
		d.Outcome, d.Error = "given_up", err.Error()
		s.cfg.Logger.Warn("a webhook is given up", "tenant", tenant, "job", job, "status", d.Status)
		_ = m.DoubleAck(ctx) // lost: it is tried once more
	default:
		d.Outcome, d.Error = "later", err.Error()
		d.Next = time.Now().Add(pause).UTC().Format(time.RFC3339)
		_ = m.NakWithDelay(pause) // lost: it comes again after the ack wait
	}
	s.note(ctx, &d)
}

// call makes one HTTP request; anything but 2xx is an error.
func (s *Service) call(ctx context.Context, target *url.URL, d *Delivery, body string) (status int, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target.String(), strings.NewReader(body))
	if err != nil {
		return 0, errors.New("the URL cannot be called")
	}
	now := time.Now()
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "sluice")
	req.Header.Set(headerID, d.ID)
	req.Header.Set(headerTimestamp, strconv.FormatInt(now.Unix(), 10))
	req.Header.Set(headerSignature, sign(keyOf(s.cfg.Secret, d.Tenant), d.ID, now, body))
	transport := s.cfg.Transport
	if d.Tenant == wire.AlertsTenant {
		transport = s.cfg.Operator
	}
	res, err := transport.RoundTrip(req) // follows no redirects (I2)
	if err != nil {
		return 0, reason(err)
	}
	defer func() { _ = res.Body.Close() }()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 64<<10)) // so that the connection may be used again
	if res.StatusCode/100 != 2 {
		return res.StatusCode, fmt.Errorf("answered %d", res.StatusCode)
	}
	return res.StatusCode, nil
}

// reason says why a call failed, without the URL (I3).
func reason(err error) error {
	switch {
	case errors.Is(err, errPrivate):
		return errPrivate
	case errors.Is(err, context.DeadlineExceeded):
		return errors.New("no answer in time")
	}
	return errors.New("no connection, or it broke off")
}

// note writes a line of the log. That one is missing is no reason to deliver
// again.
func (s *Service) note(ctx context.Context, d *Delivery) {
	b, err := json.Marshal(d)
	if err == nil {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		_, err = s.cfg.JS.PublishMsg(ctx, &nats.Msg{Subject: s.cfg.Subjects.WebhookLog(d.Tenant, d.Job), Data: b})
	}
	if err != nil {
		s.cfg.Logger.Warn("a webhook's delivery is not in the log", "tenant", d.Tenant, "job", d.Job, "err", err)
	}
}

// Deliveries are the newest lines of the log, newest first: of a tenant ("":
// all), and of a job if one is named.
func (s *Service) Deliveries(ctx context.Context, tenant, job string, limit int) ([]Delivery, error) {
	if tenant == "" {
		tenant = "*"
	}
	if job == "" {
		job = "*"
	}
	ring := make([]Delivery, 0, limit)
	n := 0
	w := peek.Walk{Conn: s.cfg.JS.Conn(), Stream: s.cfg.Subjects.Stream(wire.StreamWebhookLog), Subject: s.cfg.Subjects.WebhookLog(tenant, job),
		Batch: 1000, Bytes: 1 << 20}
	_, err := w.Run(ctx, func(m peek.Message) {
		var d Delivery
		if json.Unmarshal(m.Data, &d) != nil {
			return
		}
		if len(ring) < limit {
			ring = append(ring, d)
		} else {
			ring[n%limit] = d
		}
		n++
	}, func() bool { return false })
	out := make([]Delivery, 0, len(ring))
	for i := range ring {
		out = append(out, ring[((n-1-i)%limit+limit)%limit])
	}
	return out, err
}

func (s *Service) enter(host string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hosts[host] >= s.cfg.PerHost {
		return false
	}
	s.hosts[host]++
	return true
}

func (s *Service) leave(host string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hosts[host]--; s.hosts[host] == 0 {
		delete(s.hosts, host)
	}
}

// Log is the newest lines of the log as a JSON object, for administrators.
func (s *Service) Log(ctx context.Context, tenant, job string, limit int) ([]byte, error) {
	list, err := s.Deliveries(ctx, tenant, job, limit)
	if err != nil {
		return nil, err
	}
	return json.Marshal(map[string]any{"deliveries": list})
}
