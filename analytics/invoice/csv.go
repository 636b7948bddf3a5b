package invoice

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// row is a line of a CSV file by its columns.
type row struct {
	heads []string
	cells []string
}

// get is a column's cell, "" where there is none.
func (r *row) get(name string) string {
	if i := slices.Index(r.heads, name); i >= 0 {
		return strings.TrimSpace(r.cells[i])
	}
	return ""
}

func (r *row) has(name string) bool { return slices.Contains(r.heads, name) }

// count is a column of tokens, nil where the file has no such column. An empty
// cell is 0: both providers write none as nothing.
func (r *row) count(name string) (*int64, error) {
	if !r.has(name) {
		return nil, nil
	}
	s := r.get(name)
	if s == "" {
		return new(int64), nil
	}
	n, err := strconv.ParseInt(strings.TrimSuffix(s, ".0"), 10, 64)
	if err != nil || n < 0 {
		return nil, fmt.Errorf("%s %.40q is not a number of tokens", name, s)
	}
	return &n, nil
}

// counts are several columns.
func (r *row) counts(names ...string) ([]*int64, error) {
	out := make([]*int64, len(names))
	for i, name := range names {
		var err error
		if out[i], err = r.count(name); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (e *Export) readCSV(text []byte) error {
	in := csv.NewReader(bytes.NewReader(text))
	heads, err := in.Read()
	if err != nil {
		return err
	}
	for i := range heads {
		heads[i] = strings.ToLower(strings.TrimSpace(heads[i]))
	}
	r := row{heads: heads}
	read, err := e.reader(&r)
	if err != nil {
		return err
	}
	for {
		r.cells, err = in.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err // it says in which line, and there may be no field to ask for its place
		}
		if err = read(&r); err != nil {
			line, _ := in.FieldPos(0)
			return fmt.Errorf("line %d: %w", line, err)
		}
	}
}

// reader finds out by the columns what the file is.
func (e *Export) reader(r *row) (func(*row) error, error) {
	format, provider, read := "", "", e.plainRow
	switch {
	case r.has("start_time") && r.has("amount_value"):
		format, provider, read = openAICosts, "openai", e.openAICostRow
	case r.has("start_time") && r.has("input_tokens"):
		format, provider, read = openAIUsage, "openai", e.openAIUsageRow
	case r.has("usage_date_utc") && r.has("cost_usd"):
		format, provider, read = anthropicCosts, "anthropic", e.anthropicCostRow
	case r.has("usage_date_utc") && r.has("usage_input_tokens_no_cache"):
		format, provider, read = anthropicUsage, "anthropic", e.anthropicUsageRow
	case r.has("day") && slices.ContainsFunc(kindNames[:], r.has):
		format = plain
		e.providers, e.pools = r.has("provider"), r.has("pool")
	default:
		return nil, fmt.Errorf("the columns %.200q are of no export that is known: plain files have day, model and any of %s",
			strings.Join(r.heads, ","), strings.Join(kindNames[:], ", "))
	}
	e.Provider = provider
	switch format {
	case openAICosts, anthropicCosts:
		e.has[Cost] = true
	case openAIUsage, anthropicUsage:
		e.has[Input], e.has[Output] = true, true
	}
	return read, e.format(format)
}

// unixDay is the day of OpenAI's bucket of time.
func (e *Export) unixDay(r *row) (string, error) {
	from, err := strconv.ParseInt(r.get("start_time"), 10, 64)
	if err != nil {
		return "", fmt.Errorf("start_time %.40q is no Unix time", r.get("start_time"))
	}
	to := from
	if s := r.get("end_time"); s != "" {
		if to, err = strconv.ParseInt(s, 10, 64); err != nil {
			return "", fmt.Errorf("end_time %.40q is no Unix time", s)
		}
	}
	return e.cover(time.Unix(from, 0), time.Unix(to, 0))
}

func (e *Export) openAICostRow(r *row) error {
	day, err := e.unixDay(r)
	if err != nil || r.get("amount_value") == "" { // nothing was used
		return err
	}
	return e.lineItem(day, r.get("line_item"), r.get("amount_value"), r.get("amount_currency"), r.get("quantity"), r.get("quantity_unit"))
}

func (e *Export) openAIUsageRow(r *row) error {
	day, err := e.unixDay(r)
	if err != nil || r.get("input_tokens") == "" { // nothing was used
		return err
	}
	n, err := r.counts("input_tokens", "input_cached_tokens", "input_cache_write_tokens", "output_tokens")
	if err != nil {
		return err
	}
	e.openAITokens(Key{Day: day, Model: r.get("model")}, *n[0], n[1], n[2], n[3])
	return nil
}

// date reads a day, or a time of one, in UTC.
func (e *Export) date(s string) (string, error) {
	t, err := time.Parse(time.DateOnly, s[:min(len(s), len(time.DateOnly))])
	if err != nil {
		return "", fmt.Errorf("%.40q is not a day such as 2026-01-31", s)
	}
	return e.cover(t, t)
}

// anthropicCostRow reads a line whose amount the console has rounded to the
// decimals that it shows.
func (e *Export) anthropicCostRow(r *row) error {
	day, err := e.date(r.get("usage_date_utc"))
	if err != nil {
		return err
	}
	n, err := nanos(r.get("cost_usd"), 1)
	if err != nil {
		return err
	}
	k := Key{Day: day, Model: r.get("model")}
	if k.Model == "" {
		k.Model = r.get("cost_type") // web search, code execution
	}
	e.add(k, Cost, n)
	_, decimals, _ := strings.Cut(r.get("cost_usd"), ".")
	slack := int64(500_000_000)
	for range min(len(decimals), 9) {
		slack /= 10
	}
	e.lines[k].slack += slack
	return nil
}

func (e *Export) anthropicUsageRow(r *row) error {
	day, err := e.date(r.get("usage_date_utc"))
	if err != nil {
		return err
	}
	n, err := r.counts("usage_input_tokens_no_cache", "usage_input_tokens_cache_read", "usage_input_tokens_cache_write_5m",
		"usage_input_tokens_cache_write_1h", "usage_output_tokens")
	if err != nil {
		return err
	}
	k := Key{Day: day, Model: r.get("model_version")}
	for i, kind := range []Kind{Input, CacheRead, CacheWrite, CacheWrite, Output} {
		if n[i] != nil {
			e.add(k, kind, *n[i])
		}
	}
	return nil
}

func (e *Export) plainRow(r *row) error {
	day, err := e.date(r.get("day"))
	if err != nil {
		return err
	}
	k := Key{Day: day, Provider: r.get("provider"), Pool: r.get("pool"), Model: r.get("model")}
	for kind := range kinds {
		switch name := kind.String(); {
		case !r.has(name):
			continue
		case r.get(name) == "": // I1
			return fmt.Errorf("%s is empty: leave the column out, or write 0", name)
		case kind == Cost:
			n, err := nanos(r.get(name), 1)
			if err != nil {
				return err
			}
			e.add(k, kind, n)
		default:
			n, err := r.count(name)
			if err != nil {
				return err
			}
			e.add(k, kind, *n)
		}
	}
	n, err := r.count("reasoning_tokens")
	if n != nil && r.has(Output.String()) {
		e.add(k, Output, *n)
	}
	return err
}
