package app

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluicehq/sluice/analytics/store"
	"github.com/sluicehq/sluice/broker/gateway"
	"github.com/sluicehq/sluice/cmd/sluice/internal/config"
	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/sluicehq/sluice/workers/text"
)

// textPolicies are what is kept of each tenant's prompts and answers.
func textPolicies(cfg *config.Config) (map[string]*text.Policy, error) {
	out := map[string]*text.Policy{}
	for _, t := range cfg.Tenants {
		if t.Text == nil {
			continue
		}
		r, err := text.NewRedactor(t.Text.Rules())
		if err != nil {
			return nil, err
		}
		out[t.Name] = &text.Policy{Keep: t.Text.Keep, Share: t.Text.Share, MaxBytes: t.Text.MaxBytes, Redactor: r}
	}
	return out, nil
}

// textsKept is how long tenants keep texts, of those that do.
func (a *App) textsKept() map[string]time.Duration {
	out := map[string]time.Duration{}
	for _, t := range a.current().Tenants {
		if t.Text != nil {
			out[t.Name] = t.Text.Keep
		}
	}
	return out
}

// textMetrics are what GET /metrics shows of texts, of the parts that run in the
// gateway's process.
//
//	sluice_texts_kept_total, _bytes_total   by this process's worker, for the stream
//	sluice_texts_dropped_total{reason}      likewise: full, unavailable
//	sluice_texts_redactions_total{kind}     what was left out of them
//	sluice_texts_rows_total                 by this process's ingester, in ClickHouse
type textMetrics struct {
	app                                    *App
	kept, bytes, dropped, redactions, rows *prometheus.Desc
}

func newTextMetrics(a *App) *textMetrics {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("sluice_texts_"+name+"_total", help, labels, nil)
	}
	return &textMetrics{app: a, kept: desc("kept", "Attempts whose text this process has kept."),
		bytes:      desc("bytes", "Bytes of prompts and answers in them, redacted and cut."),
		dropped:    desc("dropped", "Attempts whose text this process has dropped: the stream was full, or unavailable.", "reason"),
		redactions: desc("redactions", "What this process has left out of texts, by kind.", "kind"),
		rows:       desc("rows", "Texts that this process has written into ClickHouse.")}
}

// Describe implements prometheus.Collector.
func (m *textMetrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.kept, m.bytes, m.dropped, m.redactions, m.rows} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (m *textMetrics) Collect(ch chan<- prometheus.Metric) {
	say := func(d *prometheus.Desc, n uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	if k := m.app.texts.Load(); k != nil {
		c := k.Counts()
		say(m.kept, c.Kept)
		say(m.bytes, c.Bytes)
		for reason, n := range c.Dropped {
			say(m.dropped, n, reason)
		}
		for kind, n := range c.Redacted {
			say(m.redactions, n, kind)
		}
	}
	rows := uint64(0)
	if in := m.app.ingester; in != nil {
		rows = in.Progress().Texts
	}
	say(m.rows, rows)
}

// texts answers a question for texts.
func (a *answers) texts(ctx context.Context, q gateway.TextsQuestion) (any, error) {
	sq := store.TextQuery{Tenant: q.Tenant, Job: q.Job, Since: q.Since, Until: q.Until, Limit: q.Limit}
	if q.Words != "" {
		sq.Words = []string{q.Words}
	}
	rows, err := a.store.Texts(ctx, sq)
	if errors.Is(err, store.ErrWords) {
		return nil, wire.Errorf(wire.CodeInvalidRequest, "words", "%v", store.ErrWords)
	}
	out := make([]store.TextJSON, len(rows))
	for i := range rows {
		out[i] = rows[i].JSON()
	}
	return map[string]any{"texts": out}, err
}
