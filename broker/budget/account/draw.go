package account

import (
	"math"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
)

// Draw is what an attempt takes of budgets: at most, while it is held, and
// truly, when it has ended.
type Draw struct {
	Facts   Facts `json:"f"`
	At      int64 `json:"at"` // Unix nanoseconds: of which windows
	USD     int64 `json:"$,omitempty"`
	Unknown bool  `json:"u,omitempty"` // the price, and so USD
	Tokens  int64 `json:"n,omitempty"`
	First   bool  `json:"1,omitempty"` // the job's first attempt
}

// Bounds make a worst case of jobs that do not say theirs.
type Bounds struct {
	// Output is the most output tokens of a job that does not bound them; it
	// is then sent to the provider as the job's bound. Defaults to 4096.
	Output int64
	// Media is the most input tokens of the images, audio or files of a job
	// that has any, beside one token a byte. Defaults to 65536.
	Media int64
}

func (b Bounds) withDefaults() Bounds {
	if b.Output <= 0 {
		b.Output = 4096
	}
	if b.Media <= 0 {
		b.Media = 65536
	}
	return b
}

// Offer is a candidate as far as a worst case depends on it. Context and
// MaxOutput are tokens, 0: not known.
type Offer struct {
	Price     *wire.Price // nil: unknown
	Context   int64
	MaxOutput int64
}

// Worst is the most that an attempt can take, and the bound on the tokens of
// each of its answers that makes it so: to be sent to the provider, 0 for what
// has no output. A token stands for at least a byte of the body, so the body's
// bytes bound the input; what a body refers to and does not contain is bounded
// by Bounds.Media.
func (b Bounds) Worst(m *wire.Meta, o *Offer) (c Draw, output int64) {
	b = b.withDefaults()
	input := int64(m.BodyBytes)
	if m.Needs&(wire.NeedVision|wire.NeedAudio) != 0 {
		input += b.Media
	}
	if o.Context > 0 {
		input = min(input, o.Context)
	}
	if m.Endpoint != wire.Embeddings {
		if output = m.MaxTokens; output <= 0 {
			output = b.Output
		}
		if o.MaxOutput > 0 {
			output = min(output, o.MaxOutput)
		}
	}
	all := times(output, max(int64(m.Choices), 1))
	c.Tokens = input + all
	if o.Price == nil {
		c.Unknown = true
		return c, output
	}
	dearest := wire.Price{
		Input:  max(o.Price.Input, o.Price.CacheRead, o.Price.CacheWrite),
		Output: max(o.Price.Output, o.Price.Reasoning),
	}
	c.USD = int64(dearest.Cost(wire.Usage{Input: input, Output: all}))
	return c, output
}

func times(a, b int64) int64 {
	if a > 0 && b > math.MaxInt32 || a > math.MaxInt32*1024 {
		return math.MaxInt64 / 4
	}
	return a * b
}

// FactsOf are a job's facts, without those of a candidate.
func FactsOf(m *wire.Meta) Facts {
	return Facts{Tenant: m.Tenant, Key: wire.KeyName(m.Tenant, m.Key), Route: m.Route, Labels: m.Labels}
}

// Of is what an ended attempt has taken: as far as its record knows, and at
// most. They differ where the call was cut: what that has cost only the provider
// knows. It belongs to the windows of its hold, and where it had none to those
// of its beginning; ended is when its record was stored.
func Of(e *wire.Entry, ended int64) (known, most Draw) {
	a := e.Attempt
	c := Draw{Facts: FactsOf(&e.Meta), At: ended - a.LatencyMS*int64(time.Millisecond), First: a.N == 1}
	c.Facts.Pool, c.Facts.Provider, c.Facts.Model = a.Pool, a.Provider, a.Model
	if a.Hold != nil {
		c.At = a.Hold.At
	}
	if c.Tokens = a.Usage.Total(); a.Cost != nil {
		c.USD = int64(*a.Cost)
	} else {
		c.Unknown = true
	}
	most = c
	if h := a.Hold; h != nil && a.Source == wire.UsageEstimated && a.Status != wire.Succeeded && c.Tokens > 0 {
		most.USD, most.Tokens = max(c.USD, int64(h.USD)), max(c.Tokens, h.Tokens)
	}
	return c, most
}
