package mutate

import (
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var mutate = flag.Bool("mutate", false, "remove each guard and run the tests that must notice (minutes)")

const root = "../.."

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Each guard is in the code exactly once, each test that notices exists, and
// docs/reliability.md says so.
func TestGuardsStand(t *testing.T) {
	docs := read(t, "docs/reliability.md")
	tests := map[string]string{} // sources of a package's tests
	for _, g := range guards {
		if n := strings.Count(read(t, g.file), g.old); n != 1 {
			t.Errorf("%s: its code is %d times in %s, want once; say in guards_test.go where it is now", g.name, n, g.file)
		}
		if tests[g.pkg] == "" {
			files, err := filepath.Glob(filepath.Join(root, g.pkg, "*_test.go"))
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range files {
				b, err := os.ReadFile(f)
				if err != nil {
					t.Fatal(err)
				}
				tests[g.pkg] += string(b)
			}
		}
		for name := range strings.SplitSeq(g.test, "|") {
			if !strings.Contains(tests[g.pkg], "func "+name+"(") {
				t.Errorf("%s: there is no test %s in %s", g.name, name, g.pkg)
			}
			if !strings.Contains(docs, "`"+name+"`") {
				t.Errorf("%s: docs/reliability.md does not name %s", g.name, name)
			}
		}
		if !strings.Contains(docs, "| "+g.name+" |") {
			t.Errorf("%s: not in the table of docs/reliability.md", g.name)
		}
	}
}

var failed = regexp.MustCompile(`(?m)^\s*--- FAIL: (\S+)|panic: test timed out`)

// TestMutants removes one guard after the other.
func TestMutants(t *testing.T) {
	if !*mutate {
		t.Skip("runs with -mutate only: make mutate")
	}
	for _, g := range guards {
		t.Run(strings.ReplaceAll(g.name, " ", "_"), func(t *testing.T) {
			file, err := filepath.Abs(filepath.Join(root, g.file))
			if err != nil {
				t.Fatal(err)
			}
			changed := filepath.Join(t.TempDir(), "mutant.go")
			if err := os.WriteFile(changed, []byte(strings.Replace(read(t, g.file), g.old, g.new, 1)), 0o600); err != nil {
				t.Fatal(err)
			}
			overlay, err := json.Marshal(map[string]map[string]string{"Replace": {file: changed}})
			if err != nil {
				t.Fatal(err)
			}
			list := changed + ".json"
			if err := os.WriteFile(list, overlay, 0o600); err != nil {
				t.Fatal(err)
			}
			if out, err := run(t, g); err != nil {
				t.Fatalf("%s fails with the guard in place:\n%s", g.test, tail(out))
			}
			out, err := run(t, g, "-overlay", list)
			names := failed.FindAllStringSubmatch(out, -1)
			switch {
			case err == nil:
				t.Errorf("NOT NOTICED: %s passes without it", g.test)
			case len(names) == 0:
				t.Errorf("the mutant does not build:\n%s", tail(out))
			default:
				t.Logf("noticed by %s", names[len(names)-1][1])
			}
		})
	}
}

// run runs the guard's tests.
func run(t *testing.T, g guard, args ...string) (string, error) {
	t.Helper()
	args = append([]string{"test", "-timeout", "4m", "-run", "^(" + g.test + ")$"}, args...)
	cmd := exec.CommandContext(t.Context(), "go", append(args, g.pkg)...)
	cmd.Dir = root
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func tail(out string) string { return out[max(0, len(out)-3000):] }
