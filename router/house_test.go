package router

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The package is pure: what it may import and do is checked in its source.
func TestPure(t *testing.T) {
	allowed := []string{
		"fmt", "maps", "math", "math/bits", "slices", "strings", "time", "github.com/sluicehq/sluice/sdk/wire",
	}
	for name, file := range sources(t) {
		for _, imp := range file.Imports {
			if path, _ := strconv.Unquote(imp.Path.Value); !slices.Contains(allowed, path) {
				t.Errorf("%s imports %s", name, path)
			}
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt, *ast.SelectStmt, *ast.SendStmt, *ast.ChanType:
				t.Errorf("%s: concurrency", name)
			case *ast.SelectorExpr:
				clock := []string{"Now", "Since", "Until", "Sleep", "After", "Tick", "NewTimer", "Local", "LoadLocation"}
				if pkg, ok := n.X.(*ast.Ident); ok && pkg.Name == "time" && slices.Contains(clock, n.Sel.Name) {
					t.Errorf("%s uses time.%s", name, n.Sel.Name)
				}
				if pkg, ok := n.X.(*ast.Ident); ok && pkg.Name == "math" && decides(name) && slices.Contains(inexact, n.Sel.Name) {
					t.Errorf("%s uses math.%s, which differs between machines", name, n.Sel.Name)
				}
			case *ast.FuncDecl:
				if n.Name.Name == "init" {
					t.Errorf("%s has an init", name)
				}
			}
			return true
		})
	}
}

// inexact functions have assembly on some machines and may differ in the last
// bit (I1). Folds may use them: what they give is captured.
var inexact = []string{"Exp", "Exp2", "Log", "Log2", "Log10", "Log1p", "Pow", "Sin", "Cos", "Tanh", "FMA", "Cbrt"}

func decides(file string) bool { return file != "fold.go" && file != "histogram.go" }

func TestHouseSizes(t *testing.T) {
	code, tests := 0, 0
	for _, e := range goFiles(t) {
		b, err := os.ReadFile(e)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Count(string(b), "\n")
		if lines > 450 {
			t.Errorf("%s has %d lines", e, lines)
		}
		if strings.HasSuffix(e, "_test.go") {
			tests += lines
		} else {
			code += lines
		}
		if e == "doc.go" && lines > 60 {
			t.Errorf("doc.go has %d lines", lines)
		}
	}
	transcripts, err := filepath.Glob("testdata/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range transcripts {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		tests += strings.Count(string(b), "\n")
	}
	t.Logf("%d lines of code, %d of tests", code, tests)
	if tests*10 < code*13 {
		t.Errorf("%d lines of tests for %d of code", tests, code)
	}
}

// Every exported name has a comment.
func TestDocumentedNames(t *testing.T) {
	for name, file := range sources(t) {
		for _, d := range file.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Name.IsExported() && d.Doc == nil {
					t.Errorf("%s: %s", name, d.Name.Name)
				}
			case *ast.GenDecl:
				for _, s := range d.Specs {
					if ts, ok := s.(*ast.TypeSpec); ok && ts.Name.IsExported() && d.Doc == nil && ts.Doc == nil {
						t.Errorf("%s: %s", name, ts.Name.Name)
					}
				}
			}
		}
	}
}

func goFiles(t *testing.T) []string {
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".go") {
			names = append(names, e.Name())
		}
	}
	return names
}

func sources(t *testing.T) map[string]*ast.File {
	files := map[string]*ast.File{}
	for _, name := range goFiles(t) {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = f
	}
	return files
}
