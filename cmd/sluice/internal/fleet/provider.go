package fleet

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/sluicehq/sluice/workers/simulated"
)

// Manners are how a simulated provider behaves.
type Manners struct {
	TTFT       time.Duration     `json:"ttft"`
	Rate       float64           `json:"rate"` // tokens per second after that
	ErrorShare float64           `json:"error_share"`
	Faults     []simulated.Fault `json:"faults"`
	Dead       bool              `json:"dead"` // takes no connections, and breaks those there are
}

// Provider is one simulated provider of the provider process.
type Provider struct {
	Name    string                `json:"name"`
	Seed    uint64                `json:"seed"`
	Prices  map[string]wire.Price `json:"prices"`
	Books   string                `json:"books,omitempty"` // file of its journal; empty: none
	RPM     int64                 `json:"rpm,omitempty"`   // requests in any 60 seconds before it answers 429; 0: any number
	Manners Manners               `json:"manners"`
}

// Count is what a provider has seen.
type Count struct {
	Addr    string        `json:"addr"`
	Calls   int64         `json:"calls"`
	Running int64         `json:"running"`
	Max     int64         `json:"max"`     // most at any one time
	Busy    time.Duration `json:"busy"`    // calls under way, added up over time
	Refused int64         `json:"refused"` // calls beyond RPM
}

// order is one line of the provider process's input: the first has Start.
type order struct {
	Start []Provider `json:"start,omitempty"`
	Name  string     `json:"name,omitempty"` // whose manners change
	To    *Manners   `json:"to,omitempty"`
	Count bool       `json:"count,omitempty"` // answer with counts, by name
}

// ServeProviders is the body of the provider process. It reads orders, one
// JSON object a line, and answers each with one line, until in ends.
func ServeProviders(in io.Reader, out io.Writer) error {
	dec, enc := json.NewDecoder(in), json.NewEncoder(out)
	served := map[string]*served{}
	defer func() {
		for _, s := range served {
			s.close()
		}
	}()
	for {
		var o order
		switch err := dec.Decode(&o); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("provider: read an order: %w: this command is started by others, not by hand", err)
		}
		for _, p := range o.Start {
			s, err := serveProvider(p)
			if err != nil {
				return err
			}
			served[p.Name] = s
		}
		if o.To != nil && served[o.Name] != nil {
			if err := served[o.Name].behave(*o.To); err != nil {
				return err
			}
		}
		counts := map[string]Count{}
		for name, s := range served {
			counts[name] = s.counts()
		}
		if err := enc.Encode(counts); err != nil {
			return err
		}
	}
}

// served is a provider that listens.
type served struct {
	spec  Provider
	addr  string
	books *simulated.Books
	begun sync.WaitGroup

	mu    sync.Mutex
	srv   *http.Server // nil: dead
	sim   *simulated.Provider
	count Count
	since time.Time   // when count.Running last changed
	taken []time.Time // the last RPM calls that were let in, a ring
	next  int
}

func serveProvider(p Provider) (*served, error) {
	s := &served{spec: p, addr: "127.0.0.1:0", since: time.Now()}
	if p.Books != "" {
		var err error
		if s.books, err = simulated.OpenBooks(p.Books); err != nil {
			return nil, err
		}
	}
	return s, s.behave(p.Manners)
}

// behave changes the provider's manners. Calls under way keep the old ones,
// unless it dies.
func (s *served) behave(m Manners) error {
	sim, err := simulated.New(simulated.Config{Seed: s.spec.Seed, TimeToFirstToken: m.TTFT, TokensPerSecond: m.Rate, ErrorShare: m.ErrorShare,
		Faults: m.Faults, Fill: true, CacheShare: 0.25, Prices: s.spec.Prices, Books: s.books})
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.sim = sim
	srv := s.srv
	s.mu.Unlock()
	if m.Dead {
		s.close()
		return nil
	}
	if srv != nil {
		return nil
	}
	ln, err := net.Listen("tcp", s.addr)
	if err != nil {
		return err
	}
	srv = &http.Server{Handler: s, ReadHeaderTimeout: time.Minute}
	s.mu.Lock()
	s.srv, s.addr = srv, ln.Addr().String()
	s.mu.Unlock()
	s.begun.Go(func() { _ = srv.Serve(ln) }) // ends with close
	return nil
}

// close ends the listener and breaks every connection.
func (s *served) close() {
	s.mu.Lock()
	srv := s.srv
	s.srv = nil
	s.mu.Unlock()
	if srv != nil {
		_ = srv.Close() // calls under way see it
		s.begun.Wait()
	}
}

func (s *served) counts() Count {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.turn(0)
	c := s.count
	c.Addr = s.addr
	return c
}

// turn changes how many calls run.
func (s *served) turn(by int64) {
	now := time.Now()
	s.count.Busy += time.Duration(s.count.Running) * now.Sub(s.since)
	s.since = now
	s.count.Running += by
	s.count.Max = max(s.count.Max, s.count.Running)
}

// enter counts a call; nil: it is one too many in this minute.
func (s *served) enter() *simulated.Provider {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count.Calls++
	if n := int(s.spec.RPM); n > 0 {
		now := time.Now()
		if s.taken == nil {
			s.taken = make([]time.Time, n)
		}
		if now.Sub(s.taken[s.next]) < time.Minute { // n calls ago
			s.count.Refused++
			return nil
		}
		s.taken[s.next], s.next = now, (s.next+1)%n
	}
	s.turn(1)
	return s.sim
}

func (s *served) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.turn(-1)
}

// ServeHTTP implements http.Handler. A call counts as over just before its
// last byte is sent: the client must not be able to begin another one while
// this one still counts.
func (s *served) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	sim := s.enter()
	if sim == nil {
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusTooManyRequests)
		_, _ = io.WriteString(w, `{"error":{"message":"Rate limit reached.","type":"requests","code":"rate_limit_exceeded"}}`) // or the client is gone
		return
	}
	leave := sync.OnceFunc(s.leave)
	defer leave()
	resp, err := sim.RoundTrip(req)
	if err != nil {
		panic(http.ErrAbortHandler) // the client is gone
	}
	defer func() { _ = resp.Body.Close() }() // books the call, if it was cut
	for k, v := range resp.Header {
		w.Header()[k] = v
	}
	left := resp.ContentLength
	if left >= 0 {
		w.Header().Set("Content-Length", strconv.FormatInt(left, 10))
	}
	w.WriteHeader(resp.StatusCode)
	flush := http.NewResponseController(w)
	_ = flush.Flush() // a client that is gone is seen at the write
	buf := make([]byte, 4096)
	for {
		n, err := resp.Body.Read(buf)
		if n > 0 {
			left -= int64(n)
			if left == 0 || bytes.HasSuffix(buf[:n], []byte("data: [DONE]\n\n")) {
				leave()
			}
			if _, werr := w.Write(buf[:n]); werr != nil {
				return
			}
			_ = flush.Flush() // as above
		}
		switch {
		case errors.Is(err, io.EOF):
			return
		case err != nil:
			panic(http.ErrAbortHandler) // a dropped answer
		}
	}
}

// providers is the provider process as its parent sees it.
type providers struct {
	proc *Process
	mu   sync.Mutex
	dec  *json.Decoder
	enc  *json.Encoder
}

// ask sends an order and reads the counts.
func (p *providers) ask(o order) (map[string]Count, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.enc.Encode(o); err != nil {
		return nil, fmt.Errorf("providers: %w", err)
	}
	var counts map[string]Count
	if err := p.dec.Decode(&counts); err != nil {
		return nil, fmt.Errorf("providers: %w", err)
	}
	return counts, nil
}

// counts is what the providers have seen.
func (p *providers) counts() (map[string]Count, error) { return p.ask(order{Count: true}) }

// behave changes a provider's manners.
func (p *providers) behave(name string, m Manners) error {
	_, err := p.ask(order{Name: name, To: &m})
	return err
}

// startProviders runs the provider process.
func (g *group) startProviders(ctx context.Context, sluice []string, list []Provider) (*providers, map[string]Count, error) {
	p := g.add("providers", "providers", append(sluice[:len(sluice):len(sluice)], "provider"))
	p.wantOut = true
	if err := p.start(); err != nil {
		return nil, nil, err
	}
	out := &providers{proc: p, dec: json.NewDecoder(p.stdout), enc: json.NewEncoder(p.stdin)}
	stop := context.AfterFunc(ctx, func() { _ = p.cmd.Process.Kill() })
	counts, err := out.ask(order{Start: list})
	stop()
	return out, counts, err
}
