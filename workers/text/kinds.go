package text

import (
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"
)

// kinds are what can be left out by name. They look at a text byte by byte:
// regular expressions for them all took a hundred times as long.
var kinds = map[string]finder{"email": emails, "phone": phones, "card": cards, "iban": ibans, "key": secrets, "ip": addresses}

// Kinds are the names of what can be left out: email addresses, phone numbers,
// payment cards (by Luhn's check digit), bank accounts (IBAN, by theirs), keys
// (API keys and tokens of known forms, private keys, passwords that are said to
// be such) and IP addresses.
func Kinds() []string { return []string{"email", "phone", "card", "iban", "key", "ip"} }

// Sets of ASCII characters.
const (
	digits    = "0123456789"
	letters   = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	base64URL = digits + letters + "-_"
	blanks    = " \t"
	quotes    = "\"'`"
)

func digit(c byte) bool { return c >= '0' && c <= '9' }

// wordByte also takes every byte of a character that is not ASCII for one of a
// word.
func wordByte(c byte) bool {
	return digit(c) || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c >= 0x80
}

// alone reports whether no letter or digit touches a part of the text.
func alone(text string, from, to int) bool {
	return (from == 0 || !wordByte(text[from-1])) && (to == len(text) || !wordByte(text[to]))
}

// spanOf is how far bytes of a set go on from a place, up to most.
func spanOf(text, set string, from, most int) int {
	to := from
	for to < len(text) && to-from < most && strings.IndexByte(set, text[to]) >= 0 {
		to++
	}
	return to
}

// set is of bytes.
type set [256]bool

func setOf(bytes string) *set {
	s := &set{}
	for i := range len(bytes) {
		s[bytes[i]] = true
	}
	return s
}

var addressBytes, dottedBytes = setOf(digits + "abcdefABCDEF:."), setOf(digits + ".")

// runs calls f with each longest part of a text whose bytes a set has.
func runs(text string, in *set, f func(from, to int)) {
	for i := 0; i < len(text); i++ {
		if !in[text[i]] {
			continue
		}
		from := i
		for i < len(text) && in[text[i]] {
			i++
		}
		f(from, i)
	}
}

// emails finds addresses around each @.
func emails(text string) (out [][2]int) {
	done := 0
	for at := strings.IndexByte(text, '@'); at >= 0; {
		from, to := at, at+1
		for from > done {
			r, n := utf8.DecodeLastRuneInString(text[done:from])
			if !nameRune(r) && !strings.ContainsRune("._%+-", r) {
				break
			}
			from -= n
		}
		for to < len(text) {
			r, n := utf8.DecodeRuneInString(text[to:])
			if !nameRune(r) && r != '-' && r != '.' {
				break
			}
			to += n
		}
		host := hostOf(text[at+1 : to])
		if from < at && host > 0 {
			out = append(out, [2]int{from, at + 1 + host})
		}
		done = at + 1
		next := strings.IndexByte(text[done:], '@')
		if next < 0 {
			break
		}
		at = done + next
	}
	return out
}

// hostOf is how much of a text of letters, digits, dots and hyphens is the name
// of a host with a domain: the end of a sentence is not.
func hostOf(s string) int {
	if i := strings.Index(s, ".."); i >= 0 {
		s = s[:i]
	}
	for {
		s = strings.TrimRight(s, ".-")
		dot := strings.LastIndexByte(s, '.')
		if dot <= 0 {
			return 0
		}
		if top := s[dot+1:]; utf8.RuneCountInString(top) >= 2 && strings.IndexFunc(top, unicode.IsLetter) >= 0 {
			return len(s)
		}
		s = s[:dot]
	}
}

func nameRune(r rune) bool { return r != utf8.RuneError && (unicode.IsLetter(r) || unicode.IsDigit(r)) }

// addresses finds IP addresses.
func addresses(text string) (out [][2]int) {
	runs(text, addressBytes, func(from, to int) {
		colons := strings.Count(text[from:to], ":")
		if colons < 2 || !strings.Contains(text[from:to], "::") && colons < 7 {
			out = append(out, v4(text, from, to)...)
			return
		}
		for to > from && text[to-1] == '.' { // the end of a sentence
			to--
		}
		// A digit: a::b may as well be a name in a program.
		if alone(text, from, to) && strings.ContainsAny(text[from:to], digits) && isIP(text[from:to]) {
			out = append(out, [2]int{from, to})
		}
	})
	return out
}

// v4 finds four numbers with dots between them.
func v4(text string, from, to int) (out [][2]int) {
	runs(text[from:to], dottedBytes, func(a, b int) {
		a, b = from+a, from+b
		for b > a && text[b-1] == '.' {
			b--
		}
		if strings.Count(text[a:b], ".") == 3 && alone(text, a, b) && isIP(text[a:b]) {
			out = append(out, [2]int{a, b})
		}
	})
	return out
}

func isIP(s string) bool {
	_, err := netip.ParseAddr(s)
	return err == nil
}
