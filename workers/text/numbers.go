package text

import (
	"regexp"
	"slices"
	"strings"
)

// group is digits without anything between them.
type group struct{ from, to int }

// digitGroups are runs of groups of digits with one separator of the set
// between two of them.
func digitGroups(text, separators string) (runs [][]group) {
	var run []group
	for i := 0; i < len(text); {
		if !digit(text[i]) {
			i++
			continue
		}
		from := i
		for i < len(text) && digit(text[i]) {
			i++
		}
		if n := len(run); n > 0 && !(run[n-1].to == from-1 && strings.IndexByte(separators, text[from-1]) >= 0) {
			runs, run = append(runs, run), nil
		}
		run = append(run, group{from, i})
	}
	if len(run) > 0 {
		runs = append(runs, run)
	}
	return runs
}

// Digits of a payment card's number.
const cardLeast, cardMost = 13, 19

// cards finds payment cards: 13 to 19 digits, from 2 to 6 on, with a right check
// digit, in groups or not, also among other groups of digits.
func cards(text string) (out [][2]int) {
	for _, run := range digitGroups(text, " -") {
		for i := 0; i < len(run); i++ {
			best, digits := -1, 0
			for j := i; j < len(run) && digits < cardMost; j++ {
				digits += run[j].to - run[j].from
				if digits >= cardLeast && digits <= cardMost && isCard(text[run[i].from:run[j].to]) {
					best = j
				}
			}
			if best >= 0 {
				out = append(out, [2]int{run[i].from, run[best].to})
				i = best
			}
		}
	}
	return out
}

// isCard is Luhn's check of a number, which may have separators.
func isCard(number string) bool {
	if number[0] < '2' || number[0] > '6' {
		return false
	}
	sum, double := 0, false
	for i := len(number) - 1; i >= 0; i-- {
		if !digit(number[i]) {
			continue
		}
		d := int(number[i] - '0')
		if double {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum, double = sum+d, !double
	}
	return sum%10 == 0
}

// ibanLengths are the lengths of IBANs by country.
const ibanLengths = "AD24AE23AL28AT20AZ28BA20BE16BG22BH22BI27BR29BY28CH21CR22CY28CZ24DE22DJ27DK18DO28EE20EG29ES24FI18FK18FO18FR27GB22GE22GI23GL18" +
	"GR27GT28HR21HU28IE22IL23IQ23IS26IT27JO30KW30KZ20LB28LC32LI21LT20LU20LV21LY25MC27MD24ME22MK19MN20MR27MT31MU30NI28NL18NO15OM23PK24" +
	"PL28PS29PT25QA29RO24RS22RU33SA24SC31SD18SE24SI19SK24SM27SO23ST25SV28TL23TN24TR26UA29VA22VG24XK20YE30"

// ibans finds bank accounts by the length of their country's and the check
// digits, in groups or not.
func ibans(text string) (out [][2]int) {
	for from := 0; from+4 <= len(text); from++ {
		if !digit(text[from+2]) || !digit(text[from+3]) || !letter(text[from]) || !letter(text[from+1]) || from > 0 && wordByte(text[from-1]) {
			continue
		}
		country := strings.ToUpper(text[from : from+2])
		at := -1
		for i := 0; i < len(ibanLengths); i += 4 {
			if ibanLengths[i:i+2] == country {
				at = i
			}
		}
		if at < 0 {
			continue
		}
		length := int(ibanLengths[at+2]-'0')*10 + int(ibanLengths[at+3]-'0')
		if to := ibanEnd(text, from, length); to > 0 && (to == len(text) || !wordByte(text[to])) {
			out = append(out, [2]int{from, to})
		}
	}
	return out
}

func letter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

// ibanEnd is where an IBAN of that length ends, 0 if there is none. Between two
// of its characters there may be a space or a hyphen.
func ibanEnd(text string, from, length int) int {
	var number []byte
	i := from
	for ; i < len(text) && len(number) < length; i++ {
		switch c := text[i]; {
		case digit(c):
			number = append(number, c)
		case c >= 'A' && c <= 'Z':
			number = append(number, c)
		case c >= 'a' && c <= 'z':
			number = append(number, c-'a'+'A')
		case (c == ' ' || c == '-') && wordByte(text[i-1]):
		default:
			return 0
		}
	}
	if len(number) < length {
		return 0
	}
	rest := 0
	for _, c := range slices.Concat(number[4:], number[:4]) {
		if digit(c) {
			rest = (rest*10 + int(c-'0')) % 97
		} else {
			rest = (rest*100 + int(c-'A') + 10) % 97
		}
	}
	if rest != 1 {
		return 0
	}
	return i
}

// phoneForms are the ways to write phone numbers: international, with the area
// in brackets, in North America, and with a trunk's 0. A space may be one that
// does not break.
var phoneForms = []*regexp.Regexp{
	regexp.MustCompile(`\+[ (]?[0-9](?:[ \x{A0}\x{202F}().\-/]{0,3}[0-9]){6,14}`),
	regexp.MustCompile(`\b00[1-9](?:[ \x{A0}().\-/]{0,2}[0-9]){7,13}`),
	regexp.MustCompile(`(?:\b1[ .\-])?\([0-9]{2,5}\)[ \-]{0,2}[0-9](?:[ \-]?[0-9]){4,9}`),
	regexp.MustCompile(`\b(?:1[ .\-])?[2-9][0-9]{2}([ .\-])[0-9]{3}[ .\-][0-9]{4}\b`),
	regexp.MustCompile(`\b0[1-9][0-9]{0,4}[ \-/]{1,3}[0-9](?:[ \-/]?[0-9]){4,9}\b`),
	regexp.MustCompile(`\b0[1-9][0-9]{8,9}\b`),
}

var dateForm = regexp.MustCompile(`^\d{1,2}([ ./\-])\d{1,2}[ ./\-]\d{2,4}\b|^\d{4}-\d\d-\d\d`)

var phoneBytes = setOf(digits + " +().-/\xC2\xA0\xE2\x80\xAF")

// phones finds phone numbers. The forms are looked for where there are digits
// enough only.
func phones(text string) (out [][2]int) {
	runs(text, phoneBytes, func(from, to int) {
		n := 0
		for i := from; i < to; i++ {
			if digit(text[i]) {
				n++
			}
		}
		for begin := max(from-1, 0); n >= 7 && begin < to; begin += phoneWindow { // small texts are matched faster
			out = append(out, phonesIn(text, begin, min(begin+phoneWindow+64, to+1, len(text)))...)
		}
	})
	return out
}

// phoneWindow is how many bytes are looked at at a time, and 64 more: no phone
// number is longer.
const phoneWindow = 2048

func phonesIn(text string, begin, end int) (out [][2]int) {
	for _, re := range phoneForms {
		for _, m := range re.FindAllStringIndex(text[begin:end], -1) {
			from, to := begin+m[0], begin+m[1]
			switch {
			case from > 0 && (wordByte(text[from-1]) || text[from-1] == '.' || text[from-1] == ','): // of a larger number
			case to < len(text) && wordByte(text[to]):
			case dateForm.MatchString(text[from:to]):
			default:
				out = append(out, [2]int{from, to})
			}
		}
	}
	return out
}
