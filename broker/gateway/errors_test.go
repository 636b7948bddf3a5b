package gateway

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"testing"

	"github.com/sluicehq/sluice/sdk/wire"
)

// codesOf are the values of the Code constants in a Go file.
func codesOf(t *testing.T, file string) []wire.Code {
	t.Helper()
	tree, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var codes []wire.Code
	ast.Inspect(tree, func(n ast.Node) bool {
		v, ok := n.(*ast.ValueSpec)
		if !ok || len(v.Values) != 1 {
			return true
		}
		kind := ""
		switch x := v.Type.(type) {
		case *ast.Ident:
			kind = x.Name
		case *ast.SelectorExpr:
			kind = x.Sel.Name
		}
		if lit, ok := v.Values[0].(*ast.BasicLit); ok && kind == "Code" {
			s, err := strconv.Unquote(lit.Value)
			if err != nil {
				t.Fatal(err)
			}
			codes = append(codes, wire.Code(s))
		}
		return true
	})
	return codes
}

func TestEveryCodeIsInTheTable(t *testing.T) { // I7
	codes := append(codesOf(t, "../../sdk/wire/errors.go"), codesOf(t, "errors.go")...)
	if len(codes) < 40 {
		t.Fatalf("only %d codes found", len(codes))
	}
	for _, code := range codes {
		x, ok := refusals[code]
		if !ok {
			t.Errorf("code %s has no line in the table", code)
			continue
		}
		if x.status < 400 || x.status > 599 || x.kind == "" || x.code == "" {
			t.Errorf("code %s: %+v", code, x)
		}
		if (x.status == 429 || x.status == 503) != (x.after > 0) {
			t.Errorf("code %s: 429 and 503 carry Retry-After, nothing else does: %+v", code, x)
		}
		if x.status >= 500 != (x.kind == typeServer) {
			t.Errorf("code %s: type %s with status %d", code, x.kind, x.status)
		}
	}
	if len(refusals) != len(codes) {
		t.Errorf("%d lines for %d codes", len(refusals), len(codes))
	}
}

func TestUnknownCodeIsInternal(t *testing.T) {
	if x := refusalOf("brand_new", 0); x.status != 500 || x.code != "brand_new" {
		t.Errorf("%+v", x)
	}
}

func TestProviderStatusOnlyWhereItKnowsBetter(t *testing.T) {
	for provider, want := range map[int]int{0: 400, 400: 400, 401: 400, 404: 400, 409: 409, 413: 413, 415: 415, 422: 422, 500: 400} {
		if x := refusalOf(wire.CodeProviderRefused, provider); x.status != want {
			t.Errorf("provider's %d becomes %d, want %d", provider, x.status, want)
		}
	}
	if x := refusalOf(wire.CodeProviderError, 422); x.status != 502 {
		t.Errorf("%+v", x)
	}
}

func TestFaultOf(t *testing.T) {
	for _, c := range []struct {
		err  error
		want wire.Code
	}{
		{wire.Errorf(wire.CodeTooLarge, "", "x"), wire.CodeTooLarge},
		{fmt.Errorf("around: %w", errStopping), wire.CodeUnavailable},
		{context.Canceled, wire.CodeCancelled},
		{fmt.Errorf("around: %w", context.DeadlineExceeded), wire.CodeUnavailable},
		{errors.New("the prompt was: hi"), wire.CodeInternal},
		{nil, wire.CodeInternal},
	} {
		f := faultOf(c.err)
		if f.Code != c.want || c.want == wire.CodeInternal && f.Message != "the request could not be carried out" {
			t.Errorf("%v: %v", c.err, f)
		}
	}
}
