package engine

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func TestFind(t *testing.T) {
	pkg := Package(runtime.GOOS, runtime.GOARCH)
	if pkg == "" {
		t.Skipf("no engine for %s/%s", runtime.GOOS, runtime.GOARCH)
	}
	root := t.TempDir()
	t.Chdir(root)
	t.Setenv(EnvLib, "")
	t.Setenv("XDG_DATA_HOME", filepath.Join(root, "share"))
	if _, err := Find(); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "make engine") || !strings.Contains(err.Error(), EnvLib) {
		t.Errorf("nothing there: %v", err)
	}
	put := func(path ...string) string {
		p := filepath.Join(append([]string{root}, path...)...)
		must(t, os.MkdirAll(filepath.Dir(p), 0o755))
		must(t, os.WriteFile(p, nil, 0o644))
		return p
	}
	expect := func(want string) {
		t.Helper()
		got, err := Find()
		if real, _ := filepath.EvalSymlinks(got); err != nil || real != evalled(t, want) {
			t.Errorf("found %q (%v), want %q", got, err, want)
		}
	}
	expect(put("share", "sluice", "engine", "libchdb.so"))
	expect(put(".engine", "libchdb.so"))
	expect(put(".engine", "node_modules", filepath.FromSlash(pkg), "libchdb.so"))
	named := put("elsewhere.so")
	t.Setenv(EnvLib, named)
	expect(named)
	t.Setenv(EnvLib, filepath.Join(root, "nope.so"))
	if _, err := Find(); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "nope.so") {
		t.Errorf("a variable that leads nowhere: %v", err)
	}
}

func evalled(t testing.TB, path string) string {
	t.Helper()
	real, err := filepath.EvalSymlinks(path)
	must(t, err)
	return real
}

// The version in the code and in package.json are one.
func TestVersionsAgree(t *testing.T) {
	body, err := os.ReadFile("package.json")
	must(t, err)
	if got := strings.Count(string(body), `-gnu": "`+Version+`"`) + strings.Count(string(body), `4": "`+Version+`"`); got != 4 {
		t.Errorf("package.json names version %s %d times, want 4", Version, got)
	}
	for _, system := range [][2]string{{"linux", "amd64"}, {"linux", "arm64"}, {"darwin", "amd64"}, {"darwin", "arm64"}} {
		if pkg := Package(system[0], system[1]); !strings.Contains(string(body), `"`+pkg+`"`) {
			t.Errorf("package.json lacks %q", pkg)
		}
	}
}
