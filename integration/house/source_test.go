package house

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// root is the repository, seen from this folder.
const root = "../.."

// module starts every import path of ours.
const module = "github.com/sluicehq/sluice/"

// pkg is what `go list` says of one of our packages.
type pkg struct {
	ImportPath, Name, Dir              string
	Imports, TestImports, XTestImports []string
	Deps                               []string
}

// rel is the package's path inside the module.
func (p *pkg) rel() string { return strings.TrimPrefix(p.ImportPath, module) }

// packages lists every package of the module, once.
var packages = sync.OnceValues(func() ([]pkg, error) {
	cmd := exec.Command("go", "list", "-e", "-json=ImportPath,Name,Dir,Imports,TestImports,XTestImports,Deps", "./...")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		return nil, err
	}
	var list []pkg
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return list, nil
		} else if err != nil {
			return nil, err
		}
		list = append(list, p)
	}
})

func allPackages(t *testing.T) []pkg {
	t.Helper()
	list, err := packages()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	if len(list) < 20 {
		t.Fatalf("go list names %d packages: the rules would pass for want of anything to look at", len(list))
	}
	return list
}

// source is one Go file.
type source struct {
	path      string // slashes, from the repository's root
	file      *ast.File
	fset      *token.FileSet
	lines     int
	test      bool
	generated bool
}

func (s *source) at(n ast.Node) string {
	p := s.fset.Position(n.Pos())
	return s.path + ":" + itoa(p.Line)
}

func (s *source) dir() string { return filepath.ToSlash(filepath.Dir(s.path)) }

// in reports whether the file is in or below one of the folders.
func (s *source) in(dirs ...string) bool {
	for _, d := range dirs {
		if s.dir() == d || strings.HasPrefix(s.dir(), d+"/") {
			return true
		}
	}
	return false
}

// sources parses every Go file of our packages, for every platform, once.
var sources = sync.OnceValues(func() ([]*source, error) {
	list, err := packages()
	if err != nil {
		return nil, err
	}
	base, err := filepath.Abs(root)
	if err != nil {
		return nil, err
	}
	var all []*source
	for _, p := range list {
		files, err := filepath.Glob(filepath.Join(p.Dir, "*.go"))
		if err != nil {
			return nil, err
		}
		for _, path := range files {
			text, err := os.ReadFile(path)
			if err != nil {
				return nil, err
			}
			s := &source{fset: token.NewFileSet(), lines: bytes.Count(text, []byte("\n")), test: strings.HasSuffix(path, "_test.go")}
			if s.file, err = parser.ParseFile(s.fset, path, text, parser.ParseComments); err != nil {
				return nil, err
			}
			s.generated = ast.IsGenerated(s.file)
			rel, err := filepath.Rel(base, path)
			if err != nil {
				return nil, err
			}
			s.path = filepath.ToSlash(rel)
			all = append(all, s)
		}
	}
	return all, nil
})

func allSources(t *testing.T) []*source {
	t.Helper()
	all, err := sources()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// code are the files that are neither tests nor generated.
func code(t *testing.T) []*source {
	t.Helper()
	var out []*source
	for _, s := range allSources(t) {
		if !s.test && !s.generated {
			out = append(out, s)
		}
	}
	return out
}

// calls yields every selector pkg.Name of an imported package in the file.
func (s *source) selectors(importPath string, f func(sel *ast.SelectorExpr)) {
	local := ""
	for _, imp := range s.file.Imports {
		if strings.Trim(imp.Path.Value, `"`) != importPath {
			continue
		}
		local = versionSuffix.ReplaceAllString(importPath, "")
		local = local[strings.LastIndexByte(local, '/')+1:]
		if imp.Name != nil {
			local = imp.Name.Name
		}
	}
	if local == "" {
		return
	}
	ast.Inspect(s.file, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok {
			if id, ok := sel.X.(*ast.Ident); ok && id.Name == local && id.Obj == nil {
				f(sel)
			}
		}
		return true
	})
}

var versionSuffix = regexp.MustCompile(`/v[0-9]+$`)

// tracked lists the files that git tracks, or every file where there is no
// git.
func tracked(t *testing.T) []string {
	t.Helper()
	cmd := exec.Command("git", "ls-files", "-z")
	cmd.Dir = root
	if out, err := cmd.Output(); err == nil && len(out) > 0 {
		return strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
	}
	var list []string
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() && path != root && (name == ".git" || name == ".engine" || name == ".demo" || name == "bin" || name == "sluice-data" || name == "node_modules") {
			return filepath.SkipDir
		}
		if d.Type().IsRegular() {
			rel, err := filepath.Rel(root, path)
			if err != nil {
				return err
			}
			list = append(list, filepath.ToSlash(rel))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}
