package demo

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/sluicehq/sluice/cmd/sluice/internal/config"
	"github.com/sluicehq/sluice/sdk"
	"github.com/sluicehq/sluice/workers/price"
)

// stream submits one interactive job while the others run, and prints its
// answer as it comes.
func (d *demo) stream(ctx context.Context, tenant string) (*sdk.Handle, error) {
	const question = "What is a sluice, and what was it good for?"
	job := sdk.Job{ID: "demo-stream", Class: sdk.Interactive, Stream: true, Request: sdk.Prompt(config.DefaultRoute, question),
		Labels: map[string]string{"team": "demo"}}
	h, err := d.clients[tenant].Submit(ctx, job)
	if err != nil {
		return nil, fmt.Errorf("submit: %w", err)
	}
	d.say("\nOne answer as it comes, meanwhile. %q\n  ", question)
	w := &wrapper{w: d.out, column: 2}
	for c, err := range h.Chunks(ctx) {
		if err != nil {
			break // the result says what happened
		}
		if c.Restarted {
			d.say("\n  … attempt %d broke off; the answer begins again:\n  ", c.Attempt-1)
			w.column = 2
		}
		w.write(c.Text())
	}
	r, err := h.Wait(ctx)
	if err != nil {
		return nil, err
	}
	d.board.result(r)
	if r.Err != nil {
		d.say("\n  (%v)\n", r.Err)
		return h, nil
	}
	a := r.Record.Entry.Attempt
	d.say("\n  (%s at %s: first token after %d ms, %d tokens in %d ms, $%s)\n", r.Model, r.Pool, a.TTFTMS, r.Usage.Output, a.LatencyMS, r.Cost)
	return h, nil
}

// wrapper breaks lines between words.
type wrapper struct {
	w      io.Writer
	column int
}

func (w *wrapper) write(text string) {
	const width = 78
	for _, word := range strings.SplitAfter(text, " ") {
		if n := len([]rune(word)); w.column+n > width {
			word = "\n  " + strings.TrimLeft(word, " ")
			w.column = 2 + n
		} else {
			w.column += n
		}
		_, _ = io.WriteString(w.w, word)
	}
}

// realPrompts are for the pools of real providers, which cost real money:
// short, with short answers.
var realPrompts = []string{
	"In one sentence: what is a sluice?",
	"Name three rivers that are longer than the Rhine. Names only.",
	"What is 17 times 23? The number only.",
}

// realTimeout is how long a real provider may take.
const realTimeout = 20 * time.Second

// realModel is the cheapest model of a pool.
func (d *demo) realModel(p *config.Pool) *config.Model {
	best := &p.Models[0]
	var least int64 = -1
	for i := range p.Models {
		m := &p.Models[i]
		if pr, ok := price.Lookup(p.Provider, m.Upstream); ok && (least < 0 || int64(pr.Output) < least) {
			best, least = m, int64(pr.Output)
		}
	}
	return best
}

// real asks the real providers whose keys are there.
func (d *demo) real(ctx context.Context) error {
	for i := range d.sys.cfg.Pools {
		p := &d.sys.cfg.Pools[i]
		if p.Simulated != nil {
			continue
		}
		m := d.realModel(p)
		d.say("\n%s of %s, through the route of the same name:\n", m.Name, p.Provider)
		var handles []*sdk.Handle
		client := d.anyClient()
		for k, text := range realPrompts {
			request := sdk.Prompt(m.Name, text)
			request.MaxTokens = 100
			h, err := client.Submit(ctx, sdk.Job{ID: fmt.Sprintf("demo-%s-%d", p.Name, k), Class: sdk.Interactive, Request: request,
				Timeout: realTimeout, Labels: map[string]string{"team": "demo"}})
			if err != nil {
				return fmt.Errorf("submit: %w", err)
			}
			handles = append(handles, h)
		}
		for k, h := range handles {
			d.handles = append(d.handles, h)
			r, err := h.Wait(ctx)
			if err != nil {
				return err
			}
			d.say("  %s\n", realPrompts[k])
			d.answer(r)
		}
	}
	return nil
}

func (d *demo) anyClient() *sdk.Client {
	for _, c := range d.clients {
		return c
	}
	return nil
}

// answer prints a result on a line.
func (d *demo) answer(r *sdk.Result) {
	if r.Err != nil {
		d.say("    → %s: %v\n", r.Status, r.Err)
		return
	}
	text := []rune(strings.Join(strings.Fields(r.Text()), " "))
	if len(text) > 160 {
		text = append(text[:159], '…')
	}
	d.say("    → %s  (%s, $%s)\n", string(text), r.Pool, r.Cost)
}

// answers prints the first n answers.
func (d *demo) answers(ctx context.Context, n int) error {
	for _, h := range d.handles[:min(n, len(d.handles))] {
		r, err := h.Wait(ctx)
		if err != nil {
			return err
		}
		d.say("  %s %s\n", h.Tenant(), h.ID())
		d.answer(r)
	}
	return nil
}
