package cron

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
)

const body = `{"model":"chat","messages":[1]}`

func example(spec, zone string) *Schedule {
	return &Schedule{Tenant: "acme", Name: "nightly", Class: wire.Batch, Spec: spec, Zone: zone, Body: []byte(body),
		Headers: map[string]string{wire.HeaderDeadline: "2h", wire.HeaderLabel + "team": "docs"}}
}

func at(t *testing.T, s string) time.Time {
	t.Helper()
	x, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// TestFiringID (I1): the ID names the time that the firing is for, over months,
// leap years and changes of the clock, and whenever it came.
func TestFiringID(t *testing.T) {
	var subjects wire.Subjects
	for _, c := range []struct{ spec, zone, next, want string }{
		{"* * * * *", "", "2026-11-23T06:01:00Z", "nightly-20261123T060000Z"},
		{"*/20 * * * * *", "", "2026-11-23T06:01:00Z", "nightly-20261123T060040Z"},
		{"0 6 * * 1-5", "", "2026-11-23T06:00:00Z", "nightly-20261120T060000Z"}, // Monday after Friday
		{"0 0 1 * *", "", "2026-03-01T00:00:00Z", "nightly-20260201T000000Z"},
		{"@yearly", "", "2027-01-01T00:00:00Z", "nightly-20260101T000000Z"},
		{"0 0 29 2 *", "", "2028-02-29T00:00:00Z", "nightly-20240229T000000Z"},
		{"@hourly", "Asia/Kathmandu", "2026-01-01T01:15:00Z", "nightly-20260101T001500Z"},
		{"@every 90s", "", "2026-01-01T00:01:30Z", "nightly-20260101T000000Z"},
		// Europe/Berlin: 02:30 does not exist on 29 March 2026; the clock goes back on 25 October.
		{"0 3 * * *", "Europe/Berlin", "2026-03-29T01:00:00Z", "nightly-20260328T020000Z"},
		{"0 3 * * *", "Europe/Berlin", "2026-03-30T01:00:00Z", "nightly-20260329T010000Z"},
		{"0 3 * * *", "Europe/Berlin", "2026-10-25T02:00:00Z", "nightly-20261024T010000Z"},
	} {
		s := example(c.spec, c.zone)
		_, h, b := s.Message(subjects)
		h[serverScheduler], h[serverNext] = []string{subjects.Cron("acme", "nightly")}, []string{c.next}
		delete(h, serverSchedule)
		if !Fired(subjects, h) {
			t.Fatalf("%s: not a firing", c.spec)
		}
		for _, came := range []string{"2026-01-01T00:00:00Z", "2026-06-01T12:34:56Z"} { // on time or after a crash: the same
			job, fault := Job(subjects, h, wire.Batch, b, 7, at(t, came))
			if fault != nil || job.ID != c.want || job.Tenant != "acme" || job.Class != wire.Batch || job.Route != "chat" || job.Labels["team"] != "docs" {
				t.Errorf("%s %s, next %s: job %s (%v), want %s", c.spec, c.zone, c.next, job.ID, fault, c.want)
			}
			if got := time.Duration(job.Deadline - at(t, came).UnixNano()); got != 2*time.Hour {
				t.Errorf("deadline %s after the firing came, want 2h", got)
			}
		}
	}
}

// TestBefore: before and next are inverses on every schedule.
func TestBefore(t *testing.T) {
	for _, spec := range []string{"* * * * * *", "7 */5 * * * *", "30 2 * * *", "0 0 31 * *", "15 10 * 2-4 MON", "@weekly", "@monthly", "1 2 29 2 *"} {
		for _, zone := range []string{"", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"} {
			x, fault := example(spec, zone).times()
			if fault != nil {
				t.Fatal(fault)
			}
			last := x.next(at(t, "2024-01-01T00:00:00Z"))
			for range 40 {
				next := x.next(last)
				if next.IsZero() {
					break // the next is more than five years away
				}
				if got := x.before(next); !got.Equal(last) {
					t.Fatalf("%s in %q: before %s comes %s, want %s", spec, zone, next, got, last)
				}
				last = next
			}
		}
	}
}

func TestMessageAndRead(t *testing.T) {
	subjects := wire.Subjects{Prefix: "a.b"}
	for _, paused := range []bool{false, true} {
		want := example("0 3 * * *", "Europe/Berlin")
		want.Paused = paused
		subject, h, b := want.Message(subjects)
		if _, fires := h[serverSchedule]; fires == paused {
			t.Errorf("paused %t, fires %t", paused, fires)
		}
		got, ok := Read(subjects, subject, h, b)
		if !ok || !reflect.DeepEqual(got, want) {
			t.Errorf("read %+v, want %+v", got, want)
		}
		if _, ok := Read(subjects, subjects.Sched("acme", "nightly"), h, b); ok {
			t.Error("a delayed job is taken for a schedule")
		}
	}
	if Fired(subjects, map[string][]string{serverScheduler: {subjects.Sched("acme", "x")}}) || Fired(subjects, nil) {
		t.Error("a delayed job is taken for a firing")
	}
}

func TestCheck(t *testing.T) {
	now := at(t, "2026-11-23T00:00:00Z")
	if err := example("0 3 * * *", "Europe/Berlin").Check(now); err != nil {
		t.Fatal(err)
	}
	for want, spoil := range map[string]func(*Schedule){
		"tenant must match":        func(s *Schedule) { s.Tenant = "a.b" },
		"name must match":          func(s *Schedule) { s.Name = strings.Repeat("x", MaxName+1) },
		"not interactive":          func(s *Schedule) { s.Class = "urgent" },
		"is no schedule":           func(s *Schedule) { s.Spec = "61 * * * *" },
		"never comes":              func(s *Schedule) { s.Spec = "0 0 30 2 *" },
		"a field of its own":       func(s *Schedule) { s.Spec = "CRON_TZ=UTC 0 3 * * *" },
		"no time zone":             func(s *Schedule) { s.Zone = "Europe/Atlantis" },
		"means nothing":            func(s *Schedule) { s.Spec = "@every 1m" },
		"at least a second":        func(s *Schedule) { s.Spec = "@every 10ms" },
		"IDs of their own":         func(s *Schedule) { s.Headers[wire.HeaderJobID] = "x" },
		"no header of a schedule":  func(s *Schedule) { s.Headers["Nats-Rollup"] = "all" },
		"\"Sluice-Cron-Paused\"":   func(s *Schedule) { s.Headers[headerPaused] = "true" },
		"the body is not a JSON":   func(s *Schedule) { s.Body = []byte("hello") },
		"the field messages is":    func(s *Schedule) { s.Body = []byte(`{"model":"chat"}`) },
		wire.HeaderDeadline:        func(s *Schedule) { s.Headers[wire.HeaderDeadline] = "soon" },
		"unknown endpoint":         func(s *Schedule) { s.Headers[wire.HeaderEndpoint] = "/v2" },
		"\"Sluice-Assignment\" is": func(s *Schedule) { s.Headers[wire.HeaderAssignment] = "{}" },
	} {
		s := example("0 3 * * *", "Europe/Berlin")
		spoil(s)
		if err := s.Check(now); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want an error with %q", err, want)
		}
	}
}

// FuzzSchedule: whatever a client sends as a schedule is refused, or is read
// back as it was and fires at times that go on.
func FuzzSchedule(f *testing.F) {
	for _, s := range [][3]string{{"0 6 * * 1-5", "Europe/Berlin", body}, {"*/30 * * * * *", "", body}, {"@every 15m", "", "{"}, {"@daily", "Asia/Tokyo", body},
		{"30 2 29 2 *", "America/New_York", body}, {"0 0 31 2 *", "", body}, {"TZ=UTC * * * * *", "Local", body}, {"59-0/0 * * * *", "../x", ""}} {
		f.Add(s[0], s[1], []byte(s[2]))
	}
	now := time.Date(2026, 3, 29, 0, 59, 59, 5, time.UTC) // half an hour before a change of clocks
	f.Fuzz(func(t *testing.T, spec, zone string, body []byte) {
		s := example(spec, zone)
		s.Body = body
		if s.Check(now) != nil {
			return
		}
		subject, h, stored := s.Message(wire.Subjects{})
		back, ok := Read(wire.Subjects{}, subject, h, stored)
		if !ok || !reflect.DeepEqual(back, s) {
			t.Fatalf("%+v is read back as %+v, %t", s, back, ok)
		}
		times, _ := s.times()
		for at, n := now, 0; n < 100 && at.Sub(now) < 48*time.Hour; n++ {
			next := times.next(at)
			if next.IsZero() {
				break
			}
			if !next.After(at) {
				t.Fatalf("%q in %q: after %s comes %s", spec, zone, at, next)
			}
			if at = next; n > 10 {
				at = at.Add(time.Hour) // not every second of two days
			}
		}
		if _, fault := Job(wire.Subjects{}, h, s.Class, body, 7, now); fault != nil && fault.Code == "" {
			t.Fatal("a fault without a code")
		}
	})
}
