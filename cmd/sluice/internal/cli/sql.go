package cli

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"strings"
	"time"

	"github.com/sluicehq/sluice/analytics/store"
	"github.com/spf13/cobra"
)

// tableWindow is how many rows a table is aligned over; more rows follow in
// the same widths, so that a large result is not held in memory.
const tableWindow = 500

func (g *globals) sqlCommand() *cobra.Command {
	var asCSV bool
	cmd := &cobra.Command{
		Use:   "sql \"SELECT …\"",
		Short: "Ask ClickHouse",
		Long: "Run a statement in the database sluice; - reads it from standard input. The tables are\n" +
			"attempts (a row per provider call) and jobs (a row per finished job).",
		Example: "  sluice sql \"SELECT pool, count(), sum(cost_usd) FROM attempts GROUP BY pool\"",
		Args:    exactly(1, "one statement, in quotes"),
		RunE:    func(cmd *cobra.Command, args []string) error { return g.sql(cmd, args[0], asCSV) },
	}
	cmd.Flags().BoolVar(&asCSV, "csv", false, "print CSV with a head")
	return cmd
}

func (g *globals) sql(cmd *cobra.Command, statement string, asCSV bool) error {
	if asCSV && g.json {
		return usage("", "--csv and --json exclude each other")
	}
	if statement == "-" {
		b, err := io.ReadAll(cmd.InOrStdin())
		if err != nil {
			return failed(err, "", "standard input: %v", err)
		}
		statement = string(b)
	}
	if strings.TrimSpace(statement) == "" {
		return usage("sluice sql \"SELECT count() FROM attempts\"", "the statement is empty")
	}
	s, err := g.openStore(cmd)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }() // an error of a statement has come before
	rows, err := s.Query(cmd.Context(), statement)
	if err != nil {
		return asked(err)
	}
	defer func() { _ = rows.Close() }()
	print := printRowsTable
	if g.json {
		print = printRowsJSON
	} else if asCSV {
		print = printRowsCSV
	}
	return print(cmd.OutOrStdout(), rows)
}

// result is what the printers need of store.Rows.
type result interface {
	Columns() []store.Column
	Next() bool
	Values() []any
	Err() error
}

func printRowsTable(w io.Writer, rows result) error {
	columns := rows.Columns()
	if len(columns) == 0 {
		for rows.Next() { // a statement without a result ends here with its error
		}
		return wrapAsked(rows.Err())
	}
	heads := make([]string, len(columns))
	for i, c := range columns {
		if heads[i] = c.Name; numeric(c.Type) {
			heads[i] = ">" + c.Name
		}
	}
	t, printed, n := newTable(heads...), false, 0
	for rows.Next() {
		t.row(cells(rows.Values())...)
		if n++; n%tableWindow != 0 {
			continue
		}
		if err := t.emit(w, &printed); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return asked(err)
	}
	return t.emit(w, &printed)
}

// emit prints the rows gathered, below the head the first time.
func (t *table) emit(w io.Writer, printed *bool) error {
	if *printed {
		return t.flush(w)
	}
	*printed = true
	return t.print(w)
}

func wrapAsked(err error) error {
	if err == nil {
		return nil
	}
	return asked(err)
}

// numeric reports whether a ClickHouse type is a number, and so is aligned to
// the right.
func numeric(t string) bool {
	t = strings.TrimPrefix(t, "Nullable(")
	for _, p := range []string{"Int", "UInt", "Float", "Decimal"} {
		if strings.HasPrefix(t, p) {
			return true
		}
	}
	return false
}

func cells(values []any) []string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = text(v)
	}
	return out
}

// text is a value for people and for CSV; NULL is empty.
func text(v any) string {
	switch x := v.(type) {
	case nil:
		return ""
	case string:
		return x
	case time.Time:
		return x.Format("2006-01-02 15:04:05.999999")
	case fmt.Stringer:
		return x.String()
	}
	switch reflect.ValueOf(v).Kind() {
	case reflect.Slice, reflect.Array, reflect.Map, reflect.Struct:
		if b, err := json.Marshal(v); err == nil {
			return string(b)
		}
	}
	return fmt.Sprint(v)
}

func printRowsCSV(w io.Writer, rows result) error {
	out := csv.NewWriter(w)
	var heads []string
	for _, c := range rows.Columns() {
		heads = append(heads, c.Name)
	}
	if len(heads) > 0 {
		if err := out.Write(heads); err != nil {
			return err
		}
	}
	for rows.Next() {
		if err := out.Write(cells(rows.Values())); err != nil {
			return err
		}
	}
	out.Flush()
	if err := rows.Err(); err != nil {
		return asked(err)
	}
	return out.Error()
}

// printRowsJSON prints an array of objects, row by row, fields in the order of
// the columns.
func printRowsJSON(w io.Writer, rows result) error {
	columns := rows.Columns()
	open := "["
	for rows.Next() {
		line, err := rowJSON(columns, rows.Values())
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(w, "%s\n  %s", open, line); err != nil {
			return err
		}
		open = ","
	}
	if open == "[" {
		say(w, "[")
	}
	say(w, "\n]\n")
	return wrapAsked(rows.Err())
}

func rowJSON(columns []store.Column, values []any) (string, error) {
	var b strings.Builder
	for i, c := range columns {
		name, err := json.Marshal(c.Name)
		if err != nil {
			return "", err
		}
		value, err := json.Marshal(plainNumber(values[i]))
		if err != nil {
			return "", fmt.Errorf("column %s: %w", c.Name, err)
		}
		b.WriteString([]string{"{", ", "}[min(i, 1)])
		b.Write(name)
		b.WriteString(": ")
		b.Write(value)
	}
	return b.String() + "}", nil
}

// plainNumber turns what JSON has no notation for (NaN, infinity) into null.
func plainNumber(v any) any {
	if f, ok := v.(float64); ok && f-f != 0 {
		return nil
	}
	if f, ok := v.(float32); ok && f-f != 0 {
		return nil
	}
	return v
}
