package config

import "time"

// Simulated is how a pool with adapter simulated behaves. The fields are those
// of workers/simulated.
type Simulated struct {
	Seed            uint64        `yaml:"seed"`              // same seed and requests: same answers; default 1
	TTFT            time.Duration `yaml:"ttft"`              // to the first token; default 0
	TokensPerSecond float64       `yaml:"tokens_per_second"` // 0: all at once; default 0
	ErrorShare      float64       `yaml:"error_share"`       // of calls that fail, 0 to 1; default 0
	Errors          []string      `yaml:"errors,omitempty"`  // kinds of failure to draw from; none: the adapter's own mix
	OutputTokens    TokenRange    `yaml:"output_tokens"`     // how long answers are; default 16 to 64
	Fill            string        `yaml:"fill,omitempty"`    // text that answers are made of; empty: built in
	Books           string        `yaml:"books,omitempty"`   // file in which the provider keeps its own books; empty: none
}

// TokenRange is an inclusive range of token counts.
type TokenRange struct {
	Min int64 `yaml:"min"`
	Max int64 `yaml:"max"`
}
