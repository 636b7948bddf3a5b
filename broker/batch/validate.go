package batch

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"math"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
)

// maxFaults bounds the faults that a batch lists.
const maxFaults = 100

// maxLine is the most bytes of a line: a body and what stands around it.
const maxLine = wire.MaxBody + MaxCustomID*6 + 1024

// validator reads a batch's input once, before any of it runs.
type validator struct {
	m      *Manifest
	most   int64                   // lines
	routes func(model string) bool // nil: every model will do
	now    time.Time
	each   func(*wire.Meta) // gets the jobs of lines that are right; nil: nobody

	seed   maphash.Seed
	seen   map[uint64]struct{} // hashes of custom IDs: two that differ collide once in 10^7 batches of a million
	known  map[string]bool     // answers of routes
	model  string
	mixed  bool
	faults []Fault
	total  int64
}

// errEnough ends reading: the batch has failed anyhow.
var errEnough = errors.New("enough faults")

// validate reads the input and says what is wrong with it. lines and model are
// those of the manifest.
func (v *validator) validate(ctx context.Context, s *Store) (lines int64, model string, faults []Fault, err error) {
	f, err := s.File(ctx, v.m.Tenant, v.m.Input)
	if errors.Is(err, ErrNotFound) {
		return 0, "", []Fault{{Code: faultGone, Param: "input_file_id", Message: "The input file is not there any more."}}, nil
	}
	if err != nil {
		return 0, "", nil, err
	}
	if err := v.read(func(w io.Writer) error { return s.Copy(ctx, w, f) }); err != nil {
		return 0, "", nil, err
	}
	if v.mixed {
		v.model = ""
	}
	return v.total, v.model, v.faults, nil
}

// Inspect reads an input as the validation of a batch does, calls each with
// the job of every line that is right, and reports how many lines there are
// and the first 100 faults. routes may be nil: then every model will do.
func Inspect(r io.Reader, endpoint wire.Endpoint, routes func(model string) bool, each func(*wire.Meta)) (lines int64, faults []Fault, err error) {
	m := &Manifest{Spec: Spec{Tenant: "default", Endpoint: endpoint}, ID: "batch", ExpiresAt: time.Now().Add(time.Hour).Unix()}
	v := &validator{m: m, most: math.MaxInt64, routes: routes, now: time.Now(), each: each}
	err = v.read(func(w io.Writer) error {
		_, err := io.Copy(w, r)
		return err
	})
	return v.total, v.faults, err
}

// read checks what from writes.
func (v *validator) read(from func(io.Writer) error) error {
	v.seed, v.seen, v.known = maphash.MakeSeed(), map[uint64]struct{}{}, map[string]bool{}
	in := &splitter{each: v.line, most: maxLine}
	err := from(in)
	if err == nil {
		err = in.close()
	}
	if err != nil && !errors.Is(err, errEnough) {
		return err
	}
	if v.total == 0 && len(v.faults) == 0 {
		v.faults = []Fault{{Code: faultEmpty, Message: "The input file is empty. Please ensure that the batch contains at least one request."}}
	}
	return nil
}

// line checks one line.
func (v *validator) line(line []byte, n int64) error {
	v.total++
	f := v.fault(line, n)
	if v.total > v.most {
		f = &Fault{Code: faultMany, Message: fmt.Sprintf("The batch has more than the %d lines that one may have.", v.most)}
	}
	if f == nil {
		return nil
	}
	f.Line = n
	v.faults = append(v.faults, *f)
	if len(v.faults) == maxFaults || f.Code == faultMany {
		return errEnough
	}
	return nil
}

func (v *validator) fault(line []byte, n int64) *Fault {
	if len(line) > maxLine {
		return &Fault{Code: faultBody, Message: fmt.Sprintf("This line has more than the %d bytes that one may have.", maxLine)}
	}
	r, f := readLine(line, v.m.Endpoint)
	if f != nil {
		return f
	}
	h := maphash.String(v.seed, r.id)
	if _, twice := v.seen[h]; twice {
		return &Fault{Code: faultDuplicate, Param: "custom_id", Message: "The custom_id of this line is that of an earlier one: it must be unique in the batch."}
	}
	v.seen[h] = struct{}{}
	if v.m.API == Anthropic {
		return nil // a line that cannot run has an error of its own
	}
	meta, bad := v.m.check(&r, n, v.now)
	if bad != nil {
		return &Fault{Code: faultBody, Param: bad.Param, Message: bad.Message}
	}
	if v.total == 1 {
		v.model = meta.Route
	}
	v.mixed = v.mixed || v.model != meta.Route
	if v.routes != nil {
		ok, known := v.known[meta.Route]
		if !known {
			ok = v.routes(meta.Route)
			v.known[meta.Route] = ok
		}
		if !ok {
			return &Fault{Code: faultModel, Param: "model", Message: fmt.Sprintf("No route is called %.80q: see /v1/models.", meta.Route)}
		}
	}
	if v.each != nil {
		v.each(&meta)
	}
	return nil
}
