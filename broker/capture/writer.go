package capture

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"encoding/json"
	"slices"
	"strconv"
	"time"

	"github.com/sluicehq/sluice/router"
	"github.com/sluicehq/sluice/sdk/wire"
)

// Bounds of a block and of a period. What routes are takes room of its own.
const (
	blockBytes  = 64 << 10
	periodBytes = 256 << 10
	periodTime  = int64(time.Minute)
)

// Block is a piece of a period, ready to be stored behind those before it.
type Block struct {
	Period string // its name
	Data   []byte // not used again by the Writer
}

// Writer notes what decisions see. Make one with NewWriter.
type Writer struct {
	run  string
	keep func(Block) bool

	table  *router.Table
	name   string // of the period, empty: none has begun
	number uint64 // of the period
	began  int64  // when, by the first decision's clock
	size   int    // bytes of its sealed blocks
	decs   uint64 // decisions in it
	b      []byte // the block in the making

	now    int64
	loads  []loadValues
	stats  []statsValues
	first  *router.Stats // of the measurements of the last decision
	turn   uint64        // of those that are other than before
	routes map[*router.Route]*routeState
	known  map[*router.Route][]byte // definitions, of the table
	marked []byte
}

// routeState is what a period says of a route so far.
type routeState struct {
	index    uint64
	sequence uint64
	measured uint64 // turn of the measurements that were noted last
	offsets  []int  // by candidate, nil: no schedule has a zone
}

// definition is a route as a period has it.
type definition struct {
	Route   router.RouteSpec `json:"route"`
	Pools   []router.Pool    `json:"pools"`
	Indexes []int            `json:"indexes"` // of Pools in the table
	Targets []int            `json:"targets"` // by candidate
}

// NewWriter makes a Writer. run names it, and no other that ever was. Sealed
// blocks go to keep, which says whether they will be stored; if not, a new
// period begins.
func NewWriter(run string, keep func(Block) bool) *Writer { return &Writer{run: run, keep: keep} }

// Note writes down what a decision saw: the arguments of Decide, and the job
// as its record will have it. changed are the pools of which load may be other
// than at the last Note with the same table. It returns the mark by which Read
// finds the decision.
func (w *Writer) Note(t *router.Table, load []router.Load, changed []int32, route *router.Route, in *router.Input, job *wire.Meta) string {
	if w.table != t || w.name == "" || in.Now-w.began > periodTime || w.size+len(w.b) > periodBytes {
		w.begin(t, in.Now)
		for i := range load {
			w.load(i, &load[i])
		}
	} else {
		for _, i := range changed {
			w.load(int(i), &load[i])
		}
	}
	r := w.route(route)
	w.measure(r, route, in.Stats)
	w.zones(r, route, in.Now)
	w.decision(r, in, job)
	w.decs++
	w.marked = append(append(append(w.marked[:0], w.run...), '.'), w.name...)
	w.marked = strconv.AppendUint(append(w.marked, '.'), w.decs-1, 10)
	mark := string(w.marked)
	if len(w.b) >= blockBytes {
		w.Seal()
	}
	return mark
}

// Seal ends the block in the making; false: there is none.
func (w *Writer) Seal() bool {
	if len(w.b) == 0 {
		return false
	}
	w.size += len(w.b)
	data := slices.Clone(w.b)
	w.b = w.b[:0]
	if !w.keep(Block{Period: w.name, Data: data}) {
		w.Break()
	}
	return true
}

// Break says that a block has been lost: what was noted behind it is of no use,
// and the next Note begins a period.
func (w *Writer) Break() { w.name, w.b = "", w.b[:0] }

func (w *Writer) begin(t *router.Table, now int64) {
	w.Seal()
	if w.table != t {
		w.table, w.known = t, map[*router.Route][]byte{}
	}
	w.number++
	w.name = strconv.FormatUint(w.number, 36)
	w.began, w.now, w.size, w.decs = now, 0, 0, 0
	w.loads, w.stats = make([]loadValues, len(t.Pools())), make([]statsValues, len(t.Targets()))
	w.routes = map[*router.Route]*routeState{}
	w.turn++
}

// entry begins an entry, and a block if there is none.
func (w *Writer) entry(kind byte) {
	if len(w.b) == 0 {
		w.b = binary.AppendUvarint(append(w.b, format), w.decs)
	}
	w.b = append(w.b, kind)
}

func (w *Writer) load(i int, l *router.Load) {
	v := valuesOf(l)
	if v == w.loads[i] {
		return
	}
	w.entry(kindLoad)
	w.b = appendLoad(binary.AppendUvarint(w.b, uint64(i)), &w.loads[i], &v)
	w.loads[i] = v
}

// route is the state of a route, which is written first if the period does not
// have it.
func (w *Writer) route(route *router.Route) *routeState {
	if r := w.routes[route]; r != nil {
		return r
	}
	r := &routeState{index: uint64(len(w.routes))}
	w.routes[route] = r
	def, ok := w.known[route]
	if !ok {
		def = define(w.table, route)
		w.known[route] = def
	}
	w.entry(kindRoute)
	w.b = append(binary.AppendUvarint(w.b, uint64(len(def))), def...)
	w.size -= len(def)
	for _, c := range route.Spec().Candidates {
		if c.Schedule != nil && c.Schedule.Location != nil {
			r.offsets = make([]int, len(route.Candidates()))
		}
	}
	return r
}

func define(t *router.Table, route *router.Route) []byte {
	c := t.Capture(route, nil, &router.Input{})
	d := definition{Route: c.Route, Pools: c.Pools}
	for _, p := range c.Pools {
		d.Indexes = append(d.Indexes, t.PoolIndex(p.Name))
	}
	for _, x := range route.Candidates() {
		d.Targets = append(d.Targets, x.Target)
	}
	text, err := json.Marshal(&d)
	if err != nil {
		return nil // a NaN in a configuration: the route cannot be replayed
	}
	var out bytes.Buffer
	z, _ := flate.NewWriter(&out, flate.BestSpeed) // never fails for a level that exists
	_, _ = z.Write(text)
	_ = z.Close()
	return out.Bytes()
}

// measure writes what is measured of a route's candidates, if it may be other
// than when the route was last decided about.
func (w *Writer) measure(r *routeState, route *router.Route, stats []router.Stats) {
	var first *router.Stats
	if len(stats) > 0 {
		first = &stats[0]
	}
	if first != w.first { // a snapshot's measurements never change
		w.first = first
		w.turn++
	}
	if r.measured == w.turn {
		return
	}
	r.measured = w.turn
	for _, c := range route.Candidates() {
		var v statsValues
		if c.Target < len(stats) {
			v = measuresOf(&stats[c.Target])
		}
		if was := &w.stats[c.Target]; v != *was {
			w.entry(kindStats)
			w.b = appendStats(binary.AppendUvarint(w.b, uint64(c.Target)), was, &v)
			*was = v
		}
	}
}

// zones writes the offsets of the route's schedules when they change.
func (w *Writer) zones(r *routeState, route *router.Route, now int64) {
	if r.offsets == nil {
		return
	}
	changed, list := false, route.Spec().Candidates
	for i := range list {
		if s := list[i].Schedule; s != nil && s.Location != nil {
			_, offset := time.Unix(0, now).In(s.Location).Zone()
			changed = changed || offset != r.offsets[i]
			r.offsets[i] = offset
		}
	}
	if !changed {
		return
	}
	w.entry(kindOffsets)
	w.b = binary.AppendUvarint(w.b, r.index)
	for _, o := range r.offsets {
		w.b = binary.AppendVarint(w.b, int64(o))
	}
}

// What a decision has beside the fields that all have, in this order.
const (
	hasAged = 1 << iota
	hasTier
	hasNeeds
	hasRequire
	hasPrefer
	hasBarred
	hasTokens
	hasCached
	hasMaxTokens
	hasClass
)

func (w *Writer) decision(r *routeState, in *router.Input, job *wire.Meta) {
	flags := uint64(0)
	has := func(flag uint64, set bool) {
		if set {
			flags |= flag
		}
	}
	has(hasAged, in.Aged)
	has(hasTier, in.Tier != "")
	has(hasNeeds, in.Needs != router.Capability(job.Needs))
	has(hasRequire, len(in.Require) > 0)
	has(hasPrefer, len(in.Prefer) > 0)
	has(hasBarred, len(in.Barred) > 0)
	has(hasTokens, in.InputTokens != 0 || in.OutputTokens != 0)
	has(hasCached, in.CachedPool != "" || in.CachedTokens != 0)
	has(hasMaxTokens, in.Meta.MaxTokens != job.MaxTokens)
	has(hasClass, in.Meta.Class != job.Class)
	w.entry(kindDecision)
	b := binary.AppendUvarint(binary.AppendUvarint(w.b, flags), r.index)
	b = binary.AppendVarint(b, in.Now-w.now)
	b = binary.AppendVarint(b, int64(in.Sequence-r.sequence))
	b = binary.LittleEndian.AppendUint64(b, in.Random)
	w.now, r.sequence = in.Now, in.Sequence
	if flags&^hasAged != 0 {
		b = appendRare(b, flags, in, job)
	}
	w.b = b
}

func appendRare(b []byte, flags uint64, in *router.Input, job *wire.Meta) []byte {
	if flags&hasTier != 0 {
		b = appendText(b, in.Tier)
	}
	if flags&hasNeeds != 0 {
		b = binary.AppendUvarint(b, uint64(in.Needs^router.Capability(job.Needs)))
	}
	for _, labels := range [...][]router.Label{in.Require, in.Prefer} {
		if len(labels) > 0 {
			b = binary.AppendUvarint(b, uint64(len(labels)))
		}
		for _, l := range labels {
			b = appendText(appendText(b, l.Name), l.Value)
		}
	}
	if flags&hasBarred != 0 {
		b = binary.AppendUvarint(b, uint64(len(in.Barred)))
		for _, r := range in.Barred {
			b = appendText(b, r.String())
		}
	}
	if flags&hasTokens != 0 {
		b = binary.AppendVarint(binary.AppendVarint(b, in.InputTokens), in.OutputTokens)
	}
	if flags&hasCached != 0 {
		b = binary.AppendVarint(appendText(b, in.CachedPool), in.CachedTokens)
	}
	if flags&hasMaxTokens != 0 {
		b = binary.AppendVarint(b, in.Meta.MaxTokens)
	}
	if flags&hasClass != 0 {
		b = appendText(b, string(in.Meta.Class))
	}
	return b
}
