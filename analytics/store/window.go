package store

import (
	"fmt"
	"strings"
	"time"
)

// sixth, of a day in UTC, and the hour are the units of projections; 0 is that of
// rows.
const sixth = 4 * time.Hour

// segment is a part of a window that one source answers: whole units of a
// projection, or rows. A zero bound is open.
type segment struct {
	from, to time.Time
	unit     time.Duration
}

// cut divides the window into as few segments as there can be: the largest
// units inside, smaller ones (where there are any) and at last rows at its
// edges. They touch and do not overlap, so what is summed over them is exact.
func cut(from, to time.Time, units []time.Duration) []segment {
	if !from.IsZero() && !to.IsZero() && !from.Before(to) {
		return nil
	}
	if len(units) == 0 {
		return []segment{{from, to, 0}}
	}
	u := units[0]
	a, b := from, to
	if !from.IsZero() {
		if a = from.Truncate(u); a.Before(from) {
			a = a.Add(u)
		}
	}
	if !to.IsZero() {
		b = to.Truncate(u)
	}
	if !a.IsZero() && !b.IsZero() && !a.Before(b) {
		return cut(from, to, units[1:])
	}
	var list []segment
	if !from.IsZero() {
		list = cut(from, a, units[1:])
	}
	list = append(list, segment{a, b, u})
	if !to.IsZero() {
		list = append(list, cut(b, to, units[1:])...)
	}
	return list
}

// start is the SQL of the time that a row falls into, in the segment's unit.
func (s *segment) start(ts string) string {
	switch s.unit {
	case sixth:
		return "toStartOfInterval(" + ts + ", toIntervalHour(4))"
	case time.Hour:
		return "toStartOfHour(" + ts + ")"
	}
	return ts
}

// conds are the segment's bounds.
func (s *segment) conds(ts string) []string {
	var list []string
	if !s.from.IsZero() {
		list = append(list, s.start(ts)+" >= "+moment(s.from))
	}
	if !s.to.IsZero() {
		list = append(list, s.start(ts)+" < "+moment(s.to))
	}
	return list
}

// moment is a timestamp as SQL, to the microsecond as stored.
func moment(t time.Time) string {
	return fmt.Sprintf("fromUnixTimestamp64Micro(toInt64(%d), 'UTC')", t.UnixMicro())
}

// question is a sum over a window: what every typed question comes down to.
// Each segment is summed up by itself, by the keys and what inner names, in
// the words of a projection where one exists; outer sums up the segments.
type question struct {
	table        Table
	ts           string
	since, until time.Time
	units        []time.Duration
	by           []string                                      // dimensions, which become k0, k1 …
	where        map[string]string                             // dimension: value
	dimension    func(name string, s *segment) (string, error) // its SQL
	group        string                                        // further keys of inner, such as "status AS st"
	inner, outer string
	order        string // "": the order of time, if asked by it, else whatever order comes
	limit        int
}

// sql is the statement. Its rows are the keys and then outer.
func (q *question) sql() (string, error) {
	var parts []string
	segments := cut(q.since, q.until, q.units)
	if len(segments) == 0 { // nothing lies between the bounds
		segments = []segment{{q.since, q.until, 0}}
	}
	for i := range segments {
		part, err := q.part(&segments[i])
		if err != nil {
			return "", err
		}
		parts = append(parts, part)
	}
	names := keyNames(q.by)
	shown := make([]string, 0, len(names)+1)
	for i, name := range q.by {
		shown = append(shown, text(name, names[i]))
	}
	sql := "SELECT " + strings.Join(append(shown, q.outer), ", ") + " FROM (" + strings.Join(parts, " UNION ALL ") + ")"
	if len(q.by) > 0 {
		sql += " GROUP BY " + strings.Join(names, ", ")
	}
	var order []string
	for i, name := range q.by {
		if name == "minute" || name == "hour" || name == "day" {
			order = append(order, names[i])
		}
	}
	if q.order != "" {
		order = append(order, q.order)
	}
	if len(order) > 0 {
		sql += " ORDER BY " + strings.Join(order, ", ")
	}
	if q.limit > 0 {
		sql += fmt.Sprintf(" LIMIT %d", q.limit)
	}
	// mapKeys(labels) would be read as a subcolumn, which no projection has.
	return sql + " SETTINGS optimize_functions_to_subcolumns = 0", nil
}

func keyNames(by []string) []string {
	names := make([]string, len(by))
	for i := range by {
		names[i] = fmt.Sprintf("k%d", i)
	}
	return names
}

func (q *question) part(s *segment) (string, error) {
	var keys []string
	groups := keyNames(q.by)
	for i, name := range q.by {
		expr, err := q.dimension(name, s)
		if err != nil {
			return "", err
		}
		keys = append(keys, expr+" AS "+groups[i])
	}
	if q.group != "" {
		keys = append(keys, q.group)
		_, alias, _ := strings.Cut(q.group, " AS ")
		groups = append(groups, alias)
	}
	conds := s.conds(q.ts)
	for _, name := range sortedKeys(q.where) {
		expr, err := q.dimension(name, s)
		if err != nil {
			return "", err
		}
		conds = append(conds, equals(name, expr, q.where[name]))
	}
	sql := "SELECT " + strings.Join(append(keys, q.inner), ", ") + " FROM " + string(q.table)
	if len(conds) > 0 {
		sql += " WHERE " + strings.Join(conds, " AND ")
	}
	if len(groups) > 0 {
		sql += " GROUP BY " + strings.Join(groups, ", ")
	}
	return sql, nil
}
