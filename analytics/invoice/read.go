package invoice

import (
	"bytes"
	"fmt"
	"io"
	"os"
)

// most bytes of an export's file.
const most = 256 << 20

// ReadFiles reads exports and makes one of them.
func ReadFiles(paths []string) (*Export, error) {
	var parts []*Export
	for _, path := range paths {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		e, err := Read(f)
		_ = f.Close() // only read from
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		parts = append(parts, e)
	}
	return Merge(parts)
}

// Read reads one file, and finds out what it is:
//
//   - JSON pages of OpenAI's /v1/organization/costs and /v1/organization/usage/…,
//     one after another or in an array;
//   - JSON pages of Anthropic's /v1/organizations/cost_report and
//     /v1/organizations/usage_report/messages;
//   - CSV as OpenAI's usage page exports it: cost data and activity data;
//   - CSV as Anthropic's console exports it: cost and usage;
//   - plain CSV: the columns day (2006-01-02, UTC), any of model, provider and
//     pool, and any of input_tokens (uncached), cache_read_tokens,
//     cache_write_tokens, output_tokens, reasoning_tokens (if they are not in
//     output_tokens) and cost_usd. All rows of a column have a value.
func Read(r io.Reader) (*Export, error) {
	text, err := io.ReadAll(io.LimitReader(r, most+1))
	if err != nil {
		return nil, err
	}
	if len(text) > most {
		return nil, fmt.Errorf("the file has more than %d MiB", most>>20)
	}
	text = bytes.TrimSpace(bytes.TrimPrefix(text, []byte("\ufeff")))
	e := &Export{lines: map[Key]*Figures{}}
	switch {
	case len(text) == 0:
		return nil, fmt.Errorf("the file is empty")
	case text[0] == '{' || text[0] == '[':
		err = e.readJSON(text)
	default:
		err = e.readCSV(text)
	}
	if err != nil {
		return nil, err
	}
	e.settle()
	return e, nil
}
