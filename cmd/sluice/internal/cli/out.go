package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// say prints to a stream of the process. That stream is where errors would be
// reported, so one of its own is let go.
func say(w io.Writer, format string, args ...any) {
	_, _ = fmt.Fprintf(w, format, args...)
}

// clean makes text safe for a terminal and for one line of a table (I3).
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		const zwnj, zwj = '\u200c', '\u200d' // parts of words and emoji
		if r == utf8.RuneError || unicode.IsControl(r) || unicode.Is(unicode.Cf, r) && r != zwnj && r != zwj {
			return '·'
		}
		return r
	}, s)
}

// cleanLines is clean for text of several lines.
func cleanLines(s string) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = strings.ReplaceAll(lines[i], "\t", "    ")
		lines[i] = clean(lines[i])
	}
	return strings.Join(lines, "\n")
}

// count is a number of things, such as "1 pool" or "3 pools".
func count(n int, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return fmt.Sprintf("%d %s", n, thing)
}

// printJSON prints a value for programs.
func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// table is an aligned table for people. A head that begins with ">" is
// aligned to the right.
type table struct {
	heads  []string
	right  []bool
	rows   [][]string
	widths []int
}

func newTable(heads ...string) *table {
	t := &table{heads: make([]string, len(heads)), right: make([]bool, len(heads)), widths: make([]int, len(heads))}
	for i, h := range heads {
		t.heads[i], t.right[i] = strings.CutPrefix(clean(h), ">")
		t.widths[i] = utf8.RuneCountInString(t.heads[i])
	}
	return t
}

// row adds a row; cells that are missing stay empty.
func (t *table) row(cells ...string) {
	r := make([]string, len(t.heads))
	for i := range r {
		if i < len(cells) {
			r[i] = clean(cells[i])
		}
		t.widths[i] = max(t.widths[i], utf8.RuneCountInString(r[i]))
	}
	t.rows = append(t.rows, r)
}

// print writes head and rows.
func (t *table) print(w io.Writer) error {
	if err := t.line(w, t.heads); err != nil {
		return err
	}
	return t.flush(w)
}

// flush writes the rows gathered so far, and forgets them; the widths stay.
func (t *table) flush(w io.Writer) error {
	for _, r := range t.rows {
		if err := t.line(w, r); err != nil {
			return err
		}
	}
	t.rows = t.rows[:0]
	return nil
}

func (t *table) line(w io.Writer, cells []string) error {
	var b strings.Builder
	for i, c := range cells {
		pad := strings.Repeat(" ", max(0, t.widths[i]-utf8.RuneCountInString(c)))
		if i > 0 {
			b.WriteString("  ")
		}
		if t.right[i] {
			b.WriteString(pad + c)
		} else {
			b.WriteString(c + pad)
		}
	}
	_, err := io.WriteString(w, strings.TrimRight(b.String(), " ")+"\n")
	return err
}
