package invoice

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"strings"
	"time"
)

// page is a page of either provider's reports.
type page struct {
	Data    []bucket `json:"data"`
	HasMore bool     `json:"has_more"`
}

// bucket is a span of time: OpenAI's in Unix seconds, Anthropic's as RFC 3339.
type bucket struct {
	StartTime  int64     `json:"start_time"`
	EndTime    int64     `json:"end_time"`
	StartingAt time.Time `json:"starting_at"`
	EndingAt   time.Time `json:"ending_at"`
	Results    []result  `json:"results"`
	Result     []result  `json:"result"` // OpenAI's name for it in its first version
}

// result is a line of either provider's reports. A count that is absent is nil.
type result struct {
	Object string          `json:"object"`
	Model  string          `json:"model"`
	Amount json.RawMessage `json:"amount"`

	// OpenAI.
	LineItem     string      `json:"line_item"`
	Quantity     json.Number `json:"quantity"`
	QuantityUnit string      `json:"quantity_unit"`
	Input        *int64      `json:"input_tokens"`
	Cached       *int64      `json:"input_cached_tokens"`
	Written      *int64      `json:"input_cache_write_tokens"`
	Output       *int64      `json:"output_tokens"`

	// Anthropic.
	Currency    string `json:"currency"`
	Description string `json:"description"`
	Uncached    *int64 `json:"uncached_input_tokens"`
	Read        int64  `json:"cache_read_input_tokens"`
	Creation    struct {
		Hour    int64 `json:"ephemeral_1h_input_tokens"`
		Minutes int64 `json:"ephemeral_5m_input_tokens"`
	} `json:"cache_creation"`
}

// The formats of exports.
const (
	openAICosts    = "OpenAI costs"
	openAIUsage    = "OpenAI usage"
	anthropicCosts = "Anthropic costs"
	anthropicUsage = "Anthropic usage"
	plain          = "plain"
)

func (e *Export) readJSON(text []byte) error {
	var pages []page
	dec := json.NewDecoder(bytes.NewReader(text))
	for {
		var raw json.RawMessage
		err := dec.Decode(&raw)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("after %d pages: %w", len(pages), err)
		}
		var more []page
		if raw[0] == '[' {
			err = json.Unmarshal(raw, &more)
		} else {
			more = []page{{}}
			err = json.Unmarshal(raw, &more[0])
		}
		if err != nil {
			return fmt.Errorf("page %d: %w", len(pages)+1, err)
		}
		pages = append(pages, more...)
	}
	if n := len(pages); n > 0 && pages[n-1].HasMore {
		e.Warnings = append(e.Warnings, "the last page of the export says that there are more: days may be missing")
	}
	for i := range pages {
		for j := range pages[i].Data {
			if err := e.bucket(&pages[i].Data[j]); err != nil {
				return fmt.Errorf("page %d, bucket %d: %w", i+1, j+1, err)
			}
		}
	}
	if e.Provider == "" {
		return errors.New(`no report of OpenAI or Anthropic: there are no buckets with results below "data"`)
	}
	return nil
}

// bucket adds one span of time.
func (e *Export) bucket(b *bucket) error {
	provider, from, to := "openai", time.Unix(b.StartTime, 0), time.Unix(b.EndTime, 0)
	switch {
	case !b.StartingAt.IsZero():
		provider, from, to = "anthropic", b.StartingAt, b.EndingAt
	case b.StartTime == 0:
		return errors.New("it has neither start_time (OpenAI) nor starting_at (Anthropic)")
	}
	if e.Provider != "" && e.Provider != provider {
		return fmt.Errorf("it is %s's, and those before are %s's", provider, e.Provider)
	}
	e.Provider = provider
	day, err := e.cover(from, to)
	if err != nil {
		return err
	}
	for i, r := range append(b.Results, b.Result...) {
		if provider == "openai" {
			err = e.openAI(day, &r)
		} else {
			err = e.anthropic(day, &r)
		}
		if err != nil {
			return fmt.Errorf("result %d: %w", i+1, err)
		}
	}
	return nil
}

func (e *Export) format(name string) error {
	if len(e.Formats) > 0 && e.Formats[0] != name {
		return fmt.Errorf("it is of %s, and those before are of %s: use one file for each", name, e.Formats[0])
	}
	e.Formats = []string{name}
	return nil
}

func (e *Export) openAI(day string, r *result) error {
	if r.Amount == nil {
		if r.Input == nil {
			return fmt.Errorf("object %q has no tokens: reconcile costs, or the usage of completions and embeddings", r.Object)
		}
		if err := e.format(openAIUsage); err != nil {
			return err
		}
		e.openAITokens(Key{Day: day, Model: r.Model}, *r.Input, r.Cached, r.Written, r.Output)
		return nil
	}
	if err := e.format(openAICosts); err != nil {
		return err
	}
	var amount struct {
		Value    json.RawMessage // a number; some tools write it as a string
		Currency string
	}
	if err := json.Unmarshal(r.Amount, &amount); err != nil {
		return fmt.Errorf("amount: %w", err)
	}
	return e.lineItem(day, r.LineItem, strings.Trim(string(amount.Value), `"`), amount.Currency, string(r.Quantity), r.QuantityUnit)
}

// openAITokens adds a line of usage. Input has everything in it.
func (e *Export) openAITokens(k Key, input int64, cached, written, output *int64) {
	if cached != nil {
		input -= *cached
		e.add(k, CacheRead, *cached)
	}
	if written != nil {
		input -= *written
		e.add(k, CacheWrite, *written)
	}
	e.add(k, Input, input)
	if output == nil {
		output = new(int64) // embeddings
	}
	e.add(k, Output, *output)
}

// lineItem adds a line of costs, such as "gpt-4o-2024-08-06, input". A quantity
// of tokens counts as usage.
func (e *Export) lineItem(day, item, amount, currency, quantity, unit string) error {
	if !strings.EqualFold(currency, "usd") {
		return fmt.Errorf("an amount in %.10q: only dollars can be compared", currency)
	}
	n, err := nanos(amount, 1)
	if err != nil {
		return err
	}
	model, part, _ := strings.Cut(item, ", ")
	k := Key{Day: day, Model: model}
	e.add(k, Cost, n)
	kind, ok := partOf(part)
	scale := map[string]int64{"tokens": 1, "1000_tokens": 1000}[unit]
	switch {
	case !ok:
		return nil
	case scale == 0 || quantity == "":
		e.uncounted++
		return nil
	}
	tokens, err := decimal(quantity, big.NewRat(scale, 1))
	if err != nil {
		return fmt.Errorf("quantity: %w", err)
	}
	e.quantities = true
	e.add(k, kind, tokens)
	return nil
}

// settle decides on the quantities of costs: they are the usage if all lines
// have one, and then a kind without a line was not used.
func (e *Export) settle() {
	if e.quantities {
		for kind := range Cost {
			e.has[kind] = e.uncounted == 0
		}
	}
}

// partOf reads what part of a model's use a line item is about.
func partOf(part string) (Kind, bool) {
	part = strings.ToLower(strings.NewReplacer("_", " ", "-", " ").Replace(part))
	switch {
	case strings.Contains(part, "cache write"), strings.Contains(part, "cache creation"):
		return CacheWrite, true
	case strings.Contains(part, "cache"):
		return CacheRead, true
	case strings.Contains(part, "input"):
		return Input, true
	case strings.Contains(part, "output"):
		return Output, true
	}
	return 0, false
}

func (e *Export) anthropic(day string, r *result) error {
	if r.Amount == nil {
		if r.Uncached == nil || r.Output == nil {
			return errors.New("it has neither an amount nor uncached_input_tokens and output_tokens")
		}
		if err := e.format(anthropicUsage); err != nil {
			return err
		}
		k := Key{Day: day, Model: r.Model}
		e.add(k, Input, *r.Uncached)
		e.add(k, CacheRead, r.Read)
		e.add(k, CacheWrite, r.Creation.Hour+r.Creation.Minutes)
		e.add(k, Output, *r.Output)
		return nil
	}
	if err := e.format(anthropicCosts); err != nil {
		return err
	}
	if !strings.EqualFold(r.Currency, "usd") {
		return fmt.Errorf("an amount in %.10q: only dollars can be compared", r.Currency)
	}
	n, err := nanos(strings.Trim(string(r.Amount), `"`), 100) // in cents
	if err != nil {
		return err
	}
	model := r.Model
	if model == "" {
		model = r.Description // web search, code execution
	}
	e.add(Key{Day: day, Model: model}, Cost, n)
	return nil
}
