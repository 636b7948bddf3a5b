package router

import (
	"fmt"
	"strings"
)

// Fault is one thing that is wrong with a table.
type Fault struct {
	Key   string // for example routes[chat].candidates[2].weight
	Value string
	Bound string // what it must be
}

// String is the fault in one line.
func (f Fault) String() string { return fmt.Sprintf("%s: %s: must be %s", f.Key, f.Value, f.Bound) }

// TableError lists everything that is wrong with a table.
type TableError struct{ Faults []Fault }

// Error implements error, one fault a line.
func (e *TableError) Error() string {
	lines := make([]string, len(e.Faults))
	for i, f := range e.Faults {
		lines[i] = f.String()
	}
	return strings.Join(lines, "\n")
}

// faults collects what is wrong below a key.
type faults struct {
	key  string
	list *[]Fault
}

// at is the collector for a key below.
func (f faults) at(format string, args ...any) faults {
	return faults{key: f.key + fmt.Sprintf(format, args...), list: f.list}
}

// check records a fault at key unless ok.
func (f faults) check(ok bool, key string, value any, bound string) {
	if !ok {
		*f.list = append(*f.list, Fault{Key: f.key + key, Value: fmt.Sprintf("%.60s", fmt.Sprint(value)), Bound: bound})
	}
}
