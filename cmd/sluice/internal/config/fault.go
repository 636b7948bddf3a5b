package config

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
)

// Fault is one thing wrong with the configuration.
type Fault struct {
	Where string `json:"where"`           // file name, variable or flag; "default" for a value nobody gave
	Line  int    `json:"line,omitempty"`  // in the file; 0: none
	Key   string `json:"key"`             // for example pools[0].weight
	Value string `json:"value,omitempty"` // as written, shortened; "***" for a secret; empty: none
	Bound string `json:"bound"`           // what would be right
}

// String is the fault as one line.
func (f Fault) String() string {
	var b strings.Builder
	b.WriteString(f.Where)
	if f.Line > 0 {
		b.WriteString(":" + strconv.Itoa(f.Line))
	}
	b.WriteString(": ")
	if f.Key != "" {
		b.WriteString(f.Key)
		if f.Value != "" {
			b.WriteString(" = " + f.Value)
		}
		b.WriteString(": ")
	}
	b.WriteString(f.Bound)
	return b.String()
}

// Faults is the error of a bad configuration: everything wrong with it, in
// the order of the file.
type Faults []Fault

// maxLines is the most faults that Error lists; the rest are counted.
const maxLines = 1000

// Error lists every fault, a line each.
func (f Faults) Error() string {
	noun := "faults"
	if len(f) == 1 {
		noun = "fault"
	}
	lines := make([]string, 0, len(f)+1)
	lines = append(lines, fmt.Sprintf("the configuration has %d %s:", len(f), noun))
	for i, fault := range f {
		if i == maxLines {
			lines = append(lines, fmt.Sprintf("  and %d more", len(f)-i))
			break
		}
		lines = append(lines, "  "+fault.String())
	}
	return strings.Join(lines, "\n")
}

// Most bytes of a value and of a key in a fault.
const (
	maxShown = 60
	maxKey   = 120
)

// shownKey is a key as a fault prints it. Keys of models and labels are free
// text, which must not reach a terminal as it is.
func shownKey(key string) string {
	if len(key) > maxKey {
		key = strings.ToValidUTF8(key[:maxKey], "") + "…"
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '·'
		}
		return r
	}, key)
}

// shown is a value as a fault prints it: quoted where it must be, shortened,
// and masked when its key or its look says that it is a secret (I3).
func shown(key, value string) string {
	if value == "" {
		return `""`
	}
	if looksSecret(key, value) {
		return mask
	}
	plain := len(value) <= maxShown
	for _, r := range value {
		plain = plain && (r > ' ' && r < 0x7f)
	}
	if plain {
		return value
	}
	if len(value) > maxShown {
		value = value[:maxShown] + "…"
	}
	return strconv.Quote(value)
}

// looksSecret guesses whether a value under a key that is not in the schema,
// or of the wrong kind, is a key or a password.
func looksSecret(key, value string) bool {
	last := strings.ToLower(key[strings.LastIndexByte(key, '.')+1:])
	for _, w := range []string{"key", "secret", "token", "pass", "auth", "cred"} {
		if strings.Contains(last, w) && !strings.Contains(last, "tokens") {
			return true
		}
	}
	if strings.Contains(value, "@") && strings.Contains(value, ":") && !strings.Contains(value, ":"+mask+"@") {
		return true
	}
	return strings.HasPrefix(value, "sk-") || opaque(value)
}

// opaque reports whether a value is one long word of letters and digits, as
// generated keys are.
func opaque(value string) bool {
	digits := 0
	for _, r := range value {
		switch {
		case unicode.IsDigit(r):
			digits++
		case !unicode.IsLetter(r) && r != '_' && r != '-' && r != '+' && r != '=':
			return false
		}
	}
	return len(value) >= 24 && digits > 2
}
