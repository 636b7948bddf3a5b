package steer

import (
	"hash/fnv"
	"strings"

	"github.com/sluicehq/sluice/sdk/wire"
)

// Keys by which an experiment assigns jobs; beside these there is label:<name>.
const (
	KeyAffinity = "affinity" // a user or session
	KeyTenant   = "tenant"
	KeyJob      = "job"
	KeyLabel    = "label:" // and a label's name
)

// Experiment splits the jobs of a route between variants. A job that has not
// what the key asks for is assigned by its ID.
type Experiment struct {
	Name     string
	Key      string // one of the keys above
	Variants []Variant
}

// Variant is one of the ways that an experiment compares.
type Variant struct {
	Name   string
	Weight int    // share of the jobs
	Route  string // decides; empty: the experiment's route itself
}

// Assign is the variant of a job, nil if no variant has a weight. Equal keys
// of a tenant always get the same one while the weights stay, and as few as
// can be another when they change. The assignments of two experiments have
// nothing to do with each other.
func (e *Experiment) Assign(m *wire.Meta) *Variant {
	total := uint64(0)
	for i := range e.Variants {
		total += uint64(max(e.Variants[i].Weight, 0))
	}
	if total == 0 {
		return nil
	}
	// A share of the whole, so that a variant keeps its jobs when the weights'
	// sum changes and its share does not.
	at := fraction(e.Name, m.Tenant, keyOf(e.Key, m)) * float64(total)
	sum := uint64(0)
	last := -1
	for i := range e.Variants {
		if e.Variants[i].Weight <= 0 {
			continue
		}
		if last = i; at < float64(sum+uint64(e.Variants[i].Weight)) {
			break
		}
		sum += uint64(e.Variants[i].Weight)
	}
	return &e.Variants[last]
}

// keyOf is what a job is assigned by.
func keyOf(key string, m *wire.Meta) string {
	v := ""
	switch label, isLabel := strings.CutPrefix(key, KeyLabel); {
	case isLabel:
		v = m.Labels[label]
	case key == KeyAffinity:
		v = m.Affinity
	case key == KeyTenant:
		return "tenant"
	}
	if v == "" {
		return "job " + m.ID
	}
	return "key " + v
}

// fraction turns words into a number from 0 up to 1, evenly.
func fraction(words ...string) float64 {
	h := fnv.New64a()
	for _, w := range words {
		_, _ = h.Write([]byte(w)) // never fails
		_, _ = h.Write([]byte{0})
	}
	// FNV alone leaves similar words with similar upper bits (finalizer of
	// MurmurHash3).
	x := h.Sum64()
	x = (x ^ x>>33) * 0xff51afd7ed558ccd
	x = (x ^ x>>33) * 0xc4ceb9fe1a85ec53
	x ^= x >> 33
	return float64(x>>11) / (1 << 53)
}
