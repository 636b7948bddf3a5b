package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/sluicehq/sluice/broker/steer"
	"github.com/sluicehq/sluice/cmd/sluice/internal/config"
	"github.com/sluicehq/sluice/router"
	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/spf13/cobra"
)

// explainFlags are the job to explain, and how.
type explainFlags struct {
	submitFlags
	offline bool
	waited  time.Duration
}

// explained is the answer: what would become of the job, by whom.
type explained struct {
	Source string `json:"source"` // broker, or configuration
	steer.Explanation
}

func (g *globals) explainRoute(cmd *cobra.Command, f *explainFlags, args []string) error {
	c, err := g.load(cmd)
	if err != nil {
		return err
	}
	tenant, _ := g.identity(c)
	m, err := f.message(cmd, args, tenant)
	if err != nil {
		return err
	}
	answer, alone := explained{Source: "broker"}, f.offline
	if !alone {
		err = g.explainLive(cmd.Context(), c, m, &answer.Explanation)
		alone = errors.Is(err, errNoBroker) && g.nats == "" && g.deps.Steering != nil
	}
	if alone {
		answer.Source = "configuration"
		err = g.explainOffline(c, m, &answer.Explanation)
	}
	if err != nil {
		return err
	}
	if g.json {
		return printJSON(cmd.OutOrStdout(), &answer)
	}
	if answer.Source != "broker" {
		say(cmd.ErrOrStderr(), "no broker was asked: decided by the configuration, as if every pool were idle and well\n")
	}
	return printExplained(cmd.OutOrStdout(), &answer)
}

var errNoBroker = errors.New("no broker answers")

// message is the job as a client would publish it.
func (f *explainFlags) message(cmd *cobra.Command, args []string, tenant string) (*nats.Msg, error) {
	if len(args) == 1 {
		f.model = args[0]
	}
	body, err := f.prompt("explain")
	if f.file != "" {
		if body, err = readFile(cmd, f.file); err != nil {
			return nil, err
		}
		body, err = f.request(body)
	}
	if err != nil {
		return nil, err
	}
	labels, err := pairsOf("label", f.labels)
	if err != nil {
		return nil, err
	}
	m := &nats.Msg{Header: nats.Header{}, Data: body}
	for name, v := range map[string]string{wire.HeaderTenant: tenant, wire.HeaderClass: f.class, wire.HeaderEndpoint: f.endpoint,
		wire.HeaderDeadline: f.deadline, wire.HeaderAffinity: f.affinity, wire.HeaderRegion: f.region, wire.HeaderMaxCost: f.maxCost, wire.HeaderBatch: f.batch} {
		if v != "" {
			m.Header.Set(name, v)
		}
	}
	for name, v := range labels {
		m.Header.Set(wire.HeaderLabel+name, v)
	}
	if f.waited > 0 {
		m.Header.Set(wire.HeaderWaited, f.waited.String())
	}
	if f.stream {
		m.Header.Set(wire.HeaderStream, "true")
	}
	return m, nil
}

// explainLive asks a running broker.
func (g *globals) explainLive(ctx context.Context, c *config.Config, m *nats.Msg, e *steer.Explanation) error {
	a, err := g.connectAdmin(c)
	if err != nil {
		return errors.Join(err, errNoBroker)
	}
	defer a.close()
	err = a.ask(ctx, "explain", m, e)
	if errors.Is(err, nats.ErrNoResponders) {
		err = errors.Join(err, errNoBroker)
	}
	return err
}

// explainOffline decides by the configuration.
func (g *globals) explainOffline(c *config.Config, m *nats.Msg, e *steer.Explanation) error {
	table, plan, err := g.deps.Steering(c)
	if err != nil {
		return err
	}
	tier := func(tenant string) string {
		for _, t := range c.Tenants {
			if t.Name == tenant {
				return t.Tier
			}
		}
		return ""
	}
	answer, err := plan.ExplainMessage(&steer.View{Table: table, Tier: tier, Now: time.Now()}, m.Header, m.Data)
	var fault *wire.Error
	if errors.As(err, &fault) {
		return failed(err, hintFor(fault.Code), "%s: %s", fault.Code, fault.Message)
	}
	if err == nil {
		*e = *answer
	}
	return err
}

// printExplained prints an explanation for people.
func printExplained(w io.Writer, e *explained) error {
	var b strings.Builder
	fmt.Fprintf(&b, "job of %s for %s, class %s", clean(e.Tenant), clean(e.Route), e.Class)
	if e.AskedClass != "" {
		fmt.Fprintf(&b, " (asked for: %s)", e.AskedClass)
	}
	if e.Deadline != "" {
		fmt.Fprintf(&b, ", deadline %s", localTime(e.Deadline))
	}
	if e.MaxAttempts > 0 {
		fmt.Fprintf(&b, ", at most %d attempts", e.MaxAttempts)
	}
	b.WriteString("\n")
	words := func(what string, list []string) {
		if len(list) > 0 {
			fmt.Fprintf(&b, "%s: %s\n", what, clean(strings.Join(list, ", ")))
		}
	}
	words("rules that match", e.Rules)
	words("rules that failed", e.Failed)
	words("labels required", labelWords(e.Require))
	words("labels preferred", labelWords(e.Prefer))
	if _, err := io.WriteString(w, b.String()); err != nil {
		return err
	}
	for _, t := range e.Decisions {
		head := ""
		if t.Step != "" {
			head = fmt.Sprintf("\nfallback %d, %s:\n", t.Decision.Fallback, clean(t.Step))
		}
		if _, err := io.WriteString(w, head); err != nil {
			return err
		}
		if err := printDecision(w, t.Decision, ""); err != nil {
			return err
		}
		for i := range t.Budgets {
			if _, err := fmt.Fprintln(w, clean(boundLine(&t.Budgets[i]))); err != nil {
				return err
			}
		}
	}
	last := "\n" + e.verdict()
	if len(e.Later) > 0 {
		last += "\nfallback steps left: " + clean(strings.Join(e.Later, "; "))
	}
	_, err := fmt.Fprintln(w, last)
	return err
}

func labelWords(list []router.Label) (out []string) {
	for _, l := range list {
		out = append(out, l.String())
	}
	return out
}

// boundLine is what the budgets say to a candidate.
func boundLine(b *steer.Bound) string {
	text := fmt.Sprintf("budgets: %s/%s %s, would hold %d tokens", b.Pool, b.Model, b.Says, b.Tokens)
	if b.USD != nil {
		text += " and $" + b.USD.String()
	}
	if b.Budget != "" {
		text += "; in the way: " + b.Budget
	}
	return text
}

// verdict is what becomes of the job, in a line.
func (e *explained) verdict() string {
	d := e.Decision
	if b := e.Budget; b != nil && d.Pool != "" {
		text := fmt.Sprintf("chosen: %s/%s of route %s, but the budget %s has no room (%s)", d.Pool, d.Model, d.Route, b.Budget, b.Says)
		if b.Says == "exceeded" {
			text += ": " + map[string]string{"wait": "the job would wait", "reject": "the job would be refused", "cheaper": "the job would wait in class batch"}[b.Then]
		}
		if b.Until != "" && b.Then != "reject" {
			text += ", until " + localTime(b.Until)
		}
		return clean(text)
	}
	switch {
	case d.Pool != "" && d.Fallback > 0:
		text := fmt.Sprintf("chosen: %s/%s of route %s, by fallback %d", d.Pool, d.Model, d.Route, d.Fallback)
		if e.MaxTokens > 0 {
			text += fmt.Sprintf(", at most %d tokens", e.MaxTokens)
		}
		return clean(text)
	case d.Pool != "":
		return clean(fmt.Sprintf("chosen: %s/%s of route %s", d.Pool, d.Model, d.Route))
	case e.Until != "":
		return "the job would wait, until " + localTime(e.Until) + " at least"
	case e.Waits:
		return "the job would wait"
	}
	return "the job would fail: no candidate can ever take it"
}
