package engine

import "strings"

// kind is how a statement is run.
type kind int

const (
	kindOther  kind = iota // small results: DDL, SHOW, EXPLAIN, INSERT … SELECT
	kindSelect             // any amount of rows out
	kindInsert             // data follows the statement
)

// statement is what the front must know about a text of SQL: where its clauses
// begin, never what they mean. Positions are byte offsets.
type statement struct {
	kind      kind
	end       int    // end of the statement, before a closing semicolon (unused with data)
	multiple  bool   // another statement follows
	files     bool   // reads or writes a file of the server (INFILE, OUTFILE)
	input     bool   // INSERT … SELECT … FROM input()
	format    string // named by the statement, or ""
	formatPos int    // where FORMAT begins, or end
	filePos   int    // insert: where FROM INFILE belongs
	dataPos   int    // insert: where the data begins
}

// token is a piece of SQL that is neither white space nor a comment.
type token struct {
	pos, end int
	word     string // for a bare word; upper case if short
	punct    byte   // for a single character
}

// scanner splits SQL into tokens with ClickHouse's lexical rules.
type scanner struct {
	src  string
	pos  int
	last int // end of the last token
}

// next returns the next token, or false at the end.
func (s *scanner) next() (token, bool) {
	s.last = s.pos
	s.skipSpace()
	if s.pos >= len(s.src) {
		return token{}, false
	}
	start := s.pos
	c := s.src[start]
	switch {
	case c == '\'' || c == '"' || c == '`':
		s.quoted(c)
		return token{pos: start, end: s.pos}, true
	case c == '$' && s.heredoc():
		return token{pos: start, end: s.pos}, true
	case isWord(c):
		for s.pos < len(s.src) && (isWord(s.src[s.pos]) || s.src[s.pos] == '$') {
			s.pos++
		}
		return token{pos: start, end: s.pos, word: keyword(s.src[start:s.pos])}, true
	}
	s.pos++
	return token{pos: start, end: s.pos, punct: c}, true
}

// keyword is word in upper case, if it may be one that matters here.
func keyword(word string) string {
	if len(word) > len("FUNCTION") {
		return word
	}
	return strings.ToUpper(word)
}

func (s *scanner) skipSpace() {
	for s.pos < len(s.src) {
		rest := s.src[s.pos:]
		switch {
		case isSpace(rest[0]):
			s.pos++
		case strings.HasPrefix(rest, "--"), strings.HasPrefix(rest, "# "), strings.HasPrefix(rest, "#!"):
			s.skipPast(rest, "\n")
		case strings.HasPrefix(rest, "/*"):
			s.pos += 2
			s.skipPast(rest[2:], "*/")
		case strings.HasPrefix(rest, "\u00a0"), strings.HasPrefix(rest, "\ufeff"):
			s.pos += len(rest) - len(strings.TrimLeft(rest, "\u00a0\ufeff"))
		default:
			return
		}
	}
}

func (s *scanner) skipPast(rest, mark string) {
	if i := strings.Index(rest, mark); i >= 0 {
		s.pos += i + len(mark)
		return
	}
	s.pos = len(s.src)
}

// quoted moves past a quoted piece: a backslash escapes, a doubled quote is
// one quote.
func (s *scanner) quoted(quote byte) {
	for s.pos++; s.pos < len(s.src); s.pos++ {
		switch s.src[s.pos] {
		case '\\':
			s.pos++
		case quote:
			if s.pos+1 < len(s.src) && s.src[s.pos+1] == quote {
				s.pos++
				continue
			}
			s.pos++
			return
		}
	}
	s.pos = len(s.src)
}

// heredoc moves past $tag$…$tag$, if there is one here.
func (s *scanner) heredoc() bool {
	rest := s.src[s.pos+1:]
	i := 0
	for i < len(rest) && isWord(rest[i]) {
		i++
	}
	if i == len(rest) || rest[i] != '$' {
		return false
	}
	tag := "$" + rest[:i+1]
	if j := strings.Index(rest[i+1:], tag); j >= 0 {
		s.pos += 1 + i + 1 + j + len(tag)
		return true
	}
	return false
}

func isWord(c byte) bool {
	return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c >= 0x80
}

func isSpace(c byte) bool {
	return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v'
}

// scanStatement finds the clauses of sql. For an insert it looks no further
// than the beginning of the data, so sql may then be only the head of a text.
func scanStatement(sql string) statement {
	s := &scanner{src: sql}
	first, ok := s.next()
	for ok && first.punct == '(' {
		first, ok = s.next()
	}
	if first.word == "INSERT" {
		return scanInsert(s)
	}
	st := scanQuery(&scanner{src: sql})
	if w := first.word; (w == "SELECT" || w == "WITH" || w == "FROM") && st.dataPos == 0 {
		st.kind = kindSelect
	}
	return st
}

// scanQuery reads a whole statement that carries no data, from where s is.
func scanQuery(s *scanner) statement {
	var st statement
	var format formatClause
	var prev token // the last one outside all brackets
	depth := 0
	for t, ok := s.next(); ok; t, ok = s.next() {
		if t.punct == ';' && depth == 0 {
			for t, ok = s.next(); ok && t.punct == ';'; t, ok = s.next() {
			}
			st.multiple = ok
			break
		}
		st.end = t.end
		depth += t.nesting()
		if t.word == "INPUT" && s.peek() == '(' {
			st.input = true
		}
		if depth > 0 {
			continue
		}
		switch {
		case t.word == "OUTFILE" && prev.word == "INTO", t.word == "INFILE" && prev.word == "FROM":
			st.files = true
		case t.word == "INTO" && prev.word == "INSERT":
			st.dataPos = t.end // WITH … INSERT INTO: not a query
		}
		format.next(prev, t)
		prev = t
	}
	st.formatPos = st.end
	if format.state == formatNamed || format.state == formatSettings {
		st.format, st.formatPos = s.src[format.name.pos:format.name.end], format.pos
	}
	return st
}

// nesting is by how much a token changes the depth of brackets.
func (t token) nesting() int {
	switch t.punct {
	case '(', '[', '{':
		return 1
	case ')', ']', '}':
		return -1
	}
	return 0
}

// formatClause recognises FORMAT, a name and then nothing but settings: only
// at the end of a statement is the word FORMAT a clause.
type formatClause struct {
	state int
	pos   int
	name  token
}

// The states of a formatClause: none seen, the word, the name, settings.
const (
	formatNone = iota
	formatWord
	formatNamed
	formatSettings
)

func (f *formatClause) next(prev, t token) {
	switch {
	case f.state == formatWord && t.word != "":
		f.state, f.name = formatNamed, t
	case f.state == formatNamed && t.word == "SETTINGS":
		f.state = formatSettings
	case t.word == "FORMAT" && prev.punct != '.' && prev.punct != ',':
		f.state, f.pos = formatWord, t.pos
	case f.state != formatSettings:
		f.state = formatNone
	}
}

// peek is the next character that begins a token, 0 at the end.
func (s *scanner) peek() byte {
	ahead := *s
	if t, ok := ahead.next(); ok {
		return t.punct
	}
	return 0
}

// scanInsert reads what follows the word INSERT, up to the data.
func scanInsert(s *scanner) statement {
	st := statement{}
	t, ok := s.insertTarget()
	st.end = s.last
	depth := 0
	for ; ok; t, ok = s.next() {
		if t.punct == ';' && depth == 0 {
			_, st.multiple = s.next()
			return st
		}
		depth += t.nesting()
		st.end = t.end
		if depth > 0 {
			continue
		}
		switch t.word {
		case "SETTINGS":
			if st.filePos == 0 {
				st.filePos = t.pos
			}
		case "SELECT", "WITH":
			rest := scanQuery(s)
			rest.dataPos = 0
			return rest
		case "INFILE":
			st.files = true
		case "VALUES":
			st.kind, st.format, st.formatPos, st.dataPos = kindInsert, "Values", t.pos, t.end
		case "FORMAT":
			s.insertFormat(&st, t)
		}
		if st.kind == kindInsert {
			if st.filePos == 0 {
				st.filePos = st.formatPos
			}
			return st
		}
	}
	return st
}

// insertTarget moves past [INTO] [TABLE | FUNCTION] name[.name] and returns
// the token after it, so that a table may have any name.
func (s *scanner) insertTarget() (token, bool) {
	t, ok := s.next()
	for ok && (t.word == "INTO" || (t.word == "TABLE" || t.word == "FUNCTION") && s.peek() != '.') {
		t, ok = s.next()
	}
	for t, ok = s.next(); ok && t.punct == '.'; t, ok = s.next() {
		s.next()
	}
	return t, ok
}

// insertFormat reads the format's name and finds the data: after the first
// line break if only white space comes before it, else at the first character.
func (s *scanner) insertFormat(st *statement, format token) {
	name, ok := s.next()
	if !ok || name.word == "" {
		return
	}
	pos := name.end
	for pos < len(s.src) && isSpace(s.src[pos]) {
		pos++
		if s.src[pos-1] == '\n' {
			break
		}
	}
	st.kind, st.format = kindInsert, s.src[name.pos:name.end]
	st.formatPos, st.dataPos = format.pos, pos
}
