package config

import (
	"fmt"
	"reflect"
	"strings"
	"sync"
)

// Key is one key of the configuration that a variable or a flag can set.
type Key struct {
	Path string // for example nats.embedded.listen
	List bool   // whether its value is a whole YAML list
}

// Variable is the environment variable of the key.
func (k Key) Variable() string {
	return "SLUICE_" + strings.ToUpper(strings.ReplaceAll(k.Path, ".", "_"))
}

// Flag is the name of the key's flag, without the dashes before it.
func (k Key) Flag() string {
	return strings.NewReplacer(".", "-", "_", "-").Replace(k.Path)
}

// Keys lists every key, in the order of the file. The list is everybody's.
func Keys() []Key { return allKeys() }

var allKeys = sync.OnceValue(func() []Key { return structKeys("", reflect.TypeFor[Config]()) })

func structKeys(prefix string, t reflect.Type) []Key {
	var keys []Key
	for i, name := range fieldNames(t) {
		if name == "" {
			continue
		}
		f, path := t.Field(i).Type, join(prefix, name)
		_, scalar := scalarTypes[f]
		switch {
		case f.Kind() == reflect.Struct && !scalar:
			keys = append(keys, structKeys(path, f)...)
		default:
			keys = append(keys, Key{Path: path, List: f.Kind() == reflect.Slice})
		}
	}
	return keys
}

// field finds the value below v that a path names. A list's element is named
// by its name or model. The key is the path as faults show it.
func field(v reflect.Value, path string) (key string, found reflect.Value, err error) {
	for path != "" {
		if v.Kind() == reflect.Pointer {
			if v.IsNil() {
				v.Set(fresh(v.Type().Elem()))
			}
			v = v.Elem()
		}
		var head string
		head, path, _ = strings.Cut(path, ".")
		switch v.Kind() {
		case reflect.Struct:
			names := fieldNames(v.Type())
			i := indexOf(names, head)
			if i < 0 {
				return key, v, fmt.Errorf("unknown key%s", hint(head, names))
			}
			key, v = join(key, head), v.Field(i)
		case reflect.Slice:
			i := indexOf(elementNames(v), head)
			if i < 0 {
				return key, v, fmt.Errorf("there is no %q in %s", head, key)
			}
			key, v = fmt.Sprintf("%s[%d]", key, i), v.Index(i)
		default:
			return key, v, fmt.Errorf("%s has nothing below it", key)
		}
	}
	return key, v, nil
}

func indexOf(names []string, name string) int {
	for i, n := range names {
		if n == name && n != "" {
			return i
		}
	}
	return -1
}

// elementNames are the names that a list's elements go by.
func elementNames(list reflect.Value) []string {
	names := make([]string, list.Len())
	for i := range names {
		switch e := list.Index(i).Interface().(type) {
		case Pool:
			names[i] = e.Name
		case Route:
			names[i] = e.Model
		case Tenant:
			names[i] = e.Name
		case TenantKey:
			names[i] = e.Name
		case Rule:
			names[i] = e.Name
		case Experiment:
			names[i] = e.Name
		case Rollout:
			names[i] = e.Name
		case Shadow:
			names[i] = e.Name
		case Budget:
			names[i] = e.Scope
		}
	}
	return names
}
