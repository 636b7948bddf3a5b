package demo

import (
	_ "embed"
	"fmt"
	"strings"

	"github.com/sluicehq/sluice/sdk"
	"github.com/sluicehq/sluice/sdk/wire"
)

//go:embed prompts.txt
var promptsText string

// prompt is one line of prompts.txt.
type prompt struct {
	tenant string
	class  sdk.Class
	team   string
	text   string
}

// prompts are the first n of the prompts that ship with sluice, over and over
// if n is more than there are; 0: all of them.
func prompts(n int) ([]prompt, error) {
	all, err := parsePrompts(promptsText)
	if err != nil || n == 0 {
		return all, err
	}
	out := make([]prompt, n)
	for i := range out {
		out[i] = all[i%len(all)]
	}
	return out, nil
}

func parsePrompts(text string) ([]prompt, error) {
	var out []prompt
	for i, line := range strings.Split(text, "\n") {
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		head, text, ok := strings.Cut(line, ": ")
		words := strings.Fields(head)
		if !ok || len(words) != 3 || text == "" {
			return nil, fmt.Errorf("prompts.txt:%d: not of the form \"tenant class team: prompt\"", i+1)
		}
		p := prompt{tenant: words[0], class: wire.Class(words[1]), team: words[2], text: text}
		if !wire.ValidName(p.tenant) || !p.class.Valid() {
			return nil, fmt.Errorf("prompts.txt:%d: tenant %q or class %q is not valid", i+1, p.tenant, p.class)
		}
		out = append(out, p)
	}
	return out, nil
}

// job is the i-th job of a demo. Its ID makes the simulated providers' answers
// and faults the same on every run, pool by pool.
func (p *prompt) job(i int, route string) sdk.Job {
	return sdk.Job{ID: fmt.Sprintf("demo-%04d", i), Class: p.class, Request: sdk.Prompt(route, p.text),
		Labels: map[string]string{"team": p.team}}
}
