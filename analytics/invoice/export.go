package invoice

import (
	"cmp"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
)

// Kind is what a figure counts: one kind of tokens, or nano-dollars.
type Kind int

// The kinds of figures. Output has reasoning in it, as providers count it.
const (
	Input Kind = iota // uncached; with cache writes where an export does not have them
	CacheRead
	CacheWrite
	Output
	Cost // nano-dollars
	kinds
)

var kindNames = [kinds]string{"input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens", "cost_usd"}

// String is the figure's column in the plain CSV.
func (k Kind) String() string { return kindNames[k] }

// Show writes a figure for people: tokens, or dollars.
func (k Kind) Show(n int64) string {
	if k == Cost {
		return wire.NanoUSD(n).String()
	}
	return fmt.Sprint(n)
}

// Key says what a line is about. Provider and Pool are empty where an export
// does not tell them apart; Model is empty where it has sums over all models.
type Key struct {
	Day      string // 2006-01-02, UTC
	Provider string
	Pool     string
	Model    string
}

func (k Key) compare(o Key) int {
	return cmp.Or(cmp.Compare(k.Day, o.Day), cmp.Compare(k.Provider, o.Provider), cmp.Compare(k.Pool, o.Pool), cmp.Compare(k.Model, o.Model))
}

// Figures of one line.
type Figures struct {
	N [kinds]int64
	// Estimated and Unpriced are ours alone: attempts whose usage the provider
	// did not report, and attempts without a known cost.
	Estimated, Unpriced uint64

	slack int64 // nano-dollars that rounding may have taken or given
}

// Export is what one or more files say.
type Export struct {
	Formats  []string // of the files, in their order
	Provider string   // whose report it is; "": the files do not say, or name it line by line
	// First and Last day of the export, both included.
	First, Last string
	Warnings    []string // for people

	lines      map[Key]*Figures
	has        [kinds]bool // kinds that the export has
	quantities bool        // its tokens are quantities of costs
	uncounted  int         // lines of costs of tokens that have no quantity
	providers  bool        // lines name providers
	pools      bool        // lines name pools
}

// Has reports whether the export has figures of a kind.
func (e *Export) Has(k Kind) bool { return e.has[k] }

// By are the dimensions that our own figures have to be grouped by.
func (e *Export) By() []string {
	by := []string{"day"}
	if e.providers {
		by = append(by, "provider")
	}
	if e.pools {
		by = append(by, "pool")
	}
	if e.models() {
		by = append(by, "model")
	}
	return by
}

// models reports whether lines name models.
func (e *Export) models() bool {
	for k := range e.lines {
		if k.Model != "" {
			return true
		}
	}
	return false
}

// cover widens the span by a bucket of time, which must not be wider than a
// day, and gives its day.
func (e *Export) cover(from, to time.Time) (string, error) {
	from, to = from.UTC(), to.UTC()
	name := from.Format(time.DateOnly)
	if to.After(from.Truncate(24 * time.Hour).Add(24 * time.Hour)) {
		return "", fmt.Errorf("a bucket from %s to %s is more than a day (UTC): export by day", from.Format(time.RFC3339), to.Format(time.RFC3339))
	}
	e.span(name)
	return name, nil
}

func (e *Export) span(day string) {
	if e.First == "" || day < e.First {
		e.First = day
	}
	e.Last = max(e.Last, day)
}

// add counts a figure.
func (e *Export) add(k Key, kind Kind, n int64) {
	f := e.lines[k]
	if f == nil {
		f = &Figures{}
		e.lines[k] = f
	}
	f.N[kind] += n
	e.has[kind] = true
}

// Merge makes one export of several: of costs and of usage, or parts of one.
func Merge(parts []*Export) (*Export, error) {
	all := &Export{lines: map[Key]*Figures{}}
	usage := slices.ContainsFunc(parts, func(p *Export) bool { return p.has[Output] && !p.quantities })
	writes := true
	for i, p := range parts {
		all.Formats = append(all.Formats, p.Formats...)
		all.Warnings = append(all.Warnings, p.Warnings...)
		if i > 0 && all.Provider != p.Provider {
			return nil, fmt.Errorf("the files are reports of different providers: %s and %s", orNone(all.Provider), orNone(p.Provider))
		}
		if i > 0 && (p.providers != all.providers || p.pools != all.pools) {
			return nil, fmt.Errorf("the files do not have the same columns of provider and pool")
		}
		if p.models() != all.models() && len(p.lines) > 0 && len(all.lines) > 0 {
			return nil, fmt.Errorf("one file names models and another does not: export both by model (OpenAI: costs by line item)")
		}
		all.Provider, all.providers, all.pools = p.Provider, p.providers, p.pools
		for _, d := range []string{p.First, p.Last} {
			if d != "" {
				all.span(d)
			}
		}
		dropTokens := usage && p.quantities
		for k, f := range p.lines {
			for kind := range kinds {
				if p.has[kind] && (kind == Cost || !dropTokens) {
					all.add(k, kind, f.N[kind])
				}
			}
			if into := all.lines[k]; into != nil {
				into.slack += f.slack
			}
		}
		if p.has[Input] && !dropTokens {
			writes = writes && p.has[CacheWrite]
		}
	}
	if all.First == "" || all.has == [kinds]bool{} {
		return nil, fmt.Errorf("the export has no figures in it")
	}
	if all.has[Input] && !writes && all.has[CacheWrite] { // I2
		for _, f := range all.lines {
			f.N[Input] += f.N[CacheWrite]
			f.N[CacheWrite] = 0
		}
		all.has[CacheWrite] = false
	}
	return all, nil
}

func orNone(provider string) string {
	if provider == "" {
		return "none in particular"
	}
	return provider
}

// decimal reads a decimal number times a factor, to the nearest whole.
func decimal(s string, factor *big.Rat) (int64, error) {
	s = strings.TrimPrefix(strings.TrimSpace(s), "$")
	_, exp, _ := strings.Cut(strings.ToLower(s), "e")
	r, ok := new(big.Rat), s != "" && len(s) <= 64 && len(exp) <= 3 && !strings.ContainsAny(s, "/xXbBoOpP_")
	if ok {
		r, ok = r.SetString(s)
	}
	if !ok {
		return 0, fmt.Errorf("%.40q is not a number", s)
	}
	r.Mul(r, factor)
	half := big.NewRat(1, 2)
	if r.Sign() < 0 {
		half.Neg(half)
	}
	r.Add(r, half)
	n := new(big.Int).Quo(r.Num(), r.Denom())
	if !n.IsInt64() {
		return 0, fmt.Errorf("%.40q is out of range", s)
	}
	return n.Int64(), nil
}

// nanos reads an amount in dollars divided by unit.
func nanos(s string, unit int64) (int64, error) {
	n, err := decimal(s, big.NewRat(wire.NanosPerUSD, unit))
	if err != nil {
		return 0, fmt.Errorf("amount: %w", err)
	}
	return n, nil
}
