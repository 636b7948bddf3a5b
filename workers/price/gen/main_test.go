package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluicehq/sluice/sdk/wire"
)

func TestPico(t *testing.T) {
	for in, want := range map[string]wire.Rate{
		"0": 0, "1.5e-05": 150_000, "6e-05": 600_000, "7.5e-06": 75_000, "2.8e-07": 2_800, "3.625e-07": 3_625,
		"5.999999999999999e-05": 600_000, "0.0003": 3_000_000, "1": 10_000_000_000, "-0.0001": 0,
		"8.3333333e-06": 83_333,
	} {
		if got, err := pico(in); got != want || err != nil {
			t.Errorf("%s cents: %d, %v; want %d", in, got, err, want)
		}
	}
	for _, in := range []string{"", "x", "1e9", "0x"} {
		if got, err := pico(in); err == nil {
			t.Errorf("%q cents: %d without an error", in, got)
		}
	}
}

// model is one entry of a source file.
func model(name, rates string) string {
	return `"` + name + `":{"pricing_config":{"pay_as_you_go":{` + rates + `}}}`
}

func price(name, cents string) string { return `"` + name + `":{"price":` + cents + `}` }

func TestConvert(t *testing.T) {
	in, out := price("request_token", "0.0001"), price("response_token", "0.0002")
	for _, c := range []struct{ name, source, want string }{
		{"plain", model("m", in+","+out), "p,m,1,,,2,"},
		{"cache and reasoning", model("m", in+","+out+","+price("cache_read_input_token", "0.00001")+","+
			price("cache_write_input_token", "0.000125")+","+price("reasoning_token", "0.0003")), "p,m,1,0.1,1.25,2,3"},
		{"zero is missing", model("m", in+","+out+","+price("cache_read_input_token", "0")), "p,m,1,,,2,"},
		{"same is left out", model("m", in+","+out+","+price("reasoning_token", "0.0002")), "p,m,1,,,2,"},
		{"swapped", model("m", in+","+out+","+price("cache_read_input_token", "0.000125")+","+
			price("cache_write_input_token", "0.00001")), "p,m,1,0.1,1.25,2,"},
		{"embedding", model("embed", in), "p,embed,1,,,0,"},
		{"no price", model("m", price("request_token", "0")+","+price("response_token", "0")), ""},
		{"output only", model("m", out), ""},
		{"null price", model("m", `"request_token":{"price":null}`), ""},
		{"default", model("default", in+","+out), ""},
		{"pictures", model("m", in+","+out+`,"image":{"standard":{}}`), ""},
		{"sound", model("m", in+","+out+","+price("response_audio_token", "0.1")), ""},
		{"paid by the minute", model("whisper-1", in), ""},
		{"prompt length", model("m-lte-128k", in+","+out) + "," + model("m-gt-128k", out+","+in), "p,m,1,,,2,"},
		{"prompt length twice", model("m-lte-200k", out+","+in) + "," + model("m-lte-128k", in+","+out), "p,m,1,,,2,"},
		{"with and without mark", model("m", price("request_token", "1")) + "," + model("m-lte-128k", in+","+out), "p,m,1,,,2,"},
	} {
		rows, err := convert("p", []byte("{"+c.source+"}"))
		if got := strings.Join(rows, "|"); got != c.want || err != nil {
			t.Errorf("%s: %q, %v; want %q", c.name, got, err, c.want)
		}
	}
	for name, source := range map[string]string{
		"no JSON":          `{`,
		"no number":        "{" + model("m", `"request_token":{"price":"cheap"}`) + "}",
		"no object":        "{" + model("m", `"request_token":5`) + "}",
		"another currency": `{"default":{"pricing_config":{"currency":"EUR"}}}`,
	} {
		if _, err := convert("p", []byte(source)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// TestTableIsGenerated makes the table again, where its source is at hand.
func TestTableIsGenerated(t *testing.T) {
	dir := filepath.Join("..", "..", "..", "..", "shared", "data", "prices")
	if _, err := os.Stat(dir); err != nil {
		t.Skip("the price facts are not beside the repository (../shared/data/prices): the table is taken as it is")
	}
	var got bytes.Buffer
	if err := generate(dir, &got); err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(filepath.Join("..", "prices.csv"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Error("prices.csv is not what the generator makes: run it again")
	}
}

func TestMissingFile(t *testing.T) {
	if err := generate(t.TempDir(), &bytes.Buffer{}); err == nil {
		t.Error("an empty folder gave a table")
	}
}
