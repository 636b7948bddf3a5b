package simulated

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"os"
	"strconv"
	"sync"

	"github.com/sluicehq/sluice/sdk/wire"
)

// Line is what the books say of one call.
type Line struct {
	Key        string `json:"key"` // the call's Idempotency-Key
	Model      string `json:"model"`
	Input      int64  `json:"input"` // uncached
	CacheRead  int64  `json:"cache_read"`
	CacheWrite int64  `json:"cache_write"`
	Output     int64  `json:"output"` // without reasoning
	Reasoning  int64  `json:"reasoning"`
	Cost       *int64 `json:"cost_nano_usd"` // nil: the model has no price
	Outcome    string `json:"outcome"`       // ok, cut, dropped, garbled or refused
	HTTP       int    `json:"http"`          // the status answered, 0: none
	Stream     bool   `json:"stream"`
	Batch      bool   `json:"batch,omitempty"` // a line of a batch, at half the price: Key is its custom_id
}

// Books is an append-only journal of calls. It is safe for use from many
// goroutines, and by several processes at once.
type Books struct {
	mu   sync.Mutex
	file *os.File
	err  error // the first failed write
}

// OpenBooks opens the journal at path, making it if it is not there. A line
// that a killed process left torn is closed off.
func OpenBooks(path string) (*Books, error) {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the simulated provider's books: %w", err)
	}
	if size, err := f.Seek(0, io.SeekEnd); err == nil && size > 0 {
		last := make([]byte, 1)
		if _, err := f.ReadAt(last, size-1); err == nil && last[0] != '\n' {
			_, _ = f.Write([]byte{'\n'}) // if this fails, so will the next write, which says so
		}
	}
	return &Books{file: f}, nil
}

// Close closes the journal and returns the first error of any write to it.
func (b *Books) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.file.Close(); b.err == nil {
		b.err = err
	}
	return b.err
}

// append writes one line with a single write, which the kernel keeps when the
// process is killed (I2).
func (b *Books) append(line []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, err := b.file.Write(line); err != nil && b.err == nil {
		b.err = fmt.Errorf("write to the simulated provider's books: %w", err)
	}
}

// ReadBooks reads every line of the journal at path, and skips lines that a
// kill has torn; torn says how many.
func ReadBooks(path string) (lines []Line, torn int, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, 0, fmt.Errorf("read the simulated provider's books: %w", err)
	}
	for raw := range bytes.Lines(data) {
		var l Line
		switch {
		case len(bytes.TrimSpace(raw)) == 0:
		case json.Unmarshal(raw, &l) != nil:
			torn++
		default:
			lines = append(lines, l)
		}
	}
	return lines, torn, nil
}

// Total is the sum of all known costs, exactly.
func Total(lines []Line) *big.Int {
	sum := new(big.Int)
	for _, l := range lines {
		if l.Cost != nil {
			sum.Add(sum, big.NewInt(*l.Cost))
		}
	}
	return sum
}

// spend notes the tokens of a call that made so many of its output tokens.
func (c *call) spend(made int64) {
	l := &c.line
	l.CacheRead, l.Input = c.cached, c.input-c.cached
	l.Reasoning = min(c.reasoning, made)
	l.Output = made - l.Reasoning
}

// write puts the call's line into the books, once (I3).
func (c *call) write(outcome string, status int) {
	if c.done {
		return
	}
	c.done = true
	b := c.p.cfg.Books
	if b == nil || c.kind == models {
		return
	}
	l := &c.line
	l.Outcome, l.HTTP = outcome, status
	out := appendJSON(append(make([]byte, 0, 320), `{"key":`...), l.Key)
	out = appendJSON(append(out, `,"model":`...), l.Model)
	for _, f := range [...]struct {
		key string
		n   int64
	}{
		{`,"input":`, l.Input}, {`,"cache_read":`, l.CacheRead}, {`,"cache_write":`, l.CacheWrite},
		{`,"output":`, l.Output}, {`,"reasoning":`, l.Reasoning},
	} {
		out = appendNumber(append(out, f.key...), f.n)
	}
	out = append(append(out, `,"cost_nano_usd":`...), c.cost()...)
	out = append(append(append(out, `,"outcome":"`...), outcome...), `","http":`...)
	out = appendNumber(out, int64(status))
	out = strconv.AppendBool(append(out, `,"stream":`...), l.Stream)
	if l.Batch {
		out = append(out, `,"batch":true`...)
	}
	b.append(append(out, "}\n"...))
}

func appendNumber(out []byte, n int64) []byte { return strconv.AppendInt(out, n, 10) }

// cost is the line's cost in nano-dollars, in decimal: the sum over the
// buckets in pico-dollars, halved for a line of a batch, rounded up once. It is
// null without a price (I4).
func (c *call) cost() string {
	price, ok := c.p.cfg.Prices[c.line.Model]
	if !ok {
		if price, ok = c.p.cfg.Prices[""]; !ok {
			return "null"
		}
	}
	l := &c.line
	var sum, part, rate big.Int
	for _, b := range [...]struct {
		n int64
		r wire.Rate
	}{{l.Input, price.Input}, {l.CacheRead, price.CacheRead}, {l.CacheWrite, price.CacheWrite}, {l.Output, price.Output}, {l.Reasoning, price.Reasoning}} {
		if b.n > 0 {
			sum.Add(&sum, part.Mul(part.SetInt64(b.n), rate.SetInt64(int64(b.r))))
		}
	}
	rest, nano := new(big.Int), int64(1000)
	if l.Batch {
		nano *= 2
	}
	sum.QuoRem(&sum, rate.SetInt64(nano), rest)
	if rest.Sign() > 0 {
		sum.Add(&sum, part.SetInt64(1))
	}
	return sum.String()
}
