package text

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// span is a part of a text that is left out; its place is marked by [as].
type span struct {
	from, to int
	as       string
}

// finder finds what is to be left out: pairs of offsets, in order, which may
// overlap.
type finder func(text string) [][2]int

// Rule is something to leave out of texts.
type Rule struct {
	// Kind is one of [Kinds]; or empty, and then Pattern and As are set.
	Kind string
	// Pattern is a regular expression in RE2's syntax, up to 1000 bytes, which
	// does not match the empty string. If it has groups, what the first of them
	// matched is left out, else all of the match.
	Pattern string
	// As is the word in brackets that takes the place, [a-z0-9_-]{1,32}.
	As string
}

// maxPattern is the most bytes of a pattern.
const maxPattern = 1000

var asWord = regexp.MustCompile(`^[a-z0-9_-]{1,32}$`)

// Check says what is wrong with a rule, for people; nil: nothing.
func (r Rule) Check() error {
	_, err := r.finder()
	return err
}

func (r Rule) finder() (finder, error) {
	if r.Kind != "" {
		f, ok := kinds[r.Kind]
		if !ok {
			return nil, fmt.Errorf("must be one of %s, or a mapping of pattern and as", strings.Join(Kinds(), ", "))
		}
		return f, nil
	}
	switch {
	case r.Pattern == "":
		return nil, fmt.Errorf("must have a pattern, or be one of %s", strings.Join(Kinds(), ", "))
	case len(r.Pattern) > maxPattern:
		return nil, fmt.Errorf("must have a pattern of at most %d bytes", maxPattern)
	case !asWord.MatchString(r.As):
		return nil, fmt.Errorf("must have as, the word that takes the place: it must match [a-z0-9_-]{1,32}")
	}
	re, err := regexp.Compile(r.Pattern)
	if err != nil {
		return nil, fmt.Errorf("must have a pattern in RE2's syntax: %w", err)
	}
	if re.MatchString("") {
		return nil, fmt.Errorf("must have a pattern that does not match the empty string")
	}
	return matches(re, nil), nil
}

// matches finds a pattern's first group, or without groups all of it, where
// the check says so.
func matches(re *regexp.Regexp, check func(text string, from, to int) bool) finder {
	group := min(1, re.NumSubexp())
	return func(text string) (out [][2]int) {
		for _, m := range re.FindAllStringSubmatchIndex(text, -1) {
			from, to := m[2*group], m[2*group+1]
			if from < 0 { // an alternative without the group
				from, to = m[0], m[1]
			}
			if from < to && (check == nil || check(text, from, to)) {
				out = append(out, [2]int{from, to})
			}
		}
		return out
	}
}

// Redactor leaves out of texts what its rules find. It may be used by several
// goroutines. A nil one leaves everything.
type Redactor struct {
	names   []string
	finders []finder
}

// NewRedactor makes one of the rules; an error is that of [Rule.Check].
func NewRedactor(rules []Rule) (*Redactor, error) {
	r := &Redactor{}
	for _, rule := range rules {
		f, err := rule.finder()
		if err != nil {
			return nil, fmt.Errorf("redact: %w", err)
		}
		name := rule.Kind
		if name == "" {
			name = rule.As
		}
		r.names, r.finders = append(r.names, name), append(r.finders, f)
	}
	return r, nil
}

// lookahead is how far behind a cut a secret may end and still be found.
const lookahead = 16 << 10

// Redact gives the first limit bytes of a text, with marks in the place of what
// the rules find, and counts those into found. What begins before the limit is
// found also where it ends up to 16 KiB behind it. The result is valid UTF-8,
// and may be longer than the limit by its marks.
func (r *Redactor) Redact(text string, limit int, found map[string]uint32) string {
	text = strings.ToValidUTF8(cut(text, limit+lookahead), "\uFFFD")
	end := len(cut(text, limit))
	if r == nil {
		return text[:end]
	}
	var spans []span
	for i, f := range r.finders {
		for _, m := range f(text) {
			if m[0] < end {
				spans = append(spans, span{m[0], m[1], r.names[i]})
			}
		}
	}
	if len(spans) == 0 {
		return text[:end]
	}
	// The longest of those that begin together names the mark; those that
	// overlap become one.
	slices.SortStableFunc(spans, func(a, b span) int {
		if a.from != b.from {
			return a.from - b.from
		}
		return b.to - a.to
	})
	var b strings.Builder
	at := 0
	for i := 0; i < len(spans); {
		s := spans[i]
		for i++; i < len(spans) && spans[i].from < s.to; i++ {
			s.to = max(s.to, spans[i].to)
		}
		b.WriteString(text[at:s.from])
		b.WriteString("[" + s.as + "]")
		found[s.as]++
		at = s.to
	}
	if at < end {
		b.WriteString(text[at:end])
	}
	return b.String()
}

// cut is the text's first limit bytes, or a few less, so that no character is
// cut through.
func cut(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	for back := 0; back < utf8.UTFMax && limit > 0 && !utf8.RuneStart(text[limit]); back++ {
		limit--
	}
	return text[:limit]
}
