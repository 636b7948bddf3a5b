package openapi

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
)

// Document is an OpenAPI document, as far as it is read.
type Document struct {
	Components struct {
		Schemas map[string]*schema
	}
}

type schema struct {
	Ref        string `json:"$ref"`
	Type       any
	Required   []string
	Properties map[string]*schema
	Items      *schema
	Enum       []any
	AnyOf      []*schema
	OneOf      []*schema
	AllOf      []*schema
	Nullable   bool
}

// Load reads a document in JSON.
func Load(path string) (*Document, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	d := new(Document)
	return d, json.Unmarshal(raw, d)
}

// Faults lists how JSON departs from the schema of a name: nothing, if it does
// not. A schema that is not there is a fault.
func (d *Document) Faults(name string, raw []byte) []string {
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		return []string{name + ": " + err.Error()}
	}
	sc := d.Components.Schemas[name]
	if sc == nil {
		return []string{"the document has no schema " + name}
	}
	return d.check(sc, v, name)
}

func (d *Document) check(sc *schema, v any, at string) []string {
	if name, ok := strings.CutPrefix(sc.Ref, "#/components/schemas/"); ok {
		return d.check(d.Components.Schemas[name], v, at)
	}
	if v == nil && sc.Nullable {
		return nil
	}
	var faults []string
	for _, part := range sc.AllOf {
		faults = append(faults, d.check(part, v, at)...)
	}
	for _, choices := range [][]*schema{sc.AnyOf, sc.OneOf} {
		faults = append(faults, d.some(choices, v, at)...)
	}
	if !hasType(sc.Type, v) {
		return append(faults, fmt.Sprintf("%s is %T, want %v", at, v, sc.Type))
	}
	if len(sc.Enum) > 0 && !slices.Contains(sc.Enum, v) {
		faults = append(faults, fmt.Sprintf("%s is %v, want one of %v", at, v, sc.Enum))
	}
	return append(faults, d.inside(sc, v, at)...)
}

// inside looks at the parts of objects and arrays.
func (d *Document) inside(sc *schema, v any, at string) (faults []string) {
	switch v := v.(type) {
	case map[string]any:
		for _, name := range sc.Required {
			if _, ok := v[name]; !ok {
				faults = append(faults, at+"."+name+" is missing")
			}
		}
		for name, part := range sc.Properties {
			if inner, ok := v[name]; ok {
				faults = append(faults, d.check(part, inner, at+"."+name)...)
			}
		}
	case []any:
		for i, e := range v {
			if sc.Items != nil {
				faults = append(faults, d.check(sc.Items, e, fmt.Sprintf("%s[%d]", at, i))...)
			}
		}
	}
	return faults
}

// some wants v to fit one of the choices, and reports the nearest.
func (d *Document) some(choices []*schema, v any, at string) []string {
	var nearest []string
	for i, c := range choices {
		faults := d.check(c, v, at)
		if len(faults) == 0 {
			return nil
		}
		if i == 0 || len(faults) < len(nearest) {
			nearest = faults
		}
	}
	return nearest
}

func hasType(want, v any) bool {
	switch want := want.(type) {
	case nil:
		return true
	case []any:
		return slices.ContainsFunc(want, func(w any) bool { return hasType(w, v) })
	case string:
		switch v := v.(type) {
		case nil:
			return want == "null"
		case bool:
			return want == "boolean"
		case float64:
			return want == "number" || want == "integer" && v == float64(int64(v))
		case string:
			return want == "string"
		case []any:
			return want == "array"
		case map[string]any:
			return want == "object"
		}
	}
	return false
}
