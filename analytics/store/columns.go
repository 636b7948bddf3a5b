package store

import (
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/sluicehq/sluice/sdk/wire"
)

// attemptColumns are the stored columns of attempts, as migrations declare
// them. TestColumnsMatchTables holds the two together.
var attemptColumns = []column[Attempt]{
	{"seq", "UInt64", all(func(r *Attempt) uint64 { return r.Seq })},
	{"ts", typeTime, all(func(r *Attempt) time.Time { return r.TS })},
	{"job_id", "String", all(func(r *Attempt) string { return r.Job.ID })},
	{"attempt", "UInt16", all(func(r *Attempt) uint16 { return u16(r.Attempt.N) })},
	{"tenant", typeWord, each(func(r *Attempt) string { return r.Job.Tenant })},
	{"class", typeWord, each(func(r *Attempt) string { return string(r.Job.Class) })},
	{"endpoint", typeWord, each(func(r *Attempt) string { return string(r.Job.Endpoint) })},
	{"route", typeWord, each(func(r *Attempt) string { return r.Job.Route })},
	{"strategy", typeWord, each(func(r *Attempt) string { return r.Attempt.Strategy })},
	{"pool", typeWord, each(func(r *Attempt) string { return r.Attempt.Pool })},
	{"provider", typeWord, each(func(r *Attempt) string { return r.Attempt.Provider })},
	{"model", typeWord, each(func(r *Attempt) string { return r.Attempt.Model })},
	{"region", typeWord, each(func(r *Attempt) string { return r.Attempt.Region })},
	{"status", typeWord, each(attemptStatus)},
	{"error_code", typeWord, each(func(r *Attempt) string { return string(r.Attempt.ErrorCode) })},
	{"http_status", "UInt16", all(func(r *Attempt) uint16 { return u16(r.Attempt.HTTP) })},
	{"input_tokens", "UInt64", all(func(r *Attempt) uint64 { return u64(r.Attempt.Usage.Input) })},
	{"cache_read_tokens", "UInt64", all(func(r *Attempt) uint64 { return u64(r.Attempt.Usage.CacheRead) })},
	{"cache_write_tokens", "UInt64", all(func(r *Attempt) uint64 { return u64(r.Attempt.Usage.CacheWrite) })},
	{"output_tokens", "UInt64", all(func(r *Attempt) uint64 { return u64(r.Attempt.Usage.Output) })},
	{"reasoning_tokens", "UInt64", all(func(r *Attempt) uint64 { return u64(r.Attempt.Usage.Reasoning) })},
	{"usage_source", typeWord, each(func(r *Attempt) string { return string(r.Attempt.Source) })},
	{"cost_nano_usd", typeMoney, all(func(r *Attempt) *int64 { return nano(r.Attempt.Cost) })},
	{"price_version", typeWord, each(priceVersion)},
	{"queue_ms", "UInt32", all(func(r *Attempt) uint32 { return u32(r.Attempt.QueueMS) })},
	{"ttft_ms", "UInt32", all(func(r *Attempt) uint32 { return u32(r.Attempt.TTFTMS) })},
	{"latency_ms", "UInt32", all(func(r *Attempt) uint32 { return u32(r.Attempt.LatencyMS) })},
	{"batch_id", typeWord, each(func(r *Attempt) string { return r.Job.Batch })},
	{"experiment", typeWord, each(func(r *Attempt) string { return decision(r).Experiment })},
	{"variant", typeWord, each(func(r *Attempt) string { return decision(r).Variant })},
	{"labels", typeLabels, each(func(r *Attempt) map[string]string { return r.Job.Labels })},
	{"decision_route", typeWord, each(func(r *Attempt) string { return decision(r).Route })},
	{"rules", typeWords, words(func(d *wire.Decision) []string { return d.Rules })},
	{"rules_failed", typeWords, words(func(d *wire.Decision) []string { return d.Failed })},
	{"fallback", "UInt16", all(func(r *Attempt) uint16 { return u16(decision(r).Fallback) })},
	{"max_attempts", "UInt16", all(func(r *Attempt) uint16 { return u16(r.Attempt.MaxAttempts) })},
	{"max_output_tokens", "UInt64", all(func(r *Attempt) uint64 { return u64(r.Attempt.MaxTokens) })},
	{"shadow", typeWord, each(func(r *Attempt) string { return r.Job.Shadow })},
	{"decision_sequence", "UInt64", all(func(r *Attempt) uint64 { return decision(r).Sequence })},
	{"candidates.pool", typeWords, candidates(func(c *wire.Candidate) string { return c.Pool })},
	{"candidates.model", typeWords, candidates(func(c *wire.Candidate) string { return c.Model })},
	{"candidates.weight", "Array(UInt32)", candidates(func(c *wire.Candidate) uint32 { return u32(int64(c.Weight)) })},
	{"candidates.depth", "Array(UInt32)", candidates(func(c *wire.Candidate) uint32 { return u32(int64(c.Depth)) })},
	{"candidates.score", "Array(Float64)", candidates(func(c *wire.Candidate) float64 { return c.Score })},
	{"candidates.excluded", typeWords, candidates(func(c *wire.Candidate) string { return c.Excluded })},
}

// jobColumns are the stored columns of jobs.
var jobColumns = []column[Job]{
	{"seq", "UInt64", all(func(r *Job) uint64 { return r.Seq })},
	{"submitted_at", typeTime, all(func(r *Job) time.Time { return time.Unix(0, r.Job.SubmittedAt) })},
	{"finished_at", typeTime, all(func(r *Job) time.Time { return r.FinishedAt })},
	{"job_id", "String", all(func(r *Job) string { return r.Job.ID })},
	{"tenant", typeWord, each(func(r *Job) string { return r.Job.Tenant })},
	{"class", typeWord, each(func(r *Job) string { return string(r.Job.Class) })},
	{"route", typeWord, each(func(r *Job) string { return r.Job.Route })},
	{"status", typeWord, each(func(r *Job) string { return string(r.Status) })},
	{"error_code", typeWord, each(func(r *Job) string { return string(r.ErrorCode) })},
	{"attempts", "UInt16", all(func(r *Job) uint16 { return u16(r.Attempts) })},
	{"cost_nano_usd", typeMoney, all(func(r *Job) *int64 { return nano(r.Cost) })},
	{"wait_ms", "UInt32", all(func(r *Job) uint32 { return millis(r.Wait) })},
	{"total_ms", "UInt32", all(func(r *Job) uint32 { return millis(r.FinishedAt.Sub(time.Unix(0, r.Job.SubmittedAt))) })},
	{"body_bytes", "UInt32", all(func(r *Job) uint32 { return u32(int64(r.Job.BodyBytes)) })},
	{"max_tokens", "UInt32", all(func(r *Job) uint32 { return u32(r.Job.MaxTokens) })},
	{"user_region", typeWord, each(func(r *Job) string { return r.Job.Region })},
	{"needs", "UInt16", all(func(r *Job) uint16 { return u16(int(r.Job.Needs)) })},
	{"batch_id", typeWord, each(func(r *Job) string { return r.Job.Batch })},
	{"labels", typeLabels, each(func(r *Job) map[string]string { return r.Job.Labels })},
}

// attemptStatus is the status, and that of a shadow whose answer nobody was
// given: what it cost is waste, and counts for no job.
func attemptStatus(r *Attempt) string {
	if r.Job.Shadow != "" && r.Attempt.Status == wire.Succeeded {
		return statusShadow
	}
	return string(r.Attempt.Status)
}

const statusShadow = "shadow"

func priceVersion(r *Attempt) string {
	if r.Attempt.Price == nil {
		return ""
	}
	return r.Attempt.Price.Version
}

var noDecision wire.Decision // read only

func decision(r *Attempt) *wire.Decision {
	if r.Attempt.Decision == nil {
		return &noDecision
	}
	return r.Attempt.Decision
}

// words appends a list of words of the decision as an array.
func words(list func(*wire.Decision) []string) func(driver.BatchColumn, []Attempt) error {
	return func(c driver.BatchColumn, rows []Attempt) error {
		for i := range rows {
			values := list(decision(&rows[i]))
			if values == nil {
				values = []string{}
			}
			if err := c.AppendRow(values); err != nil {
				return err
			}
		}
		return nil
	}
}

// candidates appends one field of every candidate as an array. The driver
// copies the slice, so one serves all rows.
func candidates[V any](field func(*wire.Candidate) V) func(driver.BatchColumn, []Attempt) error {
	return func(c driver.BatchColumn, rows []Attempt) error {
		var values []V
		for i := range rows {
			values = values[:0]
			list := decision(&rows[i]).Candidates
			for j := range list {
				values = append(values, field(&list[j]))
			}
			if err := c.AppendRow(values); err != nil {
				return err
			}
		}
		return nil
	}
}
