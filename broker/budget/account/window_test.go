package account

import (
	"math/rand/v2"
	"testing"
	"time"
)

func at(t *testing.T, text string) int64 {
	t.Helper()
	x, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return x.UnixNano()
}

func window(t *testing.T, span Span, rolling bool, zone string) Window {
	t.Helper()
	w, err := ParseWindow(string(span), rolling, zone)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// TestWindow: where windows begin and end, also where clocks change, do so at
// midnight, or skip a day.
func TestWindow(t *testing.T) {
	for _, c := range []struct {
		span             Span
		zone             string
		at, start, until string
	}{
		{Hour, "Asia/Kolkata", "2026-01-02T10:20:30Z", "2026-01-02T10:00:00Z", "2026-01-02T11:00:00Z"},
		{Day, "", "2026-01-02T00:00:00Z", "2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z"},
		{Day, "Europe/Berlin", "2026-03-29T12:00:00Z", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"},     // 23 hours
		{Day, "Europe/Berlin", "2026-10-25T12:00:00Z", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"},     // 25 hours
		{Day, "Africa/Cairo", "2024-04-26T12:00:00Z", "2024-04-25T22:00:00Z", "2024-04-26T21:00:00Z"},      // begins at 01:00
		{Day, "America/Havana", "2024-11-03T12:00:00Z", "2024-11-03T04:00:00Z", "2024-11-04T05:00:00Z"},    // has two midnights
		{Day, "America/Sao_Paulo", "2018-02-17T12:00:00Z", "2018-02-17T02:00:00Z", "2018-02-18T03:00:00Z"}, // falls back at its end
		{Day, "Pacific/Apia", "2011-12-29T12:00:00Z", "2011-12-29T10:00:00Z", "2011-12-30T10:00:00Z"},      // the next day is left out
		{Day, "Pacific/Apia", "2011-12-30T12:00:00Z", "2011-12-30T10:00:00Z", "2011-12-31T10:00:00Z"},
		{Week, "", "2026-02-01T12:00:00Z", "2026-01-26T00:00:00Z", "2026-02-02T00:00:00Z"}, // a Sunday
		{Week, "Europe/Berlin", "2026-03-25T12:00:00Z", "2026-03-22T23:00:00Z", "2026-03-29T22:00:00Z"},
		{Month, "", "2024-02-29T12:00:00Z", "2024-02-01T00:00:00Z", "2024-03-01T00:00:00Z"},
		{Month, "Europe/Berlin", "2026-12-31T22:59:59Z", "2026-11-30T23:00:00Z", "2026-12-31T23:00:00Z"},
	} {
		w := window(t, c.span, false, c.zone)
		if got := w.Start(at(t, c.at)); got != at(t, c.start) {
			t.Errorf("%s in %s at %s starts %s, want %s", c.span, c.zone, c.at, time.Unix(0, got).UTC(), c.start)
		}
		if got := w.End(at(t, c.at)); got != at(t, c.until) {
			t.Errorf("%s in %s at %s ends %s, want %s", c.span, c.zone, c.at, time.Unix(0, got).UTC(), c.until)
		}
	}
	if w := window(t, Total, false, ""); w.Start(12345) != 0 || w.End(12345) != forever || w.Slot(12345) != 0 {
		t.Error("a total is one window")
	}
}

// TestWindowsCover: calendar windows follow each other without gap or overlap,
// and every slot lies in one of them.
func TestWindowsCover(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	zones := []string{"", "Europe/Berlin", "America/New_York", "Africa/Cairo", "America/Havana", "Asia/Kathmandu", "Australia/Lord_Howe", "Asia/Beirut", "America/Sao_Paulo"}
	from, to := at(t, "2005-01-01T00:00:00Z"), at(t, "2030-01-01T00:00:00Z")
	for range 20_000 {
		w := window(t, []Span{Hour, Day, Week, Month}[rnd.IntN(4)], false, zones[rnd.IntN(len(zones))])
		x := from + rnd.Int64N(to-from)
		start, end := w.Start(x), w.End(x)
		if x < start || x >= end || w.Start(start) != start || w.Start(end) != end || w.Start(end-1) != start {
			t.Fatalf("%s in %s at %s: %s to %s", w, w.Zone, time.Unix(0, x).In(w.Zone), time.Unix(0, start).In(w.Zone), time.Unix(0, end).In(w.Zone))
		}
		slot := w.Slot(x)
		if slot > x || slot < start || w.Slot(slot) != slot || x-slot > w.slotLength() {
			t.Fatalf("%s in %s at %s: slot %s", w, w.Zone, time.Unix(0, x).In(w.Zone), time.Unix(0, slot).In(w.Zone))
		}
	}
}

// TestRolling: nothing leaves a rolling window before it is old enough, and
// not much later.
func TestRolling(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 6))
	for _, span := range []Span{Hour, Day, Week, Month} {
		w := window(t, span, true, "Europe/Berlin")
		for range 2000 {
			spent := at(t, "2026-01-01T00:00:00Z") + rnd.Int64N(int64(365*24*time.Hour))
			age := rnd.Int64N(2 * w.length())
			counts := w.Slot(spent) >= w.Start(spent+age)
			if age <= w.length() && !counts || age > w.length()+w.slotLength() && counts {
				t.Fatalf("%s: after %s counts: %v", w, time.Duration(age), counts)
			}
			if end := w.End(spent); w.Slot(spent) >= w.Start(end) || w.Slot(spent) < w.Start(end-1) {
				t.Fatalf("%s: %s does not end at %s", w, time.Unix(0, spent), time.Unix(0, end))
			}
		}
	}
}

func TestParseWindow(t *testing.T) {
	for _, c := range []struct {
		span    string
		rolling bool
		zone    string
	}{{"year", false, ""}, {"", false, ""}, {"total", true, ""}, {"day", false, "Mars/Base"}} {
		if w, err := ParseWindow(c.span, c.rolling, c.zone); err == nil {
			t.Errorf("%+v is read as %v", c, w)
		}
	}
}
