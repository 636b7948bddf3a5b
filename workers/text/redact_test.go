package text

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"
)

func redactor(t testing.TB, kinds ...string) *Redactor {
	t.Helper()
	var rules []Rule
	for _, k := range kinds {
		rules = append(rules, Rule{Kind: k})
	}
	r, err := NewRedactor(rules)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func redacted(r *Redactor, text string) string {
	return r.Redact(text, len(text), map[string]uint32{})
}

// Each kind finds what it is for in sentences as people write them, and leaves
// alone what only looks like it. No key here is one.
func TestKinds(t *testing.T) {
	long := strings.Repeat("aB3", 16)
	for kind, cases := range map[string]map[string]string{
		"email": {
			"Write to jane.doe+news@mail.example.co.uk, please.": "Write to [email], please.",
			"<Ann@Example.COM>;bob_1@x-y.io":                     "<[email]>;[email]",
			"Grüße an müller@straße.de!":                         "Grüße an [email]!",
			"mailto:a@b.org?subject=x":                           "mailto:[email]?subject=x",
			"@channel, see go@1.26 and a@b":                      "@channel, see go@1.26 and a@b",
			"a@b.co.x, a@b.co..x":                                "[email].x, [email]..x",
			"user@localhost runs `git@{upstream}`":               "user@localhost runs `git@{upstream}`",
		},
		"phone": {
			"Call +49 (0)171 234-5678 or +14155552671.":         "Call [phone] or [phone].",
			"my number is (415) 555-2671, work 415-555-2672":    "my number is [phone], work [phone]",
			"1-800-555-0199 or 415.555.0132":                    "[phone] or [phone]",
			"Tel: 030 1234 5678; mobil 0171/2345678":            "Tel: [phone]; mobil [phone]",
			"ring 020 7946 0958 or 07700900123":                 "ring [phone] or [phone]",
			"from abroad 0044 20 7946 0958":                     "from abroad [phone]",
			"On 2024-01-31 and 01-02-2024, 31.12.1999 at 10:30": "On 2024-01-31 and 01-02-2024, 31.12.1999 at 10:30",
			"1,000,000 of 1234567890123 at 3.14159265358":       "1,000,000 of 1234567890123 at 3.14159265358",
			"version 10.15.7, port 8080, 192.168.178.12":        "version 10.15.7, port 8080, 192.168.178.12",
			"f(5+12345678) = 17, ID a0171234567":                "f(5+12345678) = 17, ID a0171234567",
		},
		"card": {
			"card 4111 1111 1111 1111, exp 12/29":          "card [card], exp 12/29",
			"5500-0055-5555-5559 and 378282246310005.":     "[card] and [card].",
			"no4012888888881881x":                          "no[card]x",
			"pin 12 4111 1111 1111 1111 9":                 "pin 12 [card] 9",
			"4111 1111 1111 1112 is off by one":            "4111 1111 1111 1112 is off by one",
			"at 1700000000000 ms, 1700000000000000000 ns":  "at 1700000000000 ms, 1700000000000000000 ns",
			"0000 0000 0000 0000 and 41111111111111111111": "0000 0000 0000 0000 and 41111111111111111111",
		},
		"iban": {
			"to DE89 3704 0044 0532 0130 00 und danke":                  "to [iban] und danke",
			"GB82WEST12345698765432;fr1420041010050500013m02606":        "[iban];[iban]",
			"DE89 3704 0044 0532 0130 01 is wrong, DE89 3704 too short": "DE89 3704 0044 0532 0130 01 is wrong, DE89 3704 too short",
			"AB12 is a name, and XDE89370400440532013000 another":       "AB12 is a name, and XDE89370400440532013000 another",
		},
		"key": {
			"use sk-proj-" + long + " now":                                    "use [key] now",
			"Authorization: Bearer abc.DEF-123_456~7/8+9==":                   "Authorization: Bearer [key]",
			"AKIA" + "IOSFODNN7EXAMPLE, gh" + "p_" + long[:36]:                "[key], [key]",
			"postgres://app:pa55w0rd!@db/x":                                   "postgres://app:[key]@db/x",
			`{"api_key": "0123456789abcdef"}`:                                 `{"api_key": "[key]"}`,
			"my password is hunter2hunter.":                                   "my password is [key].",
			"the password is correct; token: streaming":                       "the password is correct; token: streaming",
			"if password == getPassword(user1) {":                             "if password == getPassword(user1) {",
			"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln":                       "[key]",
			"-----BEGIN PRIVATE KEY-----\nMII\n-----END PRIVATE KEY----- end": "[key] end",
			"-----BEGIN RSA PRIVATE KEY-----\nMII, cut off":                   "[key]",
			"xoxb-1234567890-abc and sk-1":                                    "[key] and sk-1",
			"ask-me-anything-about-this-task-please":                          "ask-me-anything-about-this-task-please",
		},
		"ip": {
			"from 192.168.178.12:8080, 8.8.8.8.":            "from [ip]:8080, [ip].",
			"2001:db8::1 and fe80::1ff:fe23:4567:890a":      "[ip] and [ip]",
			"2001:0db8:85a3:0000:0000:8a2e:0370:7334!":      "[ip]!",
			"::ffff:10.0.0.1":                               "[ip]",
			"std::vector, a::b, 12:30:45, 1.2.3, 1.2.3.4.5": "std::vector, a::b, 12:30:45, 1.2.3, 1.2.3.4.5",
			"999.1.1.1 is none":                             "999.1.1.1 is none",
		},
	} {
		r := redactor(t, kind)
		for in, want := range cases {
			if got := redacted(r, in); got != want {
				t.Errorf("%s: %q\n got %q\nwant %q", kind, in, got, want)
			}
		}
	}
}

// All kinds together: overlapping finds make one mark, and each is counted.
func TestRedactTogether(t *testing.T) {
	r := redactor(t, Kinds()...)
	found := map[string]uint32{}
	in := "Hi, I'm Jo (jo@ex.org, +1 415 555 2671). Card 4111-1111-1111-1111, IBAN DE89370400440532013000, host 10.0.0.1, https://u:s3cr3t@h.example.org"
	want := "Hi, I'm Jo ([email], [phone]). Card [card], IBAN [iban], host [ip], https://u:[email]"
	if got := r.Redact(in, len(in), found); got != want {
		t.Errorf("got %q", got)
	}
	for _, kind := range []string{"email", "phone", "card", "iban", "ip"} {
		if found[kind] == 0 {
			t.Errorf("%s is not counted: %v", kind, found)
		}
	}
	if again := redacted(r, redacted(r, in)); again != redacted(r, in) {
		t.Errorf("a second time: %q", again)
	}
}

// Rules of one's own leave out their first group, or all; bad ones are told.
func TestOwnRules(t *testing.T) {
	r, err := NewRedactor([]Rule{{Pattern: `\bACME-\d{6}\b`, As: "order"}, {Pattern: `(?i)patient:\s*(\w+)`, As: "name"}})
	if err != nil {
		t.Fatal(err)
	}
	if got := redacted(r, "ACME-123456 of Patient: Smith, ACME-1"); got != "[order] of Patient: [name], ACME-1" {
		t.Errorf("got %q", got)
	}
	for _, bad := range []Rule{{}, {Kind: "emails"}, {Pattern: "a"}, {Pattern: "a", As: "A b"}, {Pattern: "(", As: "x"}, {Pattern: "a*", As: "x"},
		{Pattern: strings.Repeat("a", 1001), As: "x"}, {Pattern: `a(?=b)`, As: "x"}} {
		if bad.Check() == nil {
			t.Errorf("%+v is taken", bad)
		}
	}
}

// A secret that the cut goes through is marked as a whole; one behind it is no
// part of the text (I3).
func TestRedactAtTheCut(t *testing.T) {
	r := redactor(t, Kinds()...)
	for name, c := range map[string]struct {
		in    string
		limit int
		want  string
	}{
		"through":         {"card 4111 1111 1111 1111 end", 10, "card [card]"},
		"before":          {"card 4111 1111 1111 1111 end", 5, "card "},
		"behind":          {"jo@ex.org 4111 1111 1111 1111", 9, "[email]"},
		"at its end":      {"jo@ex.org and", 9, "[email]"},
		"no limit hit":    {"jo@ex.org and", 100, "[email] and"},
		"in a character":  {"aä", 2, "a"},
		"longer by marks": {"a@b.de a@b.de", 13, "[email] [email]"},
		"a key of 9 KB":   {"-----BEGIN PRIVATE KEY-----" + strings.Repeat("MIIE", 2300) + "-----END PRIVATE KEY-----", 30, "[key]"},
	} {
		if got := r.Redact(c.in, c.limit, map[string]uint32{}); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
	var none *Redactor
	if got := none.Redact("jo@ex.org\xff", 4, nil); got != "jo@e" {
		t.Errorf("without rules: %q", got)
	}
}

// secretsOf makes a secret of each kind from random digits and letters.
func secretsOf(rnd *rand.Rand) map[string]string {
	word := func(n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = "abcdefghijkmnpqrstuvwxyzABCDEFGH23456789"[rnd.IntN(40)]
		}
		return string(b)
	}
	digits := func(n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte('0' + rnd.IntN(10))
		}
		return string(b)
	}
	card := "4" + digits(14)
	for last := byte('0'); ; last++ {
		if isCard(card + string(last)) {
			card += string(last)
			break
		}
	}
	iban := digits(18)
	for check := 2; ; check++ {
		if x := fmt.Sprintf("DE%02d%s", check, iban); ibanEnd(x, 0, 22) > 0 {
			iban = x
			break
		}
	}
	return map[string]string{"email": word(8) + "@" + strings.ToLower(word(6)) + ".example.org", "card": card, "iban": iban,
		"key": "sk-" + word(40), "ip": fmt.Sprintf("%d.%d.%d.%d", 1+rnd.IntN(254), rnd.IntN(256), rnd.IntN(256), rnd.IntN(256)),
		"phone": "+49 171 " + digits(7)}
}

// No secret survives in random surroundings, wherever the cut is; and what is
// left is valid UTF-8.
func TestRedactRandom(t *testing.T) {
	seed := rand.Uint64()
	rnd := rand.New(rand.NewPCG(seed, 0))
	r := redactor(t, Kinds()...)
	filler := []string{"the order", "is äöü", "日本語", "(see below)", "\n", "\"quoted\"", "x = y", "—", "and, then", "$5.00"}
	for range 500 {
		var in strings.Builder
		secrets := secretsOf(rnd)
		for range 1 + rnd.IntN(4) {
			for _, s := range secrets {
				in.WriteString(filler[rnd.IntN(len(filler))] + " " + s + []string{" ", ".", ",", ")", "\n"}[rnd.IntN(5)])
			}
		}
		limit := rnd.IntN(in.Len() + 10)
		got := r.Redact(in.String(), limit, map[string]uint32{})
		if !utf8.ValidString(got) {
			t.Fatalf("seed %d: not UTF-8: %q", seed, got)
		}
		for kind, s := range secrets {
			if strings.Contains(got, s) || strings.Contains(got, s[:len(s)-2]) {
				t.Fatalf("seed %d: %s %q is in %q", seed, kind, s, got)
			}
		}
	}
}

// cpu is the time that this process has worked.
func cpu(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// What is made to be slow is not (I2): ten times the text takes not a hundred
// times as long.
func TestRedactIsLinear(t *testing.T) {
	r := redactor(t, Kinds()...)
	for name, piece := range map[string]string{"digits": "1 ", "at": "a@", "dots": "a.", "colons": "1:", "dashes": "-----BEGIN PRIVATE KEY-----", "iban": "DE89 ", "plus": "+1 (", "words": "password: "} {
		took := func(n int) time.Duration {
			text, best := strings.Repeat(piece, n/len(piece)), time.Hour
			for range 3 {
				began := cpu(t)
				redacted(r, text)
				best = min(best, cpu(t)-began)
			}
			return best
		}
		small := max(took(10_000), 2*time.Millisecond)
		if large := took(100_000); large > 50*small {
			t.Errorf("%s: 10 kB take %s, 100 kB %s", name, small, large)
		}
	}
}

func FuzzRedact(f *testing.F) {
	f.Add("jo@ex.org 4111 1111 1111 1111 DE89 3704 0044 0532 0130 00 sk-abcdefghijklmnopqrst 10.0.0.1 +49 171 2345678", 50)
	f.Add("\xff::1 -----BEGIN PRIVATE KEY-----", 3)
	r := redactor(f, Kinds()...)
	f.Fuzz(func(t *testing.T, text string, limit int) {
		limit = min(max(limit, 0), 1<<20)
		got := r.Redact(text, limit, map[string]uint32{})
		if !utf8.ValidString(got) {
			t.Errorf("not UTF-8: %q", got)
		}
		if limit >= len(text) && cards(got) != nil && !strings.Contains(text, "[") { // marks apart, what is left has none
			t.Errorf("a card is left in %q", got)
		}
	})
}

func BenchmarkRedact(b *testing.B) {
	r := redactor(b, Kinds()...)
	text := strings.Repeat("Dear team, on 2024-05-06 customer 4711 (jo@ex.org) asked: why is the total 1,234.50 and not 1,200? Thanks, Jo. ", 80)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		redacted(r, text)
	}
}
