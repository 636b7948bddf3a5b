package config

import (
	"fmt"
	"reflect"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/sluicehq/sluice/workers/text"
)

// Text is what is kept of a tenant's prompts and answers, in the table texts of
// ClickHouse. Without it nothing is.
type Text struct {
	Keep     time.Duration `yaml:"keep"`      // how long; 1m to 3650d
	Share    float64       `yaml:"share"`     // of the jobs; above 0 to 1; default 1
	MaxBytes int           `yaml:"max_bytes"` // of a prompt, and of an answer, from its beginning; 1 to 524,288; default 65536
	// Redact is what is left out before the text leaves the worker; default: all
	// kinds there are, and []: nothing.
	Redact []Redaction `yaml:"redact"`
}

// Redaction is a kind of what is left out, in the file one of [text.Kinds]; or a
// pattern of one's own with the word for its place.
type Redaction struct {
	Kind    string `yaml:"-"`
	Pattern string `yaml:"pattern,omitempty"` // RE2; its first group is left out, or all of the match
	As      string `yaml:"as,omitempty"`      // [a-z0-9_-]{1,32}
}

// DefaultTextBytes is what is kept of a prompt, and of an answer.
const DefaultTextBytes = 64 << 10

func (t *Text) setDefaults() {
	t.Share, t.MaxBytes = 1, DefaultTextBytes
	for _, k := range text.Kinds() {
		t.Redact = append(t.Redact, Redaction{Kind: k})
	}
}

// Rules are the redactions as package text takes them.
func (t *Text) Rules() []text.Rule {
	out := make([]text.Rule, len(t.Redact))
	for i, r := range t.Redact {
		out[i] = text.Rule(r)
	}
	return out
}

// redaction decodes a kind, or a mapping of pattern and as.
func (d *decoder) redaction(key string, n *yaml.Node, v reflect.Value) {
	if n.Kind == yaml.ScalarNode {
		v.Set(reflect.ValueOf(Redaction{Kind: n.Value}))
		return
	}
	d.mapping(key, n, v)
}

// MarshalYAML writes a redaction as the file does.
func (r Redaction) MarshalYAML() (any, error) {
	if r.Kind != "" {
		return r.Kind, nil
	}
	return map[string]string{"pattern": r.Pattern, "as": r.As}, nil
}

// tenantText checks what is kept of a tenant.
func (v *validator) tenantText(key string, t *Text) {
	if t == nil {
		return
	}
	v.duration(key+".keep", t.Keep, time.Minute, 3650*day)
	if !(t.Share > 0 && t.Share <= 1) {
		v.bad(key+".share", fmt.Sprint(t.Share), "must be above 0, up to 1")
	}
	v.number(key+".max_bytes", int64(t.MaxBytes), 1, wire.MaxText)
	for i, r := range t.Rules() {
		if err := r.Check(); err != nil {
			v.bad(at(key+".redact", i), r.Kind, err.Error())
		}
	}
	if v.c.ClickHouse.DSN.IsZero() && !v.c.ClickHouse.Embedded.Enabled {
		v.bad(key, "", "needs ClickHouse: clickhouse.dsn, or clickhouse.embedded.enabled")
	}
}
