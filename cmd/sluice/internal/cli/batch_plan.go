package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/sluicehq/sluice/broker/batch"
	"github.com/sluicehq/sluice/cmd/sluice/internal/config"
	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/spf13/cobra"
)

// plan is what a model's lines would come to.
type plan struct {
	Model  string        `json:"model"`
	Lines  int64         `json:"lines"`
	Input  int64         `json:"input_tokens"`   // estimated
	Output int64         `json:"output_tokens"`  // expected
	Least  *wire.NanoUSD `json:"least_nano_usd"` // by the cheapest candidate; nil: not known
	Most   *wire.NanoUSD `json:"most_nano_usd"`  // by the dearest candidate
	Free   []string      `json:"unpriced_pools"` // candidates without a price
	unset  int64         // lines without a bound of their own on the output
	Bound  *wire.NanoUSD `json:"bound_nano_usd"` // by the dearest, if every line used up its own bound; nil: some have none
	asked  int64         // output tokens that the lines' own bounds allow
}

// planBatch says what a batch would cost, and spends nothing.
func (g *globals) planBatch(cmd *cobra.Command, f *batchFlags, c *config.Config, in io.Reader, e wire.Endpoint) error {
	byModel := map[string]*plan{}
	lines, faults, err := batch.Inspect(in, e, nil, func(m *wire.Meta) {
		p := byModel[m.Route]
		if p == nil {
			p = &plan{Model: m.Route, Free: []string{}}
			byModel[m.Route] = p
		}
		p.add(m, f.outputTokens)
	})
	if err != nil {
		return failed(err, "", "the requests cannot be read: %v", err)
	}
	var plans []*plan
	for _, p := range byModel {
		p.price(g.prices(c, p.Model))
		plans = append(plans, p)
	}
	slices.SortFunc(plans, func(a, b *plan) int { return strings.Compare(a.Model, b.Model) })
	if g.json {
		err = printJSON(cmd.OutOrStdout(), map[string]any{"lines": lines, "models": plans, "faults": faultsJSON(faults)})
	} else {
		err = printPlan(cmd.OutOrStdout(), lines, plans, faults)
	}
	if err == nil && len(faults) > 0 {
		return failed(nil, "correct these lines", "the batch would fail: %s of its lines", count(len(faults), "fault"))
	}
	return err
}

func faultsJSON(faults []batch.Fault) []batch.Fault {
	if faults == nil {
		return []batch.Fault{}
	}
	return faults
}

// add counts a line.
func (p *plan) add(m *wire.Meta, expect int64) {
	p.Lines++
	p.Input += m.InputTokens()
	if m.Endpoint == wire.Embeddings {
		return
	}
	if m.MaxTokens == 0 {
		p.unset++
	}
	p.asked += m.MaxTokens
	if m.MaxTokens > 0 {
		expect = min(expect, m.MaxTokens)
	}
	p.Output += expect
}

// candidatePrice is what a candidate of a route costs; nil: not known.
type candidatePrice struct {
	pool  string
	price *wire.Price
}

// prices are those of a route's candidates, as far as the configuration here
// knows the route.
func (g *globals) prices(c *config.Config, route string) []candidatePrice {
	var out []candidatePrice
	for i := range c.Routes {
		if c.Routes[i].Model != route {
			continue
		}
		for _, x := range c.Routes[i].Candidates {
			pool := c.Pool(x.Pool)
			if pool == nil {
				continue
			}
			m := pool.Models.Find(x.Model)
			if m == nil {
				continue
			}
			p := m.Price
			if p == nil && g.deps.PriceOf != nil {
				if listed, ok := g.deps.PriceOf(pool.Provider, m.Upstream); ok {
					p = &listed
				}
			}
			out = append(out, candidatePrice{x.Pool, p})
		}
	}
	return out
}

// price works out what the lines cost.
func (p *plan) price(candidates []candidatePrice) {
	for _, c := range candidates {
		if c.price == nil {
			p.Free = append(p.Free, c.pool)
			continue
		}
		each := c.price.Cost(wire.Usage{Input: p.Input, Output: p.Output})
		if p.Least == nil || each < *p.Least {
			p.Least = &each
		}
		if p.Most == nil || each > *p.Most {
			p.Most = &each
		}
		bound := c.price.Cost(wire.Usage{Input: p.Input, Output: p.asked})
		if p.unset == 0 && (p.Bound == nil || bound > *p.Bound) {
			p.Bound = &bound
		}
	}
}

// printPlan shows a plan to people.
func printPlan(w io.Writer, lines int64, plans []*plan, faults []batch.Fault) error {
	t := newTable("model", ">lines", ">tokens in", ">tokens out", ">expected", ">at most")
	amount := func(n *wire.NanoUSD) string {
		if n == nil {
			return "unknown"
		}
		return "$" + n.String()
	}
	var least, most wire.NanoUSD
	known := true
	for _, p := range plans {
		expected := amount(p.Least)
		if p.Least != nil && *p.Least != *p.Most {
			expected += " to " + amount(p.Most)
		}
		if len(p.Free) > 0 && p.Least != nil {
			expected += " or unknown"
		}
		t.row(p.Model, fmt.Sprint(p.Lines), fmt.Sprint(p.Input), fmt.Sprint(p.Output), expected, amount(p.Bound))
		if known = known && p.Least != nil; known {
			least, most = least+*p.Least, most+*p.Most
		}
	}
	if err := t.print(w); err != nil {
		return err
	}
	total := "unknown"
	if known {
		if total = "$" + least.String(); least != most {
			total += " to $" + most.String()
		}
	}
	if _, err := fmt.Fprintf(w, "%d lines, expected cost %s; nothing was submitted\n", lines, total); err != nil {
		return err
	}
	if len(faults) == 0 {
		return nil
	}
	ft := newTable(">line", "code", "fault")
	for _, f := range faults {
		ft.row(fmt.Sprint(f.Line), f.Code, f.Message)
	}
	return ft.print(w)
}
