package router

import (
	"fmt"
	"math"
	"testing"
)

// home is where keys go, by key.
func home(f *fixture, n int) map[string]string {
	got := map[string]string{}
	for i := range n {
		f.in.Meta.Affinity = fmt.Sprint("user-", i)
		got[f.in.Meta.Affinity] = f.next()
	}
	return got
}

func TestHashingIsSticky(t *testing.T) {
	f := simple(t, "consistent_hashing", 1, 2, 3)
	first := home(f, 500)
	f.in.Sequence, f.in.Random = 12345, 678
	for key, pool := range home(f, 500) {
		if first[key] != pool {
			t.Errorf("%s moved from %s to %s", key, first[key], pool)
		}
	}
	f.in.Meta.Tenant = "other"
	same := 0
	for key, pool := range home(f, 500) {
		if first[key] == pool {
			same++
		}
	}
	if same > 300 {
		t.Errorf("%d of 500 keys of another tenant are in the same place", same)
	}
}

// When a pool comes or goes, only its own keys move.
func TestHashingMovesLittle(t *testing.T) {
	const keys = 3000
	all := home(simple(t, "consistent_hashing", 1, 1, 2, 1), keys)
	without := home(simple(t, "consistent_hashing", 1, 1, 2), keys)
	moved := 0
	for key, pool := range all {
		if pool == "p3" {
			moved++
		} else if without[key] != pool {
			t.Fatalf("%s moved from %s to %s, though p3 left", key, pool, without[key])
		}
	}
	if share := float64(moved) / keys; share < 0.17 || share > 0.23 {
		t.Errorf("p3 had %.3f of the keys, want 0.2", share)
	}
}

// A hot key spills over instead of burying its pool.
func TestHashingBound(t *testing.T) {
	f := simple(t, "consistent_hashing", 1, 1, 1, 1)
	f.in.Meta.Affinity = "hot"
	for n := 1; n <= 400; n++ {
		f.next()
		f.load[f.route.Candidates()[f.out.Choice].Pool].Depth++
		for i := range f.load {
			if limit := 1.25*float64(n)/4 + 1; float64(f.load[i].Depth) > limit {
				t.Fatalf("p%d has %d of %d jobs", i, f.load[i].Depth, n)
			}
		}
	}
	f.load[0].Depth, f.load[1].Depth, f.load[2].Depth, f.load[3].Depth = 100, 0, 0, 0
	if f.next(); f.out.Candidates[0].Excluded != OverBound {
		t.Errorf("p0: %q", f.out.Candidates[0].Excluded)
	}
}

func TestNegLog2(t *testing.T) {
	for x, want := range map[uint64]float64{0: 64, 1: 64, 1 << 63: 1, math.MaxUint64: 0, 3 << 61: 2 - math.Log2(1.5)} {
		if got := negLog2(x); math.Abs(got-want) > 1e-8 || got < 0 {
			t.Errorf("negLog2(%#x) = %v, want %v", x, got, want)
		}
	}
	last := math.Inf(1)
	for x := uint64(1); x < 1<<63; x += x/97 + 2 { // monotone
		v := negLog2(x)
		if exact := 64 - math.Log2(float64(x|1)); v > last || math.Abs(v-exact) > 1e-8 {
			t.Fatalf("negLog2(%#x) = %v after %v, exactly %v", x, v, last, exact)
		}
		last = v
	}
}

func TestStride(t *testing.T) {
	for w := uint64(1); w < 3000; w++ {
		g := stride(w)
		if gcd(g, w) != 1 {
			t.Fatalf("stride(%d) = %d has a common factor", w, g)
		}
		if off := math.Abs(float64(g) - float64(w)*0.6180339887); w > 2 && off > 12 {
			t.Errorf("stride(%d) = %d is %v off", w, g, off)
		}
	}
	if gcd(48, 36) != 12 || gcd(7, 13) != 1 {
		t.Error("gcd")
	}
}
