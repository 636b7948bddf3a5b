package config

import "time"

// Simulated is how a pool with adapter simulated behaves. The meaning of each
// field is that of workers/simulated.
type Simulated struct {
	Seed            uint64        `yaml:"seed"`                      // makes two pools with equal settings differ; default 1
	TTFT            time.Duration `yaml:"ttft"`                      // to the first token; up to 1h; default 0
	TokensPerSecond float64       `yaml:"tokens_per_second"`         // after that; 0: all at once; default 0
	ErrorShare      float64       `yaml:"error_share"`               // of calls that fail, 0 to 1; default 0
	Errors          []string      `yaml:"errors,omitempty"`          // rate_limit, server_error, drop, garble, each as often; none: all of them
	RetryAfter      time.Duration `yaml:"retry_after,omitempty"`     // what a rate_limit asks for; up to 1h; default 1s
	OutputTokens    TokenRange    `yaml:"output_tokens"`             // how long answers are that max_tokens does not cut; default 16 to 64
	Fill            bool          `yaml:"fill,omitempty"`            // answer with exactly as many tokens as max_tokens asks for
	CacheShare      float64       `yaml:"cache_share,omitempty"`     // of the input that is reported as cached, 0 to 1; default 0
	ReasoningShare  float64       `yaml:"reasoning_share,omitempty"` // of the output that is reported as reasoning, 0 to 1; default 0
	MaxConcurrent   int           `yaml:"max_concurrent,omitempty"`  // calls at once before it answers 429; 0: any number
	Books           string        `yaml:"books,omitempty"`           // file for the provider's own books; empty: none
}

// TokenRange is an inclusive range of token counts, from 1 to 1,000,000.
type TokenRange struct {
	Min int `yaml:"min"`
	Max int `yaml:"max"`
}

// simulatedErrors are the ways that a simulated provider can fail.
func simulatedErrors() []string { return []string{"rate_limit", "server_error", "drop", "garble"} }
