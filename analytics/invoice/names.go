package invoice

import (
	"maps"
	"regexp"
	"slices"
	"strings"
)

var (
	dated  = regexp.MustCompile(`[-@](20\d{2}-?\d{2}-?\d{2}|latest)(-v\d+(:\d+)?)?$`)
	joints = strings.NewReplacer(" ", "-", ".", "-", "_", "-")
)

// family is a model's name without what providers write differently in their
// APIs, exports and consoles: "Claude Haiku 4.5", "claude-haiku-4-5-20251001".
// A fine-tuned model is nobody's family but its own.
func family(name string) string {
	if strings.HasPrefix(name, "ft:") {
		return name
	}
	return dated.ReplaceAllString(joints.Replace(strings.ToLower(strings.TrimSpace(name))), "")
}

// matched renames models so that both sides have the same names: those of a
// family stay as they are if both sides have the same, else they become the
// family's name, or that of the only one of ours. Aliases are theirs → ours, and
// come first.
func matched(theirs, ours map[Key]*Figures, aliases map[string]string) (a, b map[Key]*Figures) {
	type sides struct{ theirs, ours map[string]bool }
	families := map[string]*sides{}
	note := func(m map[Key]*Figures, alias map[string]string, add func(*sides) map[string]bool) map[Key]*Figures {
		out := map[Key]*Figures{}
		for k, f := range m {
			if to, ok := alias[k.Model]; ok {
				k.Model = to
			}
			plus(out, k, f)
			s := families[family(k.Model)]
			if s == nil {
				s = &sides{map[string]bool{}, map[string]bool{}}
				families[family(k.Model)] = s
			}
			add(s)[k.Model] = true
		}
		return out
	}
	a = note(theirs, aliases, func(s *sides) map[string]bool { return s.theirs })
	b = note(ours, nil, func(s *sides) map[string]bool { return s.ours })
	rename := func(m map[Key]*Figures) map[Key]*Figures {
		out := map[Key]*Figures{}
		for k, f := range m {
			if s := families[family(k.Model)]; len(s.theirs) > 0 && len(s.ours) > 0 && !maps.Equal(s.theirs, s.ours) {
				if k.Model = family(k.Model); len(s.ours) == 1 {
					k.Model = slices.Collect(maps.Keys(s.ours))[0]
				}
			}
			plus(out, k, f)
		}
		return out
	}
	return rename(a), rename(b)
}

// plus adds figures to a line.
func plus(m map[Key]*Figures, k Key, f *Figures) {
	into := m[k]
	if into == nil {
		into = &Figures{}
		m[k] = into
	}
	into.plus(f)
}

func (f *Figures) plus(o *Figures) {
	for i := range o.N {
		f.N[i] += o.N[i]
	}
	f.Estimated += o.Estimated
	f.Unpriced += o.Unpriced
	f.slack += o.slack
}
