package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/spf13/cobra"
)

// deadLetter is what the server says of a dead letter.
type deadLetter struct {
	Tenant   string        `json:"tenant"`
	Job      string        `json:"job_id"`
	Class    wire.Class    `json:"class"`
	Route    string        `json:"route"`
	Attempts int           `json:"attempts"`
	At       string        `json:"at"`
	Error    wire.Code     `json:"error_code,omitempty"`
	Pool     string        `json:"pool,omitempty"`
	Edited   string        `json:"edited_at,omitempty"`
	Bytes    int           `json:"body_bytes"`
	History  *wire.Answer  `json:"history,omitempty"`
	Cost     *wire.NanoUSD `json:"cost_nano_usd,omitempty"`

	Body json.RawMessage `json:"body,omitempty"`
}

func (g *globals) deadCommand() *cobra.Command {
	var all, body bool
	var file string
	requeue := &cobra.Command{
		Use:   "requeue [ID]",
		Short: "Run a dead job again, or all of them, under the same ID",
		Args: func(_ *cobra.Command, args []string) error {
			if all == (len(args) == 1) || len(args) > 1 {
				return usage("see sluice dead list", "name one job, or --all")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if all {
				return g.requeueAll(cmd)
			}
			return g.requeue(cmd, args[0])
		},
	}
	requeue.Flags().BoolVar(&all, "all", false, "all dead letters (of the tenant, if --tenant is given)")
	show := &cobra.Command{Use: "show ID", Short: "Show a dead letter, why it died and its attempts", Args: exactly(1, "one job ID"),
		RunE: func(cmd *cobra.Command, args []string) error { return g.showDead(cmd, args[0], body) }}
	show.Flags().BoolVar(&body, "body", false, "show the request too")
	edit := &cobra.Command{Use: "edit ID", Short: "Change the request of a dead letter before it is requeued", Args: exactly(1, "one job ID"),
		Long:    "Change the request of a dead letter: in the editor that VISUAL or EDITOR names, or to what --file holds.",
		Example: "  sluice dead edit order-7\n  sluice dead show order-7 --body --json | jq .dead.body.max_tokens=100 | sluice dead edit order-7 --file -",
		RunE:    func(cmd *cobra.Command, args []string) error { return g.editDead(cmd, args[0], file) }}
	edit.Flags().StringVar(&file, "file", "", "JSON request to put in its place; - for standard input")
	return group("dead", "Look at jobs that ran out of attempts, and run them again",
		&cobra.Command{Use: "list", Short: "List dead letters", Args: exactly(0, "no arguments"), RunE: g.listDead},
		show, edit, requeue)
}

func (g *globals) listDead(cmd *cobra.Command, _ []string) error {
	var answer struct {
		Dead []deadLetter `json:"dead"`
	}
	if err := g.askOnce(cmd, "dead.list", map[string]any{"tenant": g.tenant}, &answer); err != nil {
		return err
	}
	if g.json {
		return printJSON(cmd.OutOrStdout(), answer)
	}
	t := newTable("JOB", "TENANT", "CLASS", "ROUTE", ">ATTEMPTS", "LAST ERROR", "POOL", ">USD", "SINCE")
	for _, d := range answer.Dead {
		t.row(d.Job, d.Tenant, string(d.Class), d.Route, strconv.Itoa(d.Attempts), string(d.Error), d.Pool, usd(d.Cost), localTime(d.At))
	}
	return t.print(cmd.OutOrStdout())
}

// deadRequest names one dead letter of the tenant.
func (g *globals) deadRequest(cmd *cobra.Command, job string) (map[string]any, error) {
	c, err := g.load(cmd)
	if err != nil {
		return nil, err
	}
	tenant, _ := g.identity(c)
	return map[string]any{"tenant": tenant, "job": job}, nil
}

// askDead asks for one dead letter of the tenant.
func (g *globals) askDead(cmd *cobra.Command, op, job string, more map[string]any) (*deadLetter, error) {
	request, err := g.deadRequest(cmd, job)
	if err != nil {
		return nil, err
	}
	maps.Copy(request, more)
	var answer struct {
		Dead deadLetter `json:"dead"`
	}
	err = g.askOnce(cmd, op, request, &answer)
	return &answer.Dead, err
}

func (g *globals) showDead(cmd *cobra.Command, job string, body bool) error {
	d, err := g.askDead(cmd, "dead.show", job, map[string]any{"all": body})
	if err != nil {
		return err
	}
	out := cmd.OutOrStdout()
	if g.json {
		return printJSON(out, map[string]any{"dead": d})
	}
	t := newTable("job", d.Job)
	t.row("tenant", d.Tenant)
	t.row("route", d.Route)
	t.row("dead since", localTime(d.At))
	t.row("last error", string(d.Error))
	t.row("request", fmt.Sprintf("%d bytes", d.Bytes))
	if d.Edited != "" {
		t.row("edited", localTime(d.Edited))
	}
	if err := t.print(out); err != nil {
		return err
	}
	if d.History != nil {
		if err := printHistory(out, d.History.Queued, d.History.History); err != nil {
			return err
		}
	}
	if body {
		_, err = fmt.Fprintf(out, "\n%s\n", clean(indented(d.Body)))
	}
	return err
}

// indented is JSON for people, or what it is if it is none.
func indented(b []byte) string {
	var out bytes.Buffer
	if json.Indent(&out, b, "", "  ") != nil {
		return string(b)
	}
	return out.String()
}

// editDead replaces the request of a dead letter.
func (g *globals) editDead(cmd *cobra.Command, job, file string) error {
	var body []byte
	var err error
	switch file {
	case "":
		d, e := g.askDead(cmd, "dead.show", job, map[string]any{"all": true})
		if e != nil {
			return e
		}
		body, err = edited(cmd, []byte(indented(d.Body)+"\n"))
	case "-":
		body, err = io.ReadAll(io.LimitReader(cmd.InOrStdin(), wire.MaxBody+1))
	default:
		body, err = os.ReadFile(file)
	}
	if err != nil {
		return &failure{code: exitUsage, msg: "the new request cannot be read: " + err.Error(), cause: err}
	}
	if body == nil {
		say(cmd.ErrOrStderr(), "nothing was changed\n")
		return nil
	}
	d, err := g.askDead(cmd, "dead.edit", job, map[string]any{"body": body})
	if err != nil {
		return err
	}
	if g.json {
		return printJSON(cmd.OutOrStdout(), map[string]any{"dead": d})
	}
	say(cmd.ErrOrStderr(), "edited: %s, now %d bytes; run it with sluice dead requeue %s\n", clean(d.Job), d.Bytes, clean(d.Job))
	return nil
}

// edited lets the user edit a text; nil: it is as it was.
func edited(cmd *cobra.Command, text []byte) ([]byte, error) {
	editor := strings.Fields(firstOf(os.Getenv("VISUAL"), os.Getenv("EDITOR")))
	if len(editor) == 0 {
		return nil, errors.New("neither VISUAL nor EDITOR names an editor: give the request with --file")
	}
	dir, err := os.MkdirTemp("", "sluice-edit-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	path := filepath.Join(dir, "request.json")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		return nil, err
	}
	run := exec.CommandContext(cmd.Context(), editor[0], append(editor[1:], path)...)
	run.Stdin, run.Stdout, run.Stderr = os.Stdin, os.Stderr, os.Stderr
	if err := run.Run(); err != nil {
		return nil, fmt.Errorf("editor %s: %w", editor[0], err)
	}
	b, err := os.ReadFile(path)
	if err != nil || bytes.Equal(b, text) {
		return nil, err
	}
	return b, nil
}

func (g *globals) requeue(cmd *cobra.Command, job string) error {
	request, err := g.deadRequest(cmd, job)
	if err != nil {
		return err
	}
	var answer requeued
	if err := g.askOnce(cmd, "dead.requeue", request, &answer); err != nil {
		return err
	}
	return g.printRequeued(cmd, &answer)
}

// requeued is what became of dead letters.
type requeued struct {
	Requeued []string `json:"requeued"`
	Failed   []struct {
		Tenant string `json:"tenant"`
		Job    string `json:"job_id"`
		Error  string `json:"error"`
	} `json:"failed,omitempty"`
	More  bool   `json:"more,omitempty"`
	After uint64 `json:"after,omitempty"`
}

// requeueBatch is how many dead letters one request brings back.
const requeueBatch = 200

func (g *globals) requeueAll(cmd *cobra.Command) error {
	var all requeued
	for after, more := uint64(0), true; more; {
		var answer requeued
		request := map[string]any{"all": true, "tenant": g.tenant, "limit": requeueBatch, "after": after}
		if err := g.askOnce(cmd, "dead.requeue", request, &answer); err != nil {
			return err
		}
		all.Requeued, all.Failed = append(all.Requeued, answer.Requeued...), append(all.Failed, answer.Failed...)
		more, after = answer.More, answer.After
	}
	return g.printRequeued(cmd, &all)
}

func (g *globals) printRequeued(cmd *cobra.Command, r *requeued) error {
	if g.json {
		if err := printJSON(cmd.OutOrStdout(), r); err != nil {
			return err
		}
	} else {
		for _, id := range r.Requeued {
			if _, err := fmt.Fprintln(cmd.OutOrStdout(), clean(id)); err != nil {
				return err
			}
		}
		say(cmd.ErrOrStderr(), "queued again: %s\n", count(len(r.Requeued), "job"))
	}
	if len(r.Failed) > 0 {
		f := r.Failed[0]
		return failed(nil, "see sluice dead list", "%s not queued again; job %s of tenant %s: %s", count(len(r.Failed), "job"), clean(f.Job), clean(f.Tenant), clean(f.Error))
	}
	return nil
}
