package wire

import (
	"encoding/json"
	"strconv"
	"strings"
)

// once reads a value that a pointer stands for. A key that comes twice, which
// encoding/json would merge, is not ours.
func once[T any](v **T, read func(*T) error) error {
	if *v != nil {
		return errSlow
	}
	*v = new(T)
	return read(*v)
}

// scanner reads compact JSON as encoding/json writes it: without white space.
type scanner struct {
	text string
	at   int
	fold bool // leaves an attempt's decision as it is
}

func (s *scanner) next() byte {
	if s.at == len(s.text) {
		return 0
	}
	return s.text[s.at]
}

func (s *scanner) take(c byte) error {
	if s.next() != c {
		return errSlow
	}
	s.at++
	return nil
}

func (s *scanner) end() error {
	if s.at != len(s.text) {
		return errSlow
	}
	return nil
}

// object calls field for each key, which must read the value.
func (s *scanner) object(field func(key string) error) error {
	if err := s.take('{'); err != nil {
		return err
	}
	if s.take('}') == nil {
		return nil
	}
	for {
		var key string
		if err := str(s, &key); err != nil {
			return err
		}
		if err := s.take(':'); err != nil {
			return err
		}
		if err := field(key); err != nil {
			return err
		}
		if s.take(',') != nil {
			return s.take('}')
		}
	}
}

func (s *scanner) array(element func() error) error {
	if err := s.take('['); err != nil {
		return err
	}
	if s.take(']') == nil {
		return nil
	}
	for {
		if err := element(); err != nil {
			return err
		}
		if s.take(',') != nil {
			return s.take(']')
		}
	}
}

// str reads a string. One with an escape or an odd byte is left to
// encoding/json, alone.
func str[S ~string](s *scanner, v *S) error {
	if err := s.take('"'); err != nil {
		return err
	}
	start := s.at
	n := strings.IndexByte(s.text[start:], '"')
	if n < 0 {
		return errSlow
	}
	if text := s.text[start : start+n]; plain(text) {
		*v, s.at = S(text), start+n+1
		return nil
	}
	for end := start; end < len(s.text); end++ {
		switch s.text[end] {
		case '\\':
			end++
		case '"':
			s.at = end + 1
			var text string
			err := json.Unmarshal([]byte(s.text[start-1:s.at]), &text)
			*v = S(text)
			return err
		}
	}
	return errSlow
}

func plain(text string) bool {
	for i := 0; i < len(text); i++ {
		if c := text[i]; c < ' ' || c >= 0x7f || c == '\\' {
			return false
		}
	}
	return true
}

func (s *scanner) number() string {
	start := s.at
	for s.at < len(s.text) {
		switch c := s.text[s.at]; {
		case c >= '0' && c <= '9', c == '-', c == '+', c == '.', c == 'e', c == 'E':
			s.at++
		default:
			return s.text[start:s.at]
		}
	}
	return s.text[start:s.at]
}

func integer[N ~int | ~int64](s *scanner, v *N) error {
	n, err := strconv.ParseInt(s.number(), 10, 64)
	*v = N(n)
	return err
}

func (s *scanner) uint(v *uint64) (err error) {
	*v, err = strconv.ParseUint(s.number(), 10, 64)
	return err
}

func (s *scanner) boolean(v *bool) error {
	for _, b := range [...]struct {
		text  string
		value bool
	}{{"true", true}, {"false", false}} {
		if strings.HasPrefix(s.text[s.at:], b.text) {
			*v = b.value
			s.at += len(b.text)
			return nil
		}
	}
	return errSlow
}

// folded passes over an object and takes its text. What is not JSON in it is
// noticed by who unfolds it.
func (s *scanner) folded(v *string) error {
	if *v != "" || s.next() != '{' {
		return errSlow
	}
	start, depth := s.at, 0
	for ; s.at < len(s.text); s.at++ {
		switch s.text[s.at] {
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				s.at++
				*v = s.text[start:s.at]
				return nil
			}
		case '"':
			for s.at++; s.at < len(s.text) && s.text[s.at] != '"'; s.at++ {
				if s.text[s.at] == '\\' {
					s.at++
				}
			}
		}
	}
	return errSlow
}
