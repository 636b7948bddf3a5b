package house

import (
	"errors"
	"go/ast"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"
)

func itoa(n int) string { return strconv.Itoa(n) }

// R5: every package says what it is in a doc.go of at most 60 lines. Package
// main may say it where main is.
func TestEveryPackageHasADoc(t *testing.T) {
	const most = 60
	docs, mains := map[string]*source{}, map[string]bool{}
	for _, s := range allSources(t) {
		if filepath.Base(s.path) == "doc.go" && s.file.Doc != nil {
			docs[s.dir()] = s
		}
		if s.file.Name.Name == "main" && s.file.Doc != nil {
			mains[s.dir()] = true
		}
	}
	for _, p := range allPackages(t) {
		d := docs[p.rel()]
		switch {
		case d == nil && !mains[p.rel()]:
			t.Errorf("%s has no doc.go with a package comment", p.rel())
		case d != nil && d.lines > most:
			t.Errorf("%s has %d lines, more than %d", d.path, d.lines, most)
		}
	}
}

// R5: every exported name has a comment. A group's comment counts for all of
// it.
func TestExportedNamesAreDocumented(t *testing.T) {
	for _, s := range code(t) {
		if s.file.Name.Name == "main" {
			continue
		}
		for _, d := range s.file.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Name.IsExported() && d.Doc == nil && exportedReceiver(d) {
					t.Errorf("%s: %s has no comment", s.at(d), d.Name.Name)
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					for _, id := range undocumented(d, spec) {
						t.Errorf("%s: %s has no comment", s.at(id), id.Name)
					}
				}
			}
		}
	}
}

// exportedReceiver reports whether a function can be reached from outside.
func exportedReceiver(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	typ := d.Recv.List[0].Type
	if star, ok := typ.(*ast.StarExpr); ok {
		typ = star.X
	}
	if gen, ok := typ.(*ast.IndexExpr); ok {
		typ = gen.X
	}
	id, ok := typ.(*ast.Ident)
	return !ok || id.IsExported()
}

// undocumented are the exported names of a spec without any comment.
func undocumented(d *ast.GenDecl, spec ast.Spec) []*ast.Ident {
	var out []*ast.Ident
	switch spec := spec.(type) {
	case *ast.TypeSpec:
		if spec.Name.IsExported() && spec.Doc == nil && spec.Comment == nil && d.Doc == nil {
			out = append(out, spec.Name)
		}
	case *ast.ValueSpec:
		if spec.Doc != nil || spec.Comment != nil || d.Doc != nil {
			return nil
		}
		for _, id := range spec.Names {
			if id.IsExported() {
				out = append(out, id)
			}
		}
	}
	return out
}

// R6: no init functions, and contexts begin in main only. A context with a
// time-out of its own is allowed, for clean-up after the caller's has ended.
func TestNothingStartsByItself(t *testing.T) {
	for _, s := range allSources(t) {
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
				t.Errorf("%s: an init function", s.at(f))
			}
		}
		if s.test || s.file.Name.Name == "main" || s.in("analytics/store/storetest") { // which only tests import
			continue
		}
		bounded := boundedRoots(s.file)
		s.selectors("context", func(sel *ast.SelectorExpr) {
			if (sel.Sel.Name == "Background" || sel.Sel.Name == "TO"+"DO") && !bounded[sel] {
				t.Errorf("%s: context.%s outside of main: take a context, or derive one with WithoutCancel", s.at(sel), sel.Sel.Name)
			}
		})
	}
}

// boundedRoots are the functions that make the first argument of a call of
// context.WithTimeout.
func boundedRoots(f *ast.File) map[ast.Expr]bool {
	out := map[ast.Expr]bool{}
	ast.Inspect(f, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok || len(call.Args) != 2 {
			return true
		}
		sel, ok := call.Fun.(*ast.SelectorExpr)
		if inner, isCall := call.Args[0].(*ast.CallExpr); ok && isCall && sel.Sel.Name == "WithTimeout" {
			out[inner.Fun] = true
		}
		return true
	})
	return out
}

// R6: nothing is left to be finished later.
func TestNoNotesToSelf(t *testing.T) {
	note := regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X|HA` + `CK)\b`)
	eachLine(t, func(path string, n int, line string) {
		if note.MatchString(line) && !strings.HasSuffix(path, ".csv") {
			t.Errorf("%s:%d: %s", path, n, strings.TrimSpace(line))
		}
	})
}

// R8: nothing of one machine, and no registry by its host, is tracked.
func TestNoMachinePathsAndRegistries(t *testing.T) {
	machine := regexp.MustCompile(`(^|[^A-Za-z0-9._/$}-])/(wo` + `rk|ro` + `ot|ho` + `me/[a-z]+|Us` + `ers/[A-Za-z]+)/`)
	registry := regexp.MustCompile(`(?i)(registry\.npmjs` + `|registry\.yarnpkg|proxy\.go` + `lang|sum\.go` + `lang|pypi\.o` + `rg|python` + `hosted|index\.docker|registry-1\.)`)
	eachLine(t, func(path string, n int, line string) {
		if m := machine.FindString(line); m != "" {
			t.Errorf("%s:%d: a path of one machine: %q", path, n, m)
		}
		if m := registry.FindString(line); m != "" {
			t.Errorf("%s:%d: a registry host: %q", path, n, m)
		}
	})
}

// eachLine goes through the text files that are tracked.
func eachLine(t *testing.T, f func(path string, n int, line string)) {
	t.Helper()
	files := tracked(t)
	seen := 0
	for _, path := range files {
		text, err := os.ReadFile(filepath.Join(root, path))
		if errors.Is(err, fs.ErrNotExist) {
			continue // deleted, but not committed yet
		}
		if err != nil {
			t.Fatal(err)
		}
		if slices.Contains(text[:min(len(text), 8000)], 0) {
			// Screenshots show what words cannot, as long as they stay small.
			if strings.HasPrefix(path, "docs/") && strings.HasSuffix(path, ".png") && len(text) < 400<<10 {
				continue
			}
			t.Errorf("%s is binary: nothing binary is tracked", path)
			continue
		}
		seen++
		for i, line := range strings.Split(string(text), "\n") {
			f(path, i+1, line)
		}
	}
	if seen < 50 {
		t.Errorf("only %d of %d files were looked at", seen, len(files))
	}
}

// R7: files and functions that fit a head.
func TestSizes(t *testing.T) {
	const warnFile, mostFile, p90, p99 = 400, 600, 35, 90
	var lengths []int
	var long []string
	var codeLines, testLines int
	for _, s := range allSources(t) {
		if s.generated {
			continue
		}
		switch {
		case s.lines > mostFile:
			t.Errorf("%s has %d lines, more than %d", s.path, s.lines, mostFile)
		case s.lines > warnFile:
			t.Logf("%s has %d lines: consider splitting it", s.path, s.lines)
		}
		if s.test {
			testLines += s.lines
			continue
		}
		codeLines += s.lines
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Body != nil {
				n := s.fset.Position(f.End()).Line - s.fset.Position(f.Pos()).Line + 1
				lengths = append(lengths, n)
				if n > p99 {
					long = append(long, s.at(f)+" "+f.Name.Name+": "+itoa(n))
				}
			}
		}
	}
	slices.Sort(lengths)
	share := func(q int) int { return lengths[(len(lengths)-1)*q/100] }
	t.Logf("%d functions: p50 %d, p90 %d, p99 %d, longest %d lines; %d lines of code, %d of tests (%.2f)",
		len(lengths), share(50), share(90), share(99), lengths[len(lengths)-1], codeLines, testLines, float64(testLines)/float64(codeLines))
	for _, l := range long {
		t.Logf("long function: %s lines", l)
	}
	if share(90) > p90 {
		t.Errorf("one function in ten has more than %d lines, where %d is the bound", share(90), p90)
	}
	if share(99) > p99 {
		t.Errorf("one function in a hundred has more than %d lines, where %d is the bound", share(99), p99)
	}
}

// synonyms are words that exported names do not use, and what they mean here.
var synonyms = map[string]string{
	"Task": "job", "Tasks": "job", "Vendor": "provider", "Vendors": "provider", "Backend": "pool or provider", "Backends": "pool or provider",
	"Tries": "attempt", "Invocation": "attempt", "Customer": "tenant", "Organization": "tenant", "Org": "tenant", "Charge": "cost", "Charges": "cost",
	"Fragment": "chunk", "Fragments": "chunk", "Reservation": "hold", "Reservations": "hold", "Driver": "adapter", "Drivers": "adapter",
	"Journal": "ledger",
}

// R9: one word per thing.
func TestNamesUseTheGlossary(t *testing.T) {
	check := func(s *source, id *ast.Ident) {
		if !id.IsExported() {
			return
		}
		for _, w := range words(id.Name) {
			if means, bad := synonyms[w]; bad {
				t.Errorf("%s: %s says %s, where the glossary says %s", s.at(id), id.Name, w, means)
			}
		}
	}
	for _, s := range code(t) {
		for _, d := range s.file.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				check(s, d.Name)
			case *ast.GenDecl:
				for _, id := range declared(d) {
					check(s, id)
				}
			}
		}
	}
}

// declared are the names of a declaration, with the fields of its structs.
func declared(d *ast.GenDecl) []*ast.Ident {
	if d.Tok == token.IMPORT {
		return nil
	}
	var out []*ast.Ident
	ast.Inspect(d, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.TypeSpec:
			out = append(out, n.Name)
		case *ast.ValueSpec:
			out = append(out, n.Names...)
		case *ast.StructType:
			for _, f := range n.Fields.List {
				out = append(out, f.Names...)
			}
		case *ast.FuncLit:
			return false
		}
		return true
	})
	return out
}

// words splits a name at its capitals.
func words(name string) []string {
	var out []string
	start := 0
	runes := []rune(name)
	for i := 1; i <= len(runes); i++ {
		if i == len(runes) || unicode.IsUpper(runes[i]) && !unicode.IsUpper(runes[i-1]) {
			out = append(out, string(runes[start:i]))
			start = i
		}
	}
	return out
}

func TestWords(t *testing.T) {
	if got := strings.Join(words("NewTaskID"), " "); got != "New Task ID" {
		t.Errorf("words of NewTaskID: %s", got)
	}
}
