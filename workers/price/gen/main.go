package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sluicehq/sluice/sdk/wire"
)

// providers names the provider that each file is about.
var providers = map[string]string{
	"anthropic": "anthropic", "azure-openai": "azure", "bedrock": "bedrock", "cohere": "cohere",
	"deepseek": "deepseek", "fireworks-ai": "fireworks", "google": "google", "groq": "groq",
	"mistral-ai": "mistral", "openai": "openai", "openrouter": "openrouter",
	"together-ai": "together", "x-ai": "xai",
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: gen DIR   (DIR holds the price files, one JSON file per provider)")
		os.Exit(2)
	}
	if err := generate(os.Args[1], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

// generate writes the table made from every known file in dir.
func generate(dir string, out io.Writer) error {
	var rows []string
	for file, provider := range providers {
		data, err := os.ReadFile(filepath.Join(dir, file+".json"))
		if err != nil {
			return err
		}
		r, err := convert(provider, data)
		if err != nil {
			return fmt.Errorf("%s.json: %w", file, err)
		}
		rows = append(rows, r...)
	}
	slices.Sort(rows)
	w := bufio.NewWriter(out)
	fmt.Fprintln(w, "provider,model,input,cache_read,cache_write,output,reasoning")
	for _, r := range rows {
		fmt.Fprintln(w, r)
	}
	return w.Flush()
}

type entry struct {
	Config struct {
		Currency string                     `json:"currency"`
		Rates    map[string]json.RawMessage `json:"pay_as_you_go"`
	} `json:"pricing_config"`
}

// rate is a price in pico-dollars per token; 0 where the source has none.
func (e entry) rate(name string) (wire.Rate, error) {
	raw := e.Config.Rates[name]
	if raw == nil {
		return 0, nil
	}
	var p struct {
		Price json.Number `json:"price"`
	}
	if err := json.Unmarshal(raw, &p); err != nil {
		return 0, fmt.Errorf("%s: %w", name, err)
	}
	if p.Price == "" {
		return 0, nil
	}
	return pico(p.Price.String())
}

// pico turns cents, in decimal, into the nearest whole number of pico-dollars.
func pico(cents string) (wire.Rate, error) {
	r, ok := new(big.Rat).SetString(cents)
	if !ok {
		return 0, fmt.Errorf("%.40q is no number", cents)
	}
	if r.Sign() < 0 { // "depends on what it is routed to"
		return 0, nil
	}
	r.Mul(r, new(big.Rat).SetInt64(10_000_000_000))
	r.Add(r, big.NewRat(1, 2))
	n := new(big.Int).Quo(r.Num(), r.Denom())
	if !n.IsInt64() || n.Int64() > 1e12 {
		return 0, fmt.Errorf("%.40q cents a token is beyond belief", cents)
	}
	return wire.Rate(n.Int64()), nil
}

// convert is a provider's rows.
func convert(provider string, data []byte) ([]string, error) {
	var models map[string]entry
	if err := json.Unmarshal(data, &models); err != nil {
		return nil, err
	}
	if c := models["default"].Config.Currency; c != "" && c != "USD" {
		return nil, fmt.Errorf("the prices are in %s, not in USD", c)
	}
	found := make(map[string]string) // row by model
	names := slices.SortedFunc(maps.Keys(models), markedFirst)
	for _, listed := range names {
		name, ok := ordinary(listed)
		if !ok || found[name] != "" {
			continue
		}
		row, err := models[listed].row()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", listed, err)
		}
		if row != "" {
			found[name] = row
		}
	}
	var rows []string
	for name, row := range found {
		if better := corrections[provider+","+name]; better != "" {
			row = better
		}
		rows = append(rows, provider+","+name+","+row)
	}
	return rows, nil
}

// corrections are rows that the source has wrong, by the providers' own pages.
var corrections = map[string]string{
	"openai,gpt-4.1-nano":            "0.1,0.025,,0.4,", // cached input: the source rounds to 0.03
	"openai,gpt-4.1-nano-2025-04-14": "0.1,0.025,,0.4,",
}

// markedFirst orders the names of a file: those with the mark of a prompt length
// first, since where a model is listed with and without, the former say more.
func markedFirst(a, b string) int {
	if x, y := strings.Contains(a, "-lte-"), strings.Contains(b, "-lte-"); x != y {
		if x {
			return -1
		}
		return 1
	}
	return strings.Compare(a, b)
}

// ordinary takes the mark of a prompt length off a model's name; ok is false
// for the price of long prompts, and for what does not answer in text.
func ordinary(name string) (string, bool) {
	if name == "default" || strings.ContainsAny(name, ",\"\n") || strings.Contains(name, "-gt-") {
		return "", false
	}
	for _, word := range strings.FieldsFunc(name, func(c rune) bool { return strings.ContainsRune("-_/.:", c) }) {
		if otherThings[word] {
			return "", false
		}
	}
	if i := strings.LastIndex(name, "-lte-"); i > 0 {
		name = name[:i]
	}
	return name, true
}

// otherThings are words in the names of models that are not paid by the token of
// text, though the source gives them a price in that place.
var otherThings = map[string]bool{
	"tts": true, "whisper": true, "transcribe": true, "audio": true, "realtime": true, "ocr": true,
	"image": true, "dall": true, "sora": true, "rerank": true, "moderation": true, "moderations": true,
}

// row is the part of a line after the model; "" if the model is not priced.
func (e entry) row() (string, error) {
	for _, other := range [...]string{"response_audio_token", "response_image_token"} {
		r, err := e.rate(other)
		if r != 0 || err != nil {
			return "", err
		}
	}
	if e.Config.Rates["image"] != nil {
		return "", nil
	}
	var rates [5]wire.Rate
	for i, name := range [...]string{"request_token", "cache_read_input_token", "cache_write_input_token", "response_token", "reasoning_token"} {
		r, err := e.rate(name)
		if err != nil {
			return "", err
		}
		rates[i] = r
	}
	if rates[0] == 0 {
		return "", nil
	}
	if rates[1] > rates[0] { // reading from a cache is never dearer: the source has the two swapped
		rates[1], rates[2] = rates[2], rates[1]
	}
	return rates[0].String() + "," + unless(rates[1], rates[0]) + "," + unless(rates[2], rates[0]) + "," +
		rates[3].String() + "," + unless(rates[4], rates[3]), nil
}

// unless is r in decimal, or nothing where r is missing or the usual.
func unless(r, usual wire.Rate) string {
	if r == 0 || r == usual {
		return ""
	}
	return r.String()
}
