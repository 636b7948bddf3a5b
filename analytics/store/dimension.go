package store

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
)

const labelDimension = "label:"

// Dimensions of attempts. Those of sums are in the projection hourly; others
// need the rows.
var (
	attemptSums = []string{"tenant", "pool", "provider", "model", "route", "class", "status", "hour", "day"}
	attemptRows = []string{"strategy", "region", "batch_id", "endpoint", "error_code", "price_version", "usage_source", "experiment", "variant", "shadow", "minute"}

	attemptTimes       = []string{"pool", "provider", "model", "route", "status", "hour", "day"} // hourly_times
	attemptTenantTimes = []string{"tenant", "route", "day"}                                      // sixths_tenant_times
	attemptLabels      = []string{"tenant", "status", "day"}                                     // sixths_labels, beside labels
)

// Dimensions of jobs.
var (
	jobSums        = []string{"tenant", "route", "class", "status", "hour", "day"}
	jobRows        = []string{"error_code", "batch_id", "minute"}
	jobTimes       = []string{"route", "class", "status", "hour", "day"}
	jobTenantTimes = []string{"tenant", "route", "day"}
)

// Dimensions lists what [CostQuery] can group and filter by. Beside these
// there is label:<name> for every label.
func Dimensions() []string {
	return slices.Sorted(slices.Values(slices.Concat(attemptSums, attemptRows)))
}

// JobDimensions lists what [JobsQuery] can group and filter by, beside
// label:<name>.
func JobDimensions() []string { return slices.Sorted(slices.Values(slices.Concat(jobSums, jobRows))) }

// dimensionOf gives the SQL of the dimensions of a table.
func dimensionOf(ts string, known []string) func(string, *segment) (string, error) {
	return func(name string, s *segment) (string, error) {
		label, isLabel := strings.CutPrefix(name, labelDimension)
		switch {
		case isLabel && wire.ValidName(label):
			// arrayElement of an index 0 is the default, as of a missing key.
			return "mapValues(labels)[indexOf(mapKeys(labels), " + quote(strings.ToLower(label)) + ")]", nil
		case !slices.Contains(known, name):
			return "", fmt.Errorf("dimension %.40q is not known: use %s or label:<name>", name, strings.Join(slices.Sorted(slices.Values(known)), ", "))
		case name == "day":
			return "toDate(" + s.start(ts) + ")", nil
		case name == "minute":
			return "toStartOfMinute(" + ts + ")", nil
		case name == "hour":
			return (&segment{unit: time.Hour}).start(ts), nil
		}
		return name, nil
	}
}

// text is how a dimension's value is shown. Only groups are turned into text: of
// every row of a projection it would cost more than summing them up.
func text(dimension, key string) string {
	switch dimension {
	case "minute":
		return "formatDateTime(" + key + ", '%F %H:%i')"
	case "hour":
		return "formatDateTime(" + key + ", '%F %H:00')"
	}
	return "toString(" + key + ")"
}

// equals is the condition that a dimension has a value.
func equals(dimension, expr, value string) string {
	if dimension == "minute" || dimension == "hour" {
		expr = text(dimension, expr)
	}
	return expr + " = " + quote(value)
}

// within reports whether all that is asked by is one of the dimensions, or a
// label where labels are allowed.
func within(asked, dimensions []string, labels bool) bool {
	return !slices.ContainsFunc(asked, func(name string) bool {
		return !slices.Contains(dimensions, name) && (!labels || !strings.HasPrefix(name, labelDimension))
	})
}

// hours and sixths are the units that projections divide a window into.
var hours, sixths = []time.Duration{time.Hour}, []time.Duration{sixth}

// asked are the dimensions of a question.
func asked(by []string, where map[string]string) []string {
	return append(slices.Clone(by), sortedKeys(where)...)
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
