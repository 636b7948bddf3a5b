package text

import (
	"strings"
)

// tokenForms are keys that begin in a way that nothing else does: how, at least
// how many bytes of which set follow.
var tokenForms = []struct {
	prefix string
	least  int
	set    string
}{
	{"sk-", 16, base64URL}, {"sk_live_", 10, base64URL}, {"sk_test_", 10, base64URL}, {"rk_live_", 10, base64URL}, {"rk_test_", 10, base64URL},
	{"whsec_", 16, base64URL + "+/="}, {"AKIA", 16, base64URL}, {"ASIA", 16, base64URL},
	{"ghp_", 20, base64URL}, {"gho_", 20, base64URL}, {"ghu_", 20, base64URL}, {"ghs_", 20, base64URL}, {"ghr_", 20, base64URL}, {"github_pat_", 20, base64URL},
	{"glpat-", 16, base64URL}, {"xoxa-", 10, base64URL}, {"xoxb-", 10, base64URL}, {"xoxe-", 10, base64URL}, {"xoxp-", 10, base64URL}, {"xoxs-", 10, base64URL},
	{"AIza", 30, base64URL}, {"hf_", 20, base64URL}, {"npm_", 30, base64URL}, {"pypi-", 30, base64URL}, {"gsk_", 20, base64URL}, {"xai-", 20, base64URL},
	{"SG.", 33, base64URL + "."}, {"eyJ", 20, base64URL + "."}, // of SendGrid, and JSON web tokens
}

// secrets finds keys, tokens, private keys and passwords.
func secrets(text string) (out [][2]int) {
	for _, f := range tokenForms {
		hits(text, f.prefix, func(at int) (next int) {
			to := spanOf(text, f.set, at+len(f.prefix), len(text))
			word := strings.TrimRight(text[at:to], ".-")
			if (at == 0 || !wordByte(text[at-1])) && len(word) >= len(f.prefix)+f.least && strings.ContainsAny(word[len(f.prefix):], digits+"ABCDEFGHIJKLMNOPQRSTUVWXYZ") {
				out = append(out, [2]int{at, at + len(word)})
			}
			return to
		})
	}
	out = append(out, privateKeys(text)...)
	out = append(out, inURLs(text)...)
	return append(out, named(text)...)
}

// hits calls f with each place of a word, from where f says on.
func hits(text, word string, f func(at int) (next int)) {
	for from := 0; ; {
		at := strings.Index(text[from:], word)
		if at < 0 {
			return
		}
		from = max(f(from+at), from+at+len(word))
	}
}

// privateKeys finds PEM blocks; one without an end goes to that of the text.
func privateKeys(text string) (out [][2]int) {
	const begin, mark, end = "-----BEGIN ", "PRIVATE KEY-----", "-----END "
	hits(text, begin, func(at int) int {
		head := strings.Index(text[at:min(len(text), at+60)], mark)
		if head < 0 {
			return 0
		}
		to := len(text)
		if i := strings.Index(text[at:], end); i >= 0 {
			to = at + i + len(end)
			if i := strings.Index(text[to:min(len(text), to+60)], mark); i >= 0 {
				to += i + len(mark)
			}
		}
		out = append(out, [2]int{at, to})
		return to
	})
	return out
}

// inURLs finds passwords of URLs.
func inURLs(text string) (out [][2]int) {
	hits(text, "://", func(at int) int {
		colon, i := 0, at+3
		for ; i < len(text) && i-at < 1000 && strings.IndexByte(" \t\n\r/@<>"+quotes, text[i]) < 0; i++ {
			if text[i] == ':' && colon == 0 {
				colon = i
			}
		}
		if i < len(text) && text[i] == '@' && colon > 0 && colon+1 < i {
			out = append(out, [2]int{colon + 1, i})
		}
		return i
	})
	return out
}

// namedSecrets are words that a secret follows: with spaces between, or as the
// value of what is called so.
var namedSecrets = []struct {
	word  string
	value bool
}{{"bearer", false}, {"basic", false}, {"key", true}, {"secret", true}, {"token", true}, {"password", true}, {"passwort", true}, {"passwd", true}, {"pwd", true}}

// named finds secrets that are called such.
func named(text string) (out [][2]int) {
	small := lower(text)
	for _, n := range namedSecrets {
		hits(small, n.word, func(at int) int {
			from := at + len(n.word)
			if !n.value {
				if at > 0 && wordByte(text[at-1]) {
					return 0
				}
				to := spanOf(text, blanks, from, 8)
				if end := spanOf(text, base64URL+".~+/=", to, len(text)); to > from && end-to >= 12 && likely(text[to:end]) {
					out = append(out, [2]int{to, end})
					return end
				}
				return 0
			}
			from, ok := value(small, from)
			if !ok || n.word == "key" && at > 0 && wordByte(small[at-1]) && !strings.HasSuffix(small[:at], "api") && small[at-1] != '_' {
				return 0
			}
			to := from
			for to < len(text) && strings.IndexByte(" \t\n\r,;)}]<>"+quotes, text[to]) < 0 {
				to++
			}
			for to > from && strings.IndexByte(".!?:", text[to-1]) >= 0 { // the end of a sentence
				to--
			}
			if to-from >= 6 && likely(text[from:to]) {
				out = append(out, [2]int{from, to})
			}
			return to
		})
	}
	return out
}

// value is where the value begins of what ends at a place: behind a colon, an
// equals sign or the word is.
func value(text string, at int) (from int, ok bool) {
	at = spanOf(text, blanks, spanOf(text, quotes, at, 2), 8)
	switch {
	case at < len(text) && (text[at] == ':' || text[at] == '='):
		at++
	case strings.HasPrefix(text[at:], "is "):
		at += 2
	default:
		return 0, false
	}
	return spanOf(text, quotes, spanOf(text, blanks, at, 8), 2), true
}

// likely reports whether what is called a secret may be one, and not a word of
// a sentence or of a program.
func likely(word string) bool {
	return !strings.ContainsAny(word, "({[") && (strings.ContainsAny(word, digits) || len(word) >= 24 && !strings.ContainsAny(word, "./"))
}

// lower is the text with small letters for A to Z, in the same places.
func lower(text string) string {
	b := []byte(text)
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}
