package rules

import (
	"sync"
	"time"

	"github.com/google/cel-go/cel"
	"github.com/sluicehq/sluice/sdk/wire"
)

// Facts are what rules are about. The zero value of Meta's fields stands for
// what the client did not say.
type Facts struct {
	Meta    *wire.Meta
	Tier    string // of the tenant
	Attempt int    // that this decision is for, from 1
	Now     time.Time
}

// Variable is a name that expressions may use.
type Variable struct {
	Name    string
	Type    string // CEL's name of the type
	Meaning string
	typ     *cel.Type
	value   func(*Facts) any
}

var (
	labelsType  = cel.MapType(cel.StringType, cel.StringType)
	contentType = cel.ListType(cel.StringType)
)

// variables are the language: all that an expression can see.
var variables = [...]Variable{
	{"tenant", "string", "who pays", cel.StringType, func(f *Facts) any { return f.Meta.Tenant }},
	{"tier", "string", "the tenant's tier", cel.StringType, func(f *Facts) any { return f.Tier }},
	{"class", "string", "interactive, standard or batch, as submitted", cel.StringType, func(f *Facts) any { return string(f.Meta.Asked()) }},
	{"model", "string", "the route that was asked for", cel.StringType, func(f *Facts) any { return f.Meta.Route }},
	{"endpoint", "string", "such as /v1/chat/completions", cel.StringType, func(f *Facts) any { return string(f.Meta.Endpoint) }},
	{"stream", "bool", "whether a stream was asked for", cel.BoolType, func(f *Facts) any { return f.Meta.Stream }},
	{"labels", "map(string, string)", `Sluice-Label-<name> headers; one that may be absent: labels[?"team"].orValue("")`, labelsType, labelsOf},
	{"content", "list(string)", "what the request has: text, image, audio, tools, json_schema, thinking", contentType, func(f *Facts) any { return Content(f.Meta.Needs) }},
	{"input_tokens", "int", "estimate from the body's size", cel.IntType, func(f *Facts) any { return f.Meta.InputTokens() }},
	{"max_tokens", "int", "most output tokens asked for, 0: not said", cel.IntType, func(f *Facts) any { return f.Meta.MaxTokens }},
	{"region", "string", "where the user is", cel.StringType, func(f *Facts) any { return f.Meta.Region }},
	{"affinity", "string", "session or user", cel.StringType, func(f *Facts) any { return f.Meta.Affinity }},
	{"batch", "string", "the batch it belongs to", cel.StringType, func(f *Facts) any { return f.Meta.Batch }},
	{"attempt", "int", "the attempt to be made, from 1", cel.IntType, func(f *Facts) any { return int64(f.Attempt) }},
	{"now", "timestamp", `such as now.getHours("Europe/Berlin") or now.getDayOfWeek() (0 is Sunday)`, cel.TimestampType, func(f *Facts) any { return f.Now }},
}

func labelsOf(f *Facts) any {
	if f.Meta.Labels == nil {
		return map[string]string{}
	}
	return f.Meta.Labels
}

// Variables lists what expressions can see.
func Variables() []Variable { return variables[:] }

// contents are the words for what a body asks of a model.
var contents = [...]struct {
	need wire.Needs
	word string
}{
	{wire.NeedVision, "image"}, {wire.NeedAudio, "audio"}, {wire.NeedTools, "tools"},
	{wire.NeedJSONSchema, "json_schema"}, {wire.NeedThinking, "thinking"},
}

// Content lists what a request has, for the variable content. Every request
// has text.
func Content(n wire.Needs) []string {
	list := []string{"text"}
	for _, c := range contents {
		if n&c.need != 0 {
			list = append(list, c.word)
		}
	}
	return list
}

// environment is the same for every rule, and takes milliseconds to make.
var environment = sync.OnceValues(func() (*cel.Env, error) {
	opts := []cel.EnvOption{cel.OptionalTypes(), cel.DefaultUTCTimeZone(true)}
	for i := range variables {
		opts = append(opts, cel.Variable(variables[i].Name, variables[i].typ))
	}
	return cel.NewEnv(opts...)
})

// places are the variables by name.
var places = func() map[string]*Variable {
	m := make(map[string]*Variable, len(variables))
	for i := range variables {
		m[variables[i].Name] = &variables[i]
	}
	return m
}()

// activation gives an evaluation the facts that it asks for.
type activation struct{ *Facts }

// ResolveName implements cel.Activation.
func (a activation) ResolveName(name string) (any, bool) {
	v := places[name]
	if v == nil {
		return nil, false
	}
	return v.value(a.Facts), true
}

// Parent implements cel.Activation.
func (a activation) Parent() cel.Activation { return nil }
