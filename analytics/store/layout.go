package store

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"time"
)

// Layout says how long rows stay, and where they lie. The zero value keeps
// everything where it is.
type Layout struct {
	// TTL of the rows of attempts, jobs and scores: how long they stay after their
	// timestamp, to the second. 0: for ever. Whole parts are dropped, once all
	// their rows are older, so rows stay up to a day longer.
	AttemptsTTL, JobsTTL, ScoresTTL time.Duration
	// Policy is the storage policy of the tables, that of texts too, one of the server's; "": as it
	// is. It must have the disks that the tables are on already.
	Policy string
	// Volume of the policy takes rows of attempts and jobs once they are MoveAfter
	// old; "" and 0: none does.
	Volume    string
	MoveAfter time.Duration
}

// ageOf are the tables that a layout is for, and the column of a row's age.
var ageOf = []struct {
	table, column string
	ttl           func(*Layout) time.Duration
	moves         bool
}{
	{string(Attempts), "ts", func(l *Layout) time.Duration { return l.AttemptsTTL }, true},
	{string(Jobs), "finished_at", func(l *Layout) time.Duration { return l.JobsTTL }, true},
	{"scores", "ts", func(l *Layout) time.Duration { return l.ScoresTTL }, false},
	{string(Texts), "expires_at", func(*Layout) time.Duration { return 0 }, false}, // each row has its own
}

// wanted is a table's TTL as ClickHouse writes it, "" for none.
func (l *Layout) wanted(column string, ttl time.Duration, moves bool) string {
	after := func(d time.Duration) string {
		return fmt.Sprintf("toDateTime(%s) + toIntervalSecond(%d)", column, int64(d/time.Second))
	}
	var parts []string
	if ttl > 0 {
		parts = append(parts, after(ttl))
	}
	if moves && l.Volume != "" && l.MoveAfter > 0 && (ttl == 0 || l.MoveAfter < ttl) {
		parts = append(parts, after(l.MoveAfter)+" TO VOLUME "+quote(l.Volume))
	}
	return strings.Join(parts, ", ")
}

var (
	ttlOf    = regexp.MustCompile(` TTL (.+?)(?: SETTINGS |$)`)
	policyOf = regexp.MustCompile(`storage_policy = '([^']*)'`)
	// ours matches a TTL of this form only: one that somebody else has set stays.
	ours = regexp.MustCompile(`^(toDateTime\(\w+\) \+ toIntervalSecond\(\d+\)( TO VOLUME '[^']*')?(, )?)+$`)
)

// settle makes the tables what the layout says, and changes nothing that is so
// already. It may run again, in several processes.
func (s *Store) settle(ctx context.Context) error {
	for _, t := range ageOf {
		name := s.cluster.local(t.table)
		var engine string
		err := s.conn.QueryRow(ctx, "SELECT engine_full FROM system.tables WHERE database = "+quote(s.database)+" AND name = "+quote(name)).Scan(&engine)
		if err != nil {
			return s.wrap("look at table "+name, err)
		}
		for _, change := range s.layout.changes(engine, t.column, t.ttl(&s.layout), t.moves) {
			if err := s.conn.Exec(ctx, "ALTER TABLE "+ident(name)+s.cluster.on()+" "+change); err != nil {
				return s.wrap("set clickhouse.ttl and clickhouse.storage of table "+name, err)
			}
		}
	}
	return nil
}

// changes are the ALTERs between a table's engine as it is and the layout.
func (l *Layout) changes(engine, column string, ttl time.Duration, moves bool) []string {
	var list []string
	policy := "default"
	if m := policyOf.FindStringSubmatch(engine); m != nil {
		policy = m[1]
	}
	if l.Policy != "" && l.Policy != policy {
		list = append(list, "MODIFY SETTING storage_policy = "+quote(l.Policy))
	}
	have, want := "", l.wanted(column, ttl, moves)
	if m := ttlOf.FindStringSubmatch(engine); m != nil {
		have = m[1]
	}
	switch {
	case want == have:
	case want == "":
		if ours.MatchString(have) {
			list = append(list, "REMOVE TTL")
		}
	default: // parts are only told their new age, and are dropped as a whole
		if !strings.Contains(engine, "ttl_only_drop_parts = 1") {
			list = append(list, "MODIFY SETTING ttl_only_drop_parts = 1, materialize_ttl_recalculate_only = 1")
		}
		list = append(list, "MODIFY TTL "+want)
	}
	return list
}
