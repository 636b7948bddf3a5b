package config

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
	"go.yaml.in/yaml/v3"
)

// maxNodes bounds what aliases may expand to.
const maxNodes = 200_000

// origin is where a value was given. The zero value stands for one that could
// not be decoded: its fault is known, and validate has nothing to add.
type origin struct {
	where string
	line  int
	text  string // scalar text; empty for lists and mappings
}

// decoder fills a Config from YAML nodes, remembers where each value came
// from, and collects faults instead of stopping (I1).
type decoder struct {
	where  string // of the source being read
	lines  bool   // whether the source has line numbers
	at     map[string]origin
	faults Faults
	nodes  int
}

func (d *decoder) fault(o origin, key, value, bound string) {
	if value != "" {
		value = shown(key, value)
	}
	d.faults = append(d.faults, Fault{Where: o.where, Line: o.line, Key: shownKey(key), Value: value, Bound: bound})
}

func (d *decoder) origin(n *yaml.Node) origin {
	o := origin{where: d.where}
	if d.lines {
		o.line = n.Line
	}
	if n.Kind == yaml.ScalarNode {
		o.text = n.Value
	}
	return o
}

func (d *decoder) nodeFault(n *yaml.Node, key, bound string) {
	o := d.origin(n)
	d.fault(o, key, o.text, bound)
}

// note records that key was given here.
func (d *decoder) note(key string, n *yaml.Node) { d.at[key] = d.origin(n) }

// forget drops what an earlier source said of anything below key.
func (d *decoder) forget(key string) {
	for k := range d.at {
		if strings.HasPrefix(k, key+".") || strings.HasPrefix(k, key+"[") {
			delete(d.at, k)
		}
	}
}

// value decodes a node into v. A null leaves the default.
func (d *decoder) value(key string, n *yaml.Node, v reflect.Value) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if d.nodes++; d.nodes > maxNodes {
		if d.nodes == maxNodes+1 {
			d.nodeFault(n, key, "the configuration expands to more than "+strconv.Itoa(maxNodes)+" values")
		}
		return
	}
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" {
		return
	}
	switch v.Interface().(type) {
	case Models:
		d.note(key, n)
		d.models(key, n, v)
		return
	case *wire.Price:
		d.note(key, n)
		d.price(key, n, v)
		return
	case Redaction:
		d.note(key, n)
		d.redaction(key, n, v)
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			v.Set(fresh(v.Type().Elem()))
		}
		d.value(key, n, v.Elem())
	case reflect.Struct:
		if _, scalar := scalarTypes[v.Type()]; scalar {
			d.scalar(key, n, v)
			return
		}
		d.note(key, n)
		d.mapping(key, n, v)
	case reflect.Slice:
		d.note(key, n)
		d.list(key, n, v)
	case reflect.Map:
		d.note(key, n)
		d.texts(key, n, v)
	default:
		d.scalar(key, n, v)
	}
}

// fresh is a pointer to a new value with its defaults set.
func fresh(t reflect.Type) reflect.Value {
	p := reflect.New(t)
	if def, ok := p.Interface().(interface{ setDefaults() }); ok {
		def.setDefaults()
	}
	return p
}

type pair struct{ key, value *yaml.Node }

// pairs are the entries of a mapping with merge keys (<<) applied; duplicate
// keys are faults.
func (d *decoder) pairs(key string, n *yaml.Node) []pair {
	if n.Kind != yaml.MappingNode {
		d.nodeFault(n, key, "must be a mapping of keys to values")
		d.at[key] = origin{}
		return nil
	}
	var own, merged []pair
	line := make(map[string]int)
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		switch {
		case k.ShortTag() == "!!merge":
			if v.Kind == yaml.AliasNode && v.Alias.Kind == yaml.MappingNode && v.Alias != n {
				merged = append(merged, plainPairs(v.Alias)...)
				continue
			}
			d.nodeFault(k, join(key, "<<"), "must name one mapping: <<: *anchor")
		case k.Kind != yaml.ScalarNode:
			d.nodeFault(k, key, "a key must be a plain word")
		case line[k.Value] > 0:
			o := d.origin(k)
			d.fault(o, join(key, k.Value), "", fmt.Sprintf("is given twice, first in line %d", line[k.Value]))
		default:
			line[k.Value] = max(k.Line, 1)
			own = append(own, pair{k, v})
		}
	}
	for _, p := range merged {
		if line[p.key.Value] == 0 {
			line[p.key.Value] = 1
			own = append(own, p)
		}
	}
	return own
}

func plainPairs(n *yaml.Node) []pair {
	var out []pair
	for i := 0; i+1 < len(n.Content); i += 2 {
		if k := n.Content[i]; k.Kind == yaml.ScalarNode && k.ShortTag() != "!!merge" {
			out = append(out, pair{k, n.Content[i+1]})
		}
	}
	return out
}

func join(key, sub string) string {
	if key == "" {
		return sub
	}
	return key + "." + sub
}

// mapping decodes a mapping into a struct, by its yaml tags.
func (d *decoder) mapping(key string, n *yaml.Node, v reflect.Value) {
	names := fieldNames(v.Type())
	for _, p := range d.pairs(key, n) {
		i := slices.Index(names, p.key.Value)
		if i < 0 || p.key.Value == "" {
			o := d.origin(p.key)
			if o.text = ""; p.value.Kind == yaml.ScalarNode {
				o.text = p.value.Value
			}
			d.fault(o, join(key, p.key.Value), o.text, "unknown key"+hint(p.key.Value, names))
			continue
		}
		d.value(join(key, p.key.Value), p.value, v.Field(i))
	}
}

// fieldNames are the YAML keys of a struct's fields, by index; "" for a field
// without one.
func fieldNames(t reflect.Type) []string {
	names := make([]string, t.NumField())
	for i := range names {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ",")
		if name != "-" {
			names[i] = name
		}
	}
	return names
}

func (d *decoder) list(key string, n *yaml.Node, v reflect.Value) {
	if n.Kind != yaml.SequenceNode {
		d.nodeFault(n, key, "must be a list")
		d.at[key] = origin{}
		return
	}
	out := reflect.MakeSlice(v.Type(), 0, len(n.Content))
	for i, item := range n.Content {
		e := fresh(v.Type().Elem()).Elem()
		at := fmt.Sprintf("%s[%d]", key, i)
		d.note(at, item)
		d.value(at, item, e)
		out = reflect.Append(out, e)
	}
	v.Set(out)
}

// texts decodes a mapping of free names to scalars.
func (d *decoder) texts(key string, n *yaml.Node, v reflect.Value) {
	out := make(map[string]string)
	for _, p := range d.pairs(key, n) {
		val := p.value
		if val.Kind == yaml.AliasNode {
			val = val.Alias
		}
		if val.Kind != yaml.ScalarNode {
			d.nodeFault(val, join(key, p.key.Value), "must be a single value")
			continue
		}
		d.note(join(key, p.key.Value), val)
		out[p.key.Value] = val.Value
	}
	v.Set(reflect.ValueOf(out))
}

// modelBody is a model as the file writes it, below its offered name.
type modelBody struct {
	Upstream string      `yaml:"upstream"`
	Price    *wire.Price `yaml:"price"`
}

func (d *decoder) models(key string, n *yaml.Node, v reflect.Value) {
	var out Models
	for _, p := range d.pairs(key, n) {
		var body modelBody
		at := join(key, p.key.Value)
		d.note(at, p.key)
		d.value(at, p.value, reflect.ValueOf(&body).Elem())
		if body.Upstream == "" {
			body.Upstream = p.key.Value
		}
		out = append(out, Model{Name: p.key.Value, Upstream: body.Upstream, Price: body.Price})
	}
	v.Set(reflect.ValueOf(out))
}

// price decodes rates in dollars per million tokens, from their text (I4).
func (d *decoder) price(key string, n *yaml.Node, v reflect.Value) {
	price := &wire.Price{Version: PriceVersion}
	fields := map[string]*wire.Rate{
		"input": &price.Input, "output": &price.Output, "reasoning": &price.Reasoning,
		"cache_read": &price.CacheRead, "cache_write": &price.CacheWrite,
	}
	names := []string{"input", "cache_read", "cache_write", "output", "reasoning"}
	given := make(map[string]bool)
	for _, p := range d.pairs(key, n) {
		rate, ok := fields[p.key.Value]
		if !ok {
			d.fault(d.origin(p.key), join(key, p.key.Value), "", "unknown key"+hint(p.key.Value, names))
			continue
		}
		given[p.key.Value] = p.value.ShortTag() != "!!null"
		d.value(join(key, p.key.Value), p.value, reflect.ValueOf(rate).Elem())
	}
	for _, need := range []string{"input", "output"} {
		if !given[need] && n.Kind == yaml.MappingNode {
			d.nodeFault(n, join(key, need), "is missing: a price needs input and output (0 where there is none)")
		}
	}
	for name, from := range map[string]wire.Rate{"cache_read": price.Input, "cache_write": price.Input, "reasoning": price.Output} {
		if !given[name] {
			*fields[name] = from
		}
	}
	v.Set(reflect.ValueOf(price))
}

// scalarTypes are structs written as one value, and types with a notation of
// their own.
var scalarTypes = map[reflect.Type]func(text string, v reflect.Value) (bound string){
	reflect.TypeFor[Secret](): func(s string, v reflect.Value) string {
		v.Set(reflect.ValueOf(Secret{source: s}))
		return ""
	},
	reflect.TypeFor[URL](): func(s string, v reflect.Value) string {
		v.Set(reflect.ValueOf(URL{Secret{source: s}}))
		return ""
	},
	reflect.TypeFor[time.Duration](): func(s string, v reflect.Value) string {
		t, err := ParseDuration(s)
		v.SetInt(int64(t))
		return boundIf(err != nil, "must be a duration such as 500ms, 30s, 24h or 7d")
	},
	reflect.TypeFor[Sync](): func(s string, v reflect.Value) string {
		if s == "always" {
			v.SetInt(0)
			return ""
		}
		t, err := ParseDuration(s)
		v.SetInt(int64(t))
		return boundIf(err != nil || t <= 0, `must be a duration above 0, such as 1s, or "always"`)
	},
	reflect.TypeFor[wire.Rate](): func(s string, v reflect.Value) string {
		r, err := wire.ParseRate(s)
		v.SetInt(int64(r))
		return boundIf(err != nil, "must be dollars per million tokens: a plain decimal, at most six decimals, such as 2.50")
	},
	reflect.TypeFor[wire.NanoUSD](): func(s string, v reflect.Value) string {
		usd, err := wire.ParseUSD(s)
		v.SetInt(int64(usd))
		return boundIf(err != nil, "must be dollars: a plain decimal, at most nine decimals, such as 50 or 0.25")
	},
}

func boundIf(bad bool, bound string) string {
	if bad {
		return bound
	}
	return ""
}

func (d *decoder) scalar(key string, n *yaml.Node, v reflect.Value) {
	d.note(key, n)
	if n.Kind != yaml.ScalarNode {
		d.nodeFault(n, key, "must be a single value")
		d.at[key] = origin{}
		return
	}
	before := reflect.ValueOf(v.Interface())
	if bound := setScalar(n.Value, v); bound != "" {
		d.nodeFault(n, key, bound)
		v.Set(before)
		d.at[key] = origin{}
	}
}

// setScalar parses text into v, or says what would be right.
func setScalar(text string, v reflect.Value) (bound string) {
	if parse, ok := scalarTypes[v.Type()]; ok {
		return parse(text, v)
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Bool:
		v.SetBool(text == "true")
		return boundIf(text != "true" && text != "false", "must be true or false")
	case reflect.Int, reflect.Int64:
		i, err := strconv.ParseInt(text, 10, 64)
		v.SetInt(i)
		return boundIf(err != nil, "must be a whole number")
	case reflect.Uint64:
		i, err := strconv.ParseUint(text, 10, 64)
		v.SetUint(i)
		return boundIf(err != nil, "must be a whole number, not negative")
	case reflect.Float64:
		f, err := strconv.ParseFloat(text, 64)
		v.SetFloat(f)
		return boundIf(err != nil || f != f || f-f != 0, "must be a number")
	default:
		panic("config: no notation for " + v.Type().String())
	}
	return ""
}

// ParseDuration is time.ParseDuration, and also reads whole days: 7d.
func ParseDuration(s string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		if err != nil {
			return 0, fmt.Errorf("%.40q is not a number of days", s)
		}
		return time.Duration(n) * 24 * time.Hour, nil
	}
	return time.ParseDuration(s)
}
