package house

import (
	"go/ast"
	"slices"
	"strings"
	"testing"
)

// standard reports whether an import path is the standard library's.
func standard(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return !strings.Contains(first, ".")
}

// under reports whether a path inside the module is in or below a folder.
func under(rel string, dirs ...string) bool {
	for _, d := range dirs {
		if rel == d || strings.HasPrefix(rel, d+"/") {
			return true
		}
	}
	return false
}

// ours gives the path inside the module of an import of ours.
func ours(path string) (string, bool) { return strings.CutPrefix(path, module) }

// everyImport yields each import of each package; test says whether only its
// tests have it.
func everyImport(t *testing.T, f func(p *pkg, path string, test bool)) {
	t.Helper()
	for _, p := range allPackages(t) {
		for _, path := range p.Imports {
			f(&p, path, false)
		}
		for _, path := range append(slices.Clone(p.TestImports), p.XTestImports...) {
			f(&p, path, true)
		}
	}
}

// R1: the contract needs nothing, and the router only the contract; their
// tests neither.
func TestTheCoreIsPure(t *testing.T) {
	everyImport(t, func(p *pkg, path string, _ bool) {
		if standard(path) {
			return
		}
		rel, own := ours(path)
		switch {
		case under(p.rel(), "sdk/wire") && !(own && under(rel, "sdk/wire")):
			t.Errorf("%s imports %s: the contract needs the standard library only", p.rel(), path)
		case under(p.rel(), "router") && !(own && under(rel, "sdk/wire", "router")):
			t.Errorf("%s imports %s: the router needs sdk/wire only", p.rel(), path)
		}
	})
}

// R1: the router does no I/O, reads no clock, starts nothing, locks nothing.
// Nor does what plays it on a clock of its own (broker/whatif), which is in
// broker for the steering and the observation that it plays with.
func TestTheRouterDecidesOnValues(t *testing.T) {
	clock := []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"}
	banned := []string{"os", "net", "net/http", "io/fs", "sync", "context", "math/rand", "log", "log/slog"}
	seeded := []string{"New", "NewPCG", "NewChaCha8", "NewZipf", "Rand", "Source", "PCG", "ChaCha8"}
	seen := 0
	for _, s := range code(t) {
		if !s.in("router", "broker/whatif") {
			continue
		}
		seen++
		for _, imp := range s.file.Imports {
			if path := strings.Trim(imp.Path.Value, `"`); slices.Contains(banned, path) {
				t.Errorf("%s imports %s", s.path, path)
			}
		}
		s.selectors("time", func(sel *ast.SelectorExpr) {
			if slices.Contains(clock, sel.Sel.Name) {
				t.Errorf("%s: time.%s: take the time as an argument", s.at(sel), sel.Sel.Name)
			}
		})
		s.selectors("math/rand/v2", func(sel *ast.SelectorExpr) {
			if !slices.Contains(seeded, sel.Sel.Name) {
				t.Errorf("%s: rand.%s: take the source as an argument", s.at(sel), sel.Sel.Name)
			}
		})
		ast.Inspect(s.file, func(n ast.Node) bool {
			if g, ok := n.(*ast.GoStmt); ok {
				t.Errorf("%s: a goroutine", s.at(g))
			}
			return true
		})
	}
	if seen == 0 {
		t.Error("there is no router")
	}
}

// R2: what talks over streams does not talk over imports. Tests of one may
// not use another either: what spans them is in integration.
func TestPartsDoNotImportEachOther(t *testing.T) {
	parts := []string{"broker", "workers", "analytics"}
	everyImport(t, func(p *pkg, path string, _ bool) {
		from, _, _ := strings.Cut(p.rel(), "/")
		rel, own := ours(path)
		to, _, _ := strings.Cut(rel, "/")
		if !own || from == to {
			return
		}
		switch {
		case slices.Contains(parts, from) && slices.Contains(parts, to):
			t.Errorf("%s imports %s: %s and %s meet in streams only", p.rel(), path, from, to)
		case from == "workers" && to == "router", from == "analytics" && to == "router", from == "sdk" && to != "sdk":
			t.Errorf("%s imports %s", p.rel(), path)
		case to == "cmd" || to == "integration":
			t.Errorf("%s imports %s: nothing imports commands and their tests", p.rel(), path)
		}
	})
}

// homes says where each library that is behind one package may be imported,
// outside of tests.
var homes = []struct {
	library string
	except  string // a part of the library with another home
	home    []string
	tests   bool // the same for tests
}{
	{library: "github.com/nats-io/nats-server/v2", home: []string{"broker/natsd"}},
	{library: "github.com/ClickHouse/clickhouse-go/v2", except: "github.com/ClickHouse/clickhouse-go/v2/lib/proto", home: []string{"analytics/store"}},
	{library: "github.com/ClickHouse/clickhouse-go/v2/lib/proto", home: []string{"analytics/engine", "analytics/store"}},
	{library: "github.com/ClickHouse/ch-go", home: []string{"analytics/engine", "analytics/store"}},
	{library: "github.com/ebitengine/purego", home: []string{"analytics/engine"}, tests: true},
	{library: "github.com/spf13/cobra", home: []string{"cmd/sluice"}, tests: true},
	{library: "go.yaml.in/yaml/v3", home: []string{"cmd/sluice/internal/config", "cmd/sluice/internal/cli"}},
	{library: "github.com/prometheus/client_golang", home: []string{"broker/gateway", "cmd/sluice/internal/app"}},
	{library: "go.opentelemetry.io", home: []string{"internal/tracing"}},
	// Outbound HTTP is the worker engine's. The others serve (gateway, the
	// engine's front, the fleet's providers), or name the RoundTripper interface
	// (simulated, app). The command line's own client of the gateway is web, and
	// bench is an upstream and the load on gateways; tracing exports spans.
	{library: "net/http", home: []string{"workers/engine", "workers/simulated", "workers/adapter", "broker/gateway", "broker/webhook", "analytics/engine", "analytics/store/storetest", "cmd/sluice/internal/app", "cmd/sluice/internal/fleet", "cmd/sluice/internal/web", "cmd/sluice/internal/bench", "internal/tracing"}},
}

// R3: one place for each library.
func TestLibrariesHaveOneHome(t *testing.T) {
	everyImport(t, func(p *pkg, path string, test bool) {
		for _, h := range homes {
			in := path == h.library || strings.HasPrefix(path, h.library+"/")
			if in && h.except != "" && strings.HasPrefix(path, h.except) || h.library == "net/http" && path != h.library {
				continue
			}
			if in && (!test || h.tests) && !under(p.rel(), h.home...) {
				t.Errorf("%s imports %s, which belongs to %s", p.rel(), path, strings.Join(h.home, ", "))
			}
		}
	})
}

// R3: only the worker engine calls out to providers; the command line to a
// gateway, since files are too large for messages; and package webhook to where
// jobs say: that one looks at every address it dials.
func TestOutboundHTTPIsTheWorkerEngines(t *testing.T) {
	client := []string{"Client", "DefaultClient", "Transport", "DefaultTransport", "Get", "Post", "PostForm", "Head", "NewRequest", "NewRequestWithContext"}
	found := false
	for _, s := range code(t) {
		s.selectors("net/http", func(sel *ast.SelectorExpr) {
			switch {
			case !slices.Contains(client, sel.Sel.Name):
			case s.in("broker/webhook"):
			case s.in("workers/engine"):
				found = true
			case s.in("cmd/sluice/internal/web"):
			case s.in("analytics/store/storetest"): // its native front hands on to the engine; only tests import it
			case s.in("internal/tracing"): // to a collector that the environment names
			case s.in("cmd/sluice/internal/bench"): // puts load on gateways of this machine
			case s.in("cmd/sluice/internal/fleet"): // asks its own gateway what the page asks
			default:
				t.Errorf("%s: http.%s outside of workers/engine", s.at(sel), sel.Sel.Name)
			}
		})
	}
	if !found {
		t.Error("the worker engine does not call anybody: is this test looking at the right package?")
	}
}

// R4: what a program links when it imports the SDK.
func TestTheSDKIsLight(t *testing.T) {
	heavy := []string{"github.com/nats-io/nats-server", "github.com/ClickHouse/", "github.com/spf13/", "github.com/ebitengine/",
		"github.com/prometheus/", "go.yaml.in/", "google.golang.org/"}
	seen := false
	for _, p := range allPackages(t) {
		if !under(p.rel(), "sdk") {
			continue
		}
		seen = seen || p.rel() == "sdk" && slices.ContainsFunc(p.Deps, func(d string) bool { return strings.HasPrefix(d, "github.com/nats-io/nats.go") })
		for _, d := range p.Deps {
			if rel, own := ours(d); own && !under(rel, "sdk") {
				t.Errorf("%s pulls in %s", p.rel(), d)
			}
			for _, h := range heavy {
				if strings.HasPrefix(d, h) {
					t.Errorf("%s pulls in %s", p.rel(), d)
				}
			}
		}
	}
	if !seen {
		t.Error("the SDK does not use nats.go: is this test looking at the right package?")
	}
}
