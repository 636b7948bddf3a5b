package capture

import (
	"bytes"
	"cmp"
	"compress/flate"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"github.com/sluicehq/sluice/router"
	"github.com/sluicehq/sluice/sdk/wire"
)

// ErrLost says that the period of a decision is not there, or not up to it.
var ErrLost = errors.New("what the decision saw is not kept any more, or was lost with its router")

// Mark is where what a decision saw is to be found.
type Mark struct {
	Run, Period string
	N           uint64 // decision of the period
}

// ParseMark reads a mark that Note returned.
func ParseMark(s string) (Mark, error) {
	parts := strings.Split(s, ".")
	if len(parts) != 3 || !wire.ValidName(parts[0]) || !wire.ValidName(parts[1]) {
		return Mark{}, fmt.Errorf("%.40q is not a mark of a decision", s)
	}
	n, err := strconv.ParseUint(parts[2], 10, 64)
	if err != nil {
		return Mark{}, fmt.Errorf("%.40q is not a mark of a decision", s)
	}
	return Mark{parts[0], parts[1], n}, nil
}

// Reader reads a period, block by block.
type Reader struct {
	want   uint64 // decision that is looked for
	decs   uint64 // that were read
	now    int64
	loads  map[int]*loadValues
	stats  map[int]*statsValues
	routes []*readRoute
	found  *router.Capture
	other  differences // of what was found
}

// differences are what a decision saw of its job other than the record has it.
type differences struct {
	maxTokens *int64
	class     wire.Class
}

type readRoute struct {
	definition
	sequence uint64
	offsets  []int
}

// NewReader makes a Reader that looks for decision n of a period.
func NewReader(n uint64) *Reader {
	return &Reader{want: n, loads: map[int]*loadValues{}, stats: map[int]*statsValues{}}
}

// Block reads the next block of the period. It reports whether no more are
// needed. One that was read before is passed over, and so is one that stands
// before another that belongs ahead of it: it comes again (I3).
func (r *Reader) Block(data []byte) (done bool, err error) {
	if r.found != nil {
		return true, nil
	}
	if len(data) == 0 || data[0] != format {
		return true, errGarbled
	}
	in := &input{b: data[1:]}
	if in.uint() != r.decs {
		return false, nil
	}
	for len(in.b) > 0 && r.found == nil {
		r.entry(in)
	}
	if in.bad {
		return true, errGarbled
	}
	return r.found != nil, nil
}

// Capture is what the decision saw, of a job with this record.
func (r *Reader) Capture(job *wire.Meta, progress *wire.Progress) (*router.Capture, error) {
	if r.found == nil {
		return nil, ErrLost
	}
	c := *r.found
	meta, done := *job, *progress
	if r.other.maxTokens != nil {
		meta.MaxTokens = *r.other.maxTokens
	}
	meta.Class = cmp.Or(r.other.class, meta.Class)
	c.Input.Meta, c.Input.Progress = &meta, &done
	// What is found has what differs from the record's.
	c.Input.Needs ^= router.Capability(job.Needs)
	return &c, nil
}

func (r *Reader) entry(in *input) {
	kind := in.b[0]
	in.b = in.b[1:]
	switch kind {
	case kindDecision:
		r.decision(in)
	case kindRoute:
		r.define(in)
	case kindLoad:
		i := in.index(math.MaxInt32)
		if r.loads[i] == nil {
			r.loads[i] = &loadValues{}
		}
		in.load(r.loads[i])
	case kindStats:
		i := in.index(math.MaxInt32)
		if r.stats[i] == nil {
			r.stats[i] = &statsValues{}
		}
		in.stats(r.stats[i])
	case kindOffsets:
		if i := in.index(len(r.routes)); i >= 0 {
			d := r.routes[i]
			d.offsets = make([]int, len(d.Route.Candidates))
			for k := range d.offsets {
				d.offsets[k] = int(in.int())
			}
		}
	default:
		in.fail()
	}
}

// definitionMost bounds what a route's definition may unpack to.
const definitionMost = 16 << 20

func (r *Reader) define(in *input) {
	d := &readRoute{}
	text, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(in.bytes())), definitionMost))
	if err == nil {
		err = json.Unmarshal(text, &d.definition)
	}
	if err != nil || len(d.Indexes) != len(d.Pools) || len(d.Targets) != len(d.Route.Candidates) {
		in.fail()
		return
	}
	r.routes = append(r.routes, d)
}

func (r *Reader) decision(in *input) {
	flags := in.uint()
	i := in.index(len(r.routes))
	if i < 0 {
		return
	}
	d := r.routes[i]
	r.now += in.int()
	d.sequence += uint64(in.int())
	if len(in.b) < 8 {
		in.fail()
		return
	}
	x := router.Input{Now: r.now, Sequence: d.sequence, Random: binary.LittleEndian.Uint64(in.b), Aged: flags&hasAged != 0}
	in.b = in.b[8:]
	other := in.rare(flags, &x)
	if r.decs++; r.decs-1 != r.want || in.bad {
		return
	}
	r.found, r.other = r.capture(d, x), other
}

// capture puts together what a decision saw of the route.
func (r *Reader) capture(d *readRoute, in router.Input) *router.Capture {
	c := &router.Capture{Pools: d.Pools, Route: d.Route, Offsets: d.offsets, Input: in}
	for _, i := range d.Indexes {
		l := router.Load{}
		if v := r.loads[i]; v != nil {
			l = v.load()
		}
		c.Load = append(c.Load, l)
	}
	for _, i := range d.Targets {
		s := router.Stats{}
		if v := r.stats[i]; v != nil {
			s = v.stats()
		}
		c.Input.Stats = append(c.Input.Stats, s)
	}
	return c
}

// rare reads what appendRare wrote.
func (in *input) rare(flags uint64, x *router.Input) (other differences) {
	if flags&hasTier != 0 {
		x.Tier = in.text()
	}
	if flags&hasNeeds != 0 {
		x.Needs = router.Capability(in.uint())
	}
	if flags&hasRequire != 0 {
		x.Require = in.labels()
	}
	if flags&hasPrefer != 0 {
		x.Prefer = in.labels()
	}
	if flags&hasBarred != 0 {
		for range in.list() {
			name := in.text()
			r, ok := router.ParseReason(name)
			in.bad = in.bad || !ok
			x.Barred = append(x.Barred, r)
		}
	}
	if flags&hasTokens != 0 {
		x.InputTokens, x.OutputTokens = in.int(), in.int()
	}
	if flags&hasCached != 0 {
		x.CachedPool, x.CachedTokens = in.text(), in.int()
	}
	if flags&hasMaxTokens != 0 {
		n := in.int()
		other.maxTokens = &n
	}
	if flags&hasClass != 0 {
		other.class = wire.Class(in.text())
	}
	return other
}

func (in *input) labels() (out []router.Label) {
	for range in.list() {
		out = append(out, router.Label{Name: in.text(), Value: in.text()})
	}
	return out
}
