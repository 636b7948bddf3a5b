package ingest

import (
	"fmt"
	"reflect"
	"testing"
	"unsafe"

	"github.com/sluicehq/sluice/analytics/store"
	"github.com/sluicehq/sluice/sdk/wire"
)

// fill gives everything below v a value, each its own. Strings are parts of one
// text, as those of a decoded record.
func fill(v reflect.Value, text string, n *int) {
	*n++
	switch v.Kind() {
	case reflect.String:
		v.SetString(text[*n : *n+3])
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(*n))
	case reflect.Uint16, reflect.Uint64:
		v.SetUint(uint64(*n))
	case reflect.Float64:
		v.SetFloat(float64(*n))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), text, n)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range 2 {
			fill(v.Index(i), text, n)
		}
	case reflect.Map:
		v.Set(reflect.ValueOf(map[string]string{text[*n : *n+3]: text[*n+1 : *n+4]}))
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i), text, n)
		}
	default:
		panic(fmt.Sprintf("fill knows no %s", v.Type()))
	}
}

// places calls each with where every string, pointer, slice and map below v has
// what it refers to.
func places(v reflect.Value, path string, each func(path string, at unsafe.Pointer)) {
	switch v.Kind() {
	case reflect.String:
		each(path, unsafe.Pointer(unsafe.StringData(v.String())))
	case reflect.Pointer:
		each(path, v.UnsafePointer())
		places(v.Elem(), path, each)
	case reflect.Slice:
		each(path, v.UnsafePointer())
		for i := range v.Len() {
			places(v.Index(i), path, each)
		}
	case reflect.Map:
		each(path, v.UnsafePointer())
		for name, value := range v.Seq2() {
			places(name, path+" name", each)
			places(value, path+" value", each)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			places(v.Field(i), path+"."+v.Type().Field(i).Name, each)
		}
	}
}

// TestRowsKeepNothingOfARecord: rows say the same as before and refer to nothing
// of what they were made of, whatever fields there are.
func TestRowsKeepNothingOfARecord(t *testing.T) {
	var rec struct {
		Meta    wire.Meta
		Attempt wire.Attempt
		Cost    wire.NanoUSD
		Status  wire.Status
		Code    wire.Code
	}
	var text []byte
	for i := range 1000 {
		text = fmt.Appendf(text, "%03d", i)
	}
	all, n := string(text), 0
	fill(reflect.ValueOf(&rec).Elem(), all, &n)
	rows := func() (*store.Attempt, *store.Job) {
		return &store.Attempt{Seq: 1, Job: &rec.Meta, Attempt: &rec.Attempt},
			&store.Job{Seq: 1, Job: &rec.Meta, Status: rec.Status, ErrorCode: rec.Code, Cost: &rec.Cost}
	}
	of := map[unsafe.Pointer]bool{unsafe.Pointer(&rec.Meta): true, unsafe.Pointer(&rec.Attempt): true, unsafe.Pointer(&rec.Cost): true}
	places(reflect.ValueOf(rec), "", func(_ string, at unsafe.Pointer) { of[at] = true })
	begin, end := uintptr(unsafe.Pointer(unsafe.StringData(all))), uintptr(unsafe.Pointer(unsafe.StringData(all)))+uintptr(len(all))
	k := newKeeper()
	var first *store.Attempt
	for range 2 {
		a, j := rows()
		k.own(a, j)
		wantA, wantJ := rows()
		if !reflect.DeepEqual(a, wantA) || !reflect.DeepEqual(j, wantJ) {
			t.Errorf("rows have changed: %+v, %+v", a, j)
		}
		for name, row := range map[string]any{"attempt": *a, "job": *j} {
			places(reflect.ValueOf(row), name, func(path string, at unsafe.Pointer) {
				if p := uintptr(at); of[at] || p >= begin && p < end {
					t.Errorf("%s still refers to the record", path)
				}
			})
		}
		if first == nil {
			first = a
		} else if first.Attempt.Price != a.Attempt.Price || unsafe.StringData(first.Job.Tenant) != unsafe.StringData(a.Job.Tenant) {
			t.Error("what comes again is kept twice")
		}
	}
	_, j := rows()
	if k.own(nil, j); j.Job == &rec.Meta || !reflect.DeepEqual(j.Job, &rec.Meta) {
		t.Errorf("a job without an attempt: %+v", j.Job)
	}
	a, _ := rows()
	a.Attempt = &wire.Attempt{}
	if k.own(a, nil); !reflect.DeepEqual(a.Attempt, &wire.Attempt{}) {
		t.Errorf("an empty attempt: %+v", a.Attempt)
	}
	k.own(nil, nil)
}

// TestKeeperForgets: no number of words makes it grow beyond its bound.
func TestKeeperForgets(t *testing.T) {
	k := newKeeper()
	for i := range 3 * keptMost {
		s := fmt.Sprint(i)
		a := k.attempt(wire.Attempt{Pool: s, Price: &wire.Price{Input: wire.Rate(i)}})
		if a.Pool != s || a.Price.Input != wire.Rate(i) {
			t.Fatal(i, a)
		}
		if len(k.words) > keptMost || len(k.prices) > keptMost {
			t.Fatalf("%d words, %d prices", len(k.words), len(k.prices))
		}
	}
}
