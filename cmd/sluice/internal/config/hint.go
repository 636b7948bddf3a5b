package config

import (
	"slices"
	"strings"
)

// hint says which keys there are, or which one was probably meant.
func hint(got string, names []string) string {
	names = slices.DeleteFunc(slices.Clone(names), func(s string) bool { return s == "" })
	best, dist := "", 3
	for _, name := range names {
		if d := distance(strings.ToLower(got), name, dist); d < dist {
			best, dist = name, d
		}
	}
	if best != "" {
		return ": did you mean " + best + "?"
	}
	return ": known here are " + strings.Join(names, ", ")
}

// distance is the edit distance of two words, or limit where it is no less.
func distance(a, b string, limit int) int {
	if len(a) > 64 || len(a)-len(b) >= limit || len(b)-len(a) >= limit {
		return limit
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diag := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diag
			if a[i] != b[j] {
				cost++
			}
			diag = row[j+1]
			row[j+1] = min(cost, diag+1, row[j]+1)
		}
	}
	return min(row[len(b)], limit)
}
