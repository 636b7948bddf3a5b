package ledger

import "strings"

// Score is the entry of a job in the bucket of qualities: what was reported of
// its answer. It is written once, and ingested from there.
type Score struct {
	Score float64 `json:"score"` // 0 (useless) to 1 (best)
}

const scorePrefix = "job."

// ScoreKeys matches the keys of all jobs in the bucket of qualities.
const ScoreKeys = scorePrefix + "*.*"

// ScoreKey is the key of a job in the bucket of qualities.
func ScoreKey(tenant, job string) string { return scorePrefix + tenant + "." + job }

// ParseScoreKey is the job that a key of the bucket belongs to.
func ParseScoreKey(key string) (tenant, job string, ok bool) {
	if key, ok = strings.CutPrefix(key, scorePrefix); !ok {
		return "", "", false
	}
	return strings.Cut(key, ".")
}
