package rules

import (
	"fmt"
	"strings"
	"time"

	"github.com/google/cel-go/cel"
	"github.com/sluicehq/sluice/router"
	"github.com/sluicehq/sluice/sdk/wire"
)

// Rule is one rule as configured.
type Rule struct {
	Name     string // unique; what decisions record
	When     string // a CEL expression of type bool over [Variables]
	Then     Effect
	Continue bool // whether later rules may add what this one leaves open
}

// Effect is what follows from a rule that matches. Zero fields change
// nothing.
type Effect struct {
	Route       string         // decides instead of the route asked for
	Require     []router.Label // labels that a candidate's pool must have
	Prefer      []router.Label // labels to have where some candidates do
	Class       wire.Class
	MaxAttempts int           // failed attempts before the job is dead
	Deadline    time.Duration // from submission; an earlier one of the client's stays
}

// Outcome is what the rules make of a job.
type Outcome struct {
	Effect
	Rules  []string // names of those that matched, in their order; nil: none
	Failed []string // names of those that could not be evaluated (I2)
	Router string   // name of the one that Route is of
}

// Set is a list of compiled rules. A nil Set has none.
type Set struct{ rules []compiled }

type compiled struct {
	*Rule
	program cel.Program
}

// costLimit bounds the work of one evaluation, in CEL's units: about one for
// each step, and for each ten bytes that are compared.
const costLimit = 100_000

// Fault is what is wrong with a rule.
type Fault struct {
	Index int    // of the rule
	Name  string // of the rule
	Err   error
}

// Faults is the error of Compile: every rule that is at fault (I1).
type Faults []Fault

// Error implements error.
func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i, x := range f {
		lines[i] = fmt.Sprintf("rule %s: %v", x.Name, x.Err)
	}
	return strings.Join(lines, "; ")
}

// Compile compiles rules; an error is of type [Faults].
func Compile(list []Rule) (*Set, error) {
	s := &Set{}
	var faults Faults
	for i := range list {
		r := list[i]
		p, err := compile(r.When)
		if err != nil {
			faults = append(faults, Fault{Index: i, Name: r.Name, Err: err})
			continue
		}
		s.rules = append(s.rules, compiled{Rule: &r, program: p})
	}
	if faults != nil {
		return nil, faults
	}
	return s, nil
}

// Check says what is wrong with an expression, nil if nothing is.
func Check(when string) error {
	_, err := compile(when)
	return err
}

func compile(when string) (cel.Program, error) {
	env, err := environment()
	if err != nil {
		return nil, err
	}
	ast, issues := env.Compile(when)
	if issues.Err() != nil {
		var found []string
		for _, e := range issues.Errors() {
			found = append(found, fmt.Sprintf("line %d, column %d: %s", e.Location.Line(), e.Location.Column()+1, e.Message))
		}
		return nil, fmt.Errorf("%s", strings.Join(found, "; "))
	}
	if ast.OutputType() != cel.BoolType {
		return nil, fmt.Errorf("is a %s, where a rule needs a bool: compare it with something", ast.OutputType())
	}
	return env.Program(ast, cel.EvalOptions(cel.OptOptimize), cel.CostLimit(costLimit))
}

// Len is how many rules there are.
func (s *Set) Len() int {
	if s == nil {
		return 0
	}
	return len(s.rules)
}

// Match says what the rules make of a job (I2).
func (s *Set) Match(f *Facts) (out Outcome) {
	if s == nil {
		return out
	}
	facts := activation{f}
	for i := range s.rules {
		r := &s.rules[i]
		matched, failed := r.matches(facts)
		if failed {
			out.Failed = append(out.Failed, r.Name)
		}
		if !matched {
			continue
		}
		out.Rules = append(out.Rules, r.Name)
		if out.Route == "" && r.Then.Route != "" {
			out.Router = r.Name
		}
		out.add(&r.Then)
		if !r.Continue {
			break
		}
	}
	return out
}

// matches evaluates one rule. A panic of the library is a failure like any
// other (I2).
func (r *compiled) matches(facts activation) (matched, failed bool) {
	defer func() {
		if recover() != nil {
			matched, failed = false, true
		}
	}()
	v, _, err := r.program.Eval(facts)
	if err != nil {
		return false, true
	}
	matched, ok := v.Value().(bool)
	return matched, !ok
}

// add takes from a later rule what earlier ones have left open.
func (e *Effect) add(later *Effect) {
	if e.Route == "" {
		e.Route = later.Route
	}
	if e.Class == "" {
		e.Class = later.Class
	}
	if e.MaxAttempts == 0 {
		e.MaxAttempts = later.MaxAttempts
	}
	if e.Deadline == 0 {
		e.Deadline = later.Deadline
	}
	e.Require = append(e.Require[:len(e.Require):len(e.Require)], later.Require...)
	e.Prefer = append(e.Prefer[:len(e.Prefer):len(e.Prefer)], later.Prefer...)
}
