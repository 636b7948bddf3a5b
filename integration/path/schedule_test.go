package path

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
)

// schedule asks for something about a schedule of tenant acme; the answer's
// error is returned.
func (r *rig) schedule(op, name, cron, more string) (next string, fault string) {
	r.t.Helper()
	x := fmt.Sprintf(`{"tenant":"acme","name":%q,"class":"standard","cron":%q,"body":%s%s}`, name, cron, mustJSON([]byte(routeTo("chat"))), more)
	a := ask[struct {
		Schedule struct{ Next string }
		Error    *wire.AnswerError
	}](r, r.subj.Admin("schedule."+op), `{"schedule":`+x+`}`)
	if a.Error != nil {
		return "", a.Error.Message
	}
	return a.Schedule.Next, ""
}

func mustJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func (r *rig) mustSchedule(op, name, cron, more string) string {
	r.t.Helper()
	next, fault := r.schedule(op, name, cron, more)
	if fault != "" {
		r.t.Fatalf("schedule %s %s: %s", op, name, fault)
	}
	return next
}

// fired checks which of a schedule's firings, by minute of the bubble's day,
// are jobs that have succeeded, each once.
func (r *rig) fired(p *script, name string, from, to int, missing ...int) {
	r.t.Helper()
	want := 0
	for m := from; m <= to; m++ {
		skip := false
		for _, x := range missing {
			skip = skip || x == m
		}
		id := name + "-" + time.Date(2000, 1, 1, 0, m, 0, 0, time.UTC).Format("20060102T150405Z")
		h := r.history(id)
		if skip {
			if len(h) != 0 {
				r.t.Errorf("%s ran", id)
			}
			continue
		}
		want++
		if got := r.steps(id); got != "running succeeded" {
			r.t.Errorf("%s: %q", id, got)
		}
	}
	if p.count() != want {
		r.t.Errorf("%d calls for %d firings", p.count(), want)
	}
}

// TestSchedule: each minute is one job, over restarts in good order and
// without, at a moment when one has just fired too; a pause is kept.
func TestSchedule(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		p := &script{}
		s := setup{dir: dir, pools: []pool{{name: "a", provider: p}}}
		r := start(t, s)
		if next := r.mustSchedule("add", "pulse", "* * * * *", `,"headers":{"Sluice-Label-by":"pulse"}`); next != "2000-01-01T00:01:00Z" {
			t.Errorf("next %s", next)
		}
		time.Sleep(10*time.Minute + 30*time.Second)
		r.fired(p, "pulse", 1, 10)
		if m := r.history("pulse-20000101T000300Z")[0].Entry.Meta; m.Labels["by"] != "pulse" || m.Class != wire.Standard {
			t.Errorf("job of a firing: %+v", m)
		}
		r.stop() // at 10:30
		time.Sleep(5 * time.Minute)
		r = start(t, s) // at 15:30: 11 to 14 were missed, 15 comes late
		time.Sleep(time.Second * 90)
		r.fired(p, "pulse", 1, 17, 12, 13, 14, 11)
	})
}

// TestScheduleKept: what can be done to a schedule, and that it holds over a
// restart.
func TestScheduleKept(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		p := &script{}
		s := setup{dir: dir, pools: []pool{{name: "a", provider: p}}}
		r := start(t, s)
		r.mustSchedule("add", "one", "* * * * *", "")
		r.mustSchedule("add", "two", "30 * * * *", `,"zone":"Asia/Kathmandu"`) // UTC+5:45
		for fault, more := range map[string][3]string{
			"exists already":         {"one", "* * * * *", ""},
			"no route is called":     {"x", "* * * * *", `,"body":` + mustJSON([]byte(routeTo("nope")))},
			"is no schedule":         {"x", "every day", ""},
			"is not interactive":     {"x", "* * * * *", `,"class":"urgent"`},
			"the body is not a JSON": {"x", "* * * * *", `,"body":"aGVsbG8="`},
		} {
			if _, got := r.schedule("add", more[0], more[1], more[2]); !strings.Contains(got, fault) {
				t.Errorf("%v: %q, want %q", more, got, fault)
			}
		}
		time.Sleep(2*time.Minute + time.Second)
		r.mustSchedule("pause", "one", "", `,"paused":true`)
		time.Sleep(2 * time.Minute)
		r.stop()
		r = start(t, s)
		time.Sleep(2 * time.Minute) // 6:01
		r.fired(p, "one", 1, 2)
		if next := r.mustSchedule("pause", "one", "", ""); next != "2000-01-01T00:07:00Z" {
			t.Errorf("next %s", next)
		}
		time.Sleep(2 * time.Minute) // 8:01
		r.fired(p, "one", 1, 8, 3, 4, 5, 6)
		a := ask[struct{ Schedules []map[string]any }](r, r.subj.Admin("schedule.list"), "")
		if len(a.Schedules) != 2 || a.Schedules[0]["name"] != "one" || a.Schedules[1]["next"] != "2000-01-01T06:30:00+05:45" {
			t.Errorf("list: %v", a.Schedules)
		}
		r.mustSchedule("remove", "one", "", "")
		if _, fault := r.schedule("remove", "one", "", ""); !strings.Contains(fault, "has no schedule one") {
			t.Errorf("removed twice: %q", fault)
		}
		time.Sleep(37 * time.Minute) // 45:01, which is 06:30 in Kathmandu
		synctest.Wait()
		if r.steps("two-20000101T004500Z") != "running succeeded" {
			t.Errorf("two: %q", r.steps("two-20000101T004500Z"))
		}
		if p.count() != 5 {
			t.Errorf("%d calls, want 5", p.count())
		}
	})
}

// TestScheduleAfterCrash: the folder as a kill leaves it, at several moments
// around a firing: nothing fires twice, and what was missed fires late.
func TestScheduleAfterCrash(t *testing.T) {
	for _, after := range []time.Duration{-100 * time.Millisecond, 0, 50 * time.Millisecond, 300 * time.Millisecond, 5 * time.Second, 59 * time.Second} {
		t.Run(after.String(), func(t *testing.T) {
			copied := t.TempDir()
			bubble(t, func(t *testing.T, dir string) {
				p := &script{}
				s := setup{dir: dir, pools: []pool{{name: "a", provider: p}}}
				r := start(t, s)
				began := time.Now()
				r.mustSchedule("add", "pulse", "* * * * *", "")
				time.Sleep(5*time.Minute + after)
				if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
					t.Fatal(err)
				}
				ran := p.count()
				r.stop()
				p2 := &script{}
				s.dir, s.pools = copied, []pool{{name: "a", provider: p2}}
				r = start(t, s)
				time.Sleep(time.Until(began.Add(8*time.Minute + time.Second)))
				for m := 1; m <= 8; m++ {
					id := fmt.Sprintf("pulse-20000101T000%d00Z", m)
					if got := r.steps(id); !strings.HasSuffix(got, "succeeded") || strings.Count(got, "succeeded") != 1 {
						t.Errorf("%s: %q", id, got)
					}
				}
				if n := p2.count(); n+ran < 8 || n+ran > 9 {
					t.Errorf("%d calls before and %d after for 8 firings; only one that ran at the kill may be repeated", ran, n)
				}
			})
		})
	}
}
