package store

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/sluicehq/sluice/sdk/wire"
)

// Texts is the table of what was said in attempts, of tenants that keep it.
const Texts Table = "texts"

// Text is a row of texts.
type Text struct {
	Seq uint64 // its place in the stream of texts
	TS  time.Time
	wire.Text
}

var textColumns = []column[Text]{
	{"seq", "UInt64", all(func(r *Text) uint64 { return r.Seq })},
	{"ts", typeTime, all(func(r *Text) time.Time { return r.TS })},
	{"expires_at", "DateTime('UTC')", all(func(r *Text) time.Time { return r.ExpiresAt() })},
	{"tenant", typeWord, all(func(r *Text) string { return r.Tenant })},
	{"job_id", "String", all(func(r *Text) string { return r.Job })},
	{"attempt", "UInt16", all(func(r *Text) uint16 { return u16(r.Attempt) })},
	{"route", typeWord, all(func(r *Text) string { return r.Route })},
	{"pool", typeWord, all(func(r *Text) string { return r.Pool })},
	{"model", typeWord, all(func(r *Text) string { return r.Model })},
	{"status", typeWord, all(func(r *Text) string { return string(r.Status) })},
	{"prompt", "String", all(func(r *Text) string { return r.Prompt })},
	{"answer", "String", all(func(r *Text) string { return r.Answer })},
	{"prompt_bytes", "UInt32", all(func(r *Text) uint32 { return u32(r.Bytes[0]) })},
	{"answer_bytes", "UInt32", all(func(r *Text) uint32 { return u32(r.Bytes[1]) })},
	{"redactions", "Map(LowCardinality(String), UInt32)", each(func(r *Text) map[string]uint32 { return r.Redacted })},
}

// textKey names an attempt.
type textKey struct {
	tenant, job string
	attempt     int
}

func (r *Text) key() textKey { return textKey{r.Tenant, r.Job, r.Attempt} }

// textBlock is how many places of the stream of texts make a block: rows of one
// block and one day are inserted by one writer at a time.
const textBlock = 1024

// InsertTexts adds rows, in the order of their seq, and leaves out those of
// attempts that the table has: so it may be called again with the same rows, and
// by several writers at once, with any part of them. It returns how many it has
// added. Rows of one block go in as a whole or not at all. Those whose time is up
// are left out too: ClickHouse may drop them before they can be seen.
//
// An insert is a compare-and-set: its deduplication token is how many rows of
// the block the writer has found. Of two that have found as many ClickHouse
// takes the first, and the other looks again.
func (s *Store) InsertTexts(ctx context.Context, rows []Text) (added int, err error) {
	now := time.Now().Unix()
	rows = slices.DeleteFunc(slices.Clone(rows), func(r Text) bool { return r.Expires <= now })
	for len(rows) > 0 {
		n, partition, block := 1, PartitionOf(rows[0].TS), rows[0].Seq/textBlock
		for n < len(rows) && PartitionOf(rows[n].TS) == partition && rows[n].Seq/textBlock == block {
			n++
		}
		k, err := s.insertBlock(ctx, rows[:n], block)
		if added += k; err != nil {
			return added, err
		}
		rows = rows[n:]
	}
	return added, nil
}

// insertBlock adds rows of one block and day.
func (s *Store) insertBlock(ctx context.Context, rows []Text, block uint64) (added int, err error) {
	missing, burnt := rows, 0
	for last := int64(-1); ; {
		have, err := s.countTexts(ctx, rows[0].TS, block)
		if err != nil {
			return added, err
		}
		still, err := s.missingTexts(ctx, missing)
		if err != nil {
			return added, err
		}
		if last >= 0 {
			added += len(missing) - len(still)
		}
		if missing = still; len(missing) == 0 {
			return added, nil
		}
		if burnt++; have != last { // the first time, or after others
			burnt = 0
		}
		if burnt == tokens {
			return added, fmt.Errorf("insert into texts at seq %d: ClickHouse took the rows %d times and does not show them", rows[0].Seq, tokens)
		}
		token := fmt.Sprintf("%s/%d/%d/%d", rows[0].TS.UTC().Format(time.DateOnly), block, have, burnt)
		if err := send(ctx, s, Texts, textColumns, missing, token); err != nil {
			return added, s.wrap("insert into texts", withoutText(err))
		}
		last = have
	}
}

// countTexts is how many rows the table has of a block, on the day of ts.
func (s *Store) countTexts(ctx context.Context, ts time.Time, block uint64) (n int64, err error) {
	day := ts.UTC().Truncate(24 * time.Hour)
	err = s.conn.QueryRow(ctx, fmt.Sprintf("SELECT toInt64(count()) FROM texts WHERE ts >= %s AND ts < %s AND seq >= %d AND seq < %d",
		moment(day), moment(day.Add(24*time.Hour)), block*textBlock, (block+1)*textBlock)).Scan(&n)
	if err != nil {
		return 0, s.wrap("look for texts", err)
	}
	return n, nil
}

var exceptionCode = regexp.MustCompile(`\bcode: [0-9]+`)

// withoutText is an error without the words of ClickHouse, which may quote a row,
// or a word that was searched for.
func withoutText(err error) error {
	var e *clickhouse.Exception
	if errors.As(err, &e) {
		return fmt.Errorf("ClickHouse refuses this (code: %d)", e.Code)
	}
	if code := exceptionCode.FindString(err.Error()); code != "" {
		return fmt.Errorf("ClickHouse refuses this (%s)", code)
	}
	return err
}

// missingTexts are the rows, one of each attempt, that the table does not have.
func (s *Store) missingTexts(ctx context.Context, rows []Text) ([]Text, error) {
	var keys strings.Builder
	for i := range rows {
		fmt.Fprintf(&keys, "(%s,%s,%d),", quote(rows[i].Tenant), quote(rows[i].Job), u16(rows[i].Attempt))
	}
	found, err := s.conn.Query(ctx, "SELECT tenant, job_id, attempt FROM texts WHERE (tenant, job_id, attempt) IN ("+strings.TrimSuffix(keys.String(), ",")+")")
	if err != nil {
		return nil, s.wrap("look for texts", err)
	}
	defer func() { _ = found.Close() }() // Err tells
	have := map[textKey]bool{}
	for found.Next() {
		var k textKey
		var attempt uint16
		if err := found.Scan(&k.tenant, &k.job, &attempt); err != nil {
			return nil, s.wrap("look for texts", err)
		}
		k.attempt = int(attempt)
		have[k] = true
	}
	if err := found.Err(); err != nil {
		return nil, s.wrap("look for texts", err)
	}
	var missing []Text
	for i := range rows {
		if k := rows[i].key(); !have[k] {
			have[k] = true
			missing = append(missing, rows[i])
		}
	}
	return missing, nil
}

// TextQuery asks for texts.
type TextQuery struct {
	Tenant string   // "": every tenant's
	Job    string   // "": every job's
	Words  []string // that the prompt or the answer has, each of them, in any case; whole words of letters and digits
	Since  time.Time
	Until  time.Time // zero: open
	Limit  int       // newest first; 0: 100. Those of one job are all given, by attempt
}

// maxWords of a question.
const maxWords = 32

// ErrWords means that a search is for no words, or for too many.
var ErrWords = fmt.Errorf("search for 1 to %d words of letters and digits", maxWords)

// TextJSON is a row of texts for programs.
type TextJSON struct {
	Tenant      string            `json:"tenant"`
	Job         string            `json:"job_id"`
	Attempt     int               `json:"attempt"`
	At          time.Time         `json:"at"`
	ExpiresAt   time.Time         `json:"expires_at"`
	Route       string            `json:"route"`
	Pool        string            `json:"pool"`
	Model       string            `json:"model"`
	Status      wire.Status       `json:"status"` // of the attempt
	Prompt      string            `json:"prompt"`
	Answer      string            `json:"answer"`
	PromptBytes int64             `json:"prompt_bytes"` // before it was redacted and cut
	AnswerBytes int64             `json:"answer_bytes"`
	Redactions  map[string]uint32 `json:"redactions"`
}

// JSON is the row for programs.
func (r *Text) JSON() TextJSON {
	return TextJSON{r.Tenant, r.Job, r.Attempt, r.TS, r.ExpiresAt(), r.Route, r.Pool, r.Model, r.Status, r.Prompt, r.Answer, r.Bytes[0], r.Bytes[1], r.Redacted}
}

// Texts gives texts that are kept still.
func (s *Store) Texts(ctx context.Context, q TextQuery) ([]Text, error) {
	where := []string{"expires_at > now()"}
	if q.Tenant != "" {
		where = append(where, "tenant = "+quote(q.Tenant))
	}
	if q.Job != "" {
		where = append(where, "job_id = "+quote(q.Job))
	}
	if !q.Since.IsZero() {
		where = append(where, "ts >= "+moment(q.Since))
	}
	if !q.Until.IsZero() {
		where = append(where, "ts < "+moment(q.Until))
	}
	words := 0
	for _, phrase := range q.Words {
		for _, w := range strings.FieldsFunc(strings.ToLower(phrase), func(r rune) bool { return r < 0x80 && !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
			where = append(where, fmt.Sprintf("(hasToken(lowerUTF8(prompt), %[1]s) OR hasToken(lowerUTF8(answer), %[1]s))", quote(w)))
			words++
		}
	}
	if words > maxWords || len(q.Words) > 0 && words == 0 {
		return nil, ErrWords
	}
	order := " ORDER BY ts DESC, attempt DESC LIMIT "
	limit := q.Limit
	if limit <= 0 {
		limit = 100
	}
	if q.Job != "" {
		order, limit = " ORDER BY tenant, attempt LIMIT ", 1000
	}
	sql := "SELECT seq, ts, toInt64(toUnixTimestamp(expires_at)), tenant, job_id, attempt, route, pool, model, status, prompt, answer, prompt_bytes, answer_bytes, redactions FROM texts WHERE " +
		strings.Join(where, " AND ") + order + fmt.Sprint(limit)
	rows, err := s.conn.Query(ctx, sql)
	if err != nil {
		return nil, s.wrap("read texts", withoutText(err))
	}
	defer func() { _ = rows.Close() }() // Err tells
	var out []Text
	for rows.Next() {
		var r Text
		var attempt uint16
		var status string
		var bytes [2]uint32
		if err := rows.Scan(&r.Seq, &r.TS, &r.Expires, &r.Tenant, &r.Job, &attempt, &r.Route, &r.Pool, &r.Model, &status,
			&r.Prompt, &r.Answer, &bytes[0], &bytes[1], &r.Redacted); err != nil {
			return nil, s.wrap("read texts", withoutText(err))
		}
		r.Attempt, r.Status, r.Bytes = int(attempt), wire.Status(status), [2]int64{int64(bytes[0]), int64(bytes[1])}
		out = append(out, r)
	}
	if err := rows.Err(); err != nil {
		return nil, s.wrap("read texts", withoutText(err))
	}
	return out, nil
}

// ForgetTexts deletes what the table has of a tenant, or of one of its jobs:
// when it returns, the rows are gone from the disk too.
func (s *Store) ForgetTexts(ctx context.Context, tenant, job string) error {
	where := "tenant = " + quote(tenant)
	if job != "" {
		where += " AND job_id = " + quote(job)
	}
	return s.changeTexts(ctx, "delete texts", where, "DELETE")
}

// ShortenTexts has what is kept of a tenant expire at most that long after it
// was said. What expires earlier is left alone.
func (s *Store) ShortenTexts(ctx context.Context, tenant string, keep time.Duration) error {
	end := fmt.Sprintf("toDateTime(ts, 'UTC') + toIntervalSecond(%d)", int64(keep/time.Second))
	// A worker's clock and the stream's are not the same.
	where := "tenant = " + quote(tenant) + " AND expires_at > " + end + " + toIntervalMinute(5)"
	return s.changeTexts(ctx, "shorten the time of texts", where, "UPDATE expires_at = "+end)
}

// changeTexts runs a mutation, if there is something to change, to its end on
// all servers.
func (s *Store) changeTexts(ctx context.Context, step, where, change string) error {
	var n uint64
	if err := s.conn.QueryRow(ctx, "SELECT count() FROM texts WHERE "+where).Scan(&n); err != nil || n == 0 {
		return s.wrap(step, err)
	}
	err := s.conn.Exec(ctx, "ALTER TABLE "+s.cluster.local(string(Texts))+s.cluster.on()+" "+change+" WHERE "+where+" SETTINGS mutations_sync = 2")
	return s.wrap(step, err)
}
