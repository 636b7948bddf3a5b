package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
)

func TestScheduleCommand(t *testing.T) {
	tm := startBroker(t, "")
	file := filepath.Join(t.TempDir(), "request.json")
	if err := os.WriteFile(file, []byte(`{"messages":[{"role":"user","content":"a b"}],"max_completion_tokens":3}`), 0o600); err != nil {
		t.Fatal(err)
	}
	wants(t, tm.ok("schedule", "add", "pulse", "--cron", "@every 1s", "--class", "batch", "--label", "by=pulse", "hello"), "schedule  pulse", "@every 1s", "batch")
	wants(t, tm.ok("schedule", "add", "nightly", "--cron", "0 3 * * *", "--zone", "Europe/Berlin", "--file", file), "Europe/Berlin")
	wants(t, tm.ok("schedule", "list"), "SCHEDULE", "nightly", "pulse", "0 3 * * *", "Europe/Berlin")
	wants(t, tm.ok("schedule", "show", "nightly"), `"model": "chat"`, `"max_completion_tokens": 3`)
	id := ""
	for end := time.Now().Add(time.Minute); id == "" && time.Now().Before(end); {
		var jobs struct{ Jobs []wire.Answer }
		tm.json(&jobs, "job", "list", "--status", "succeeded")
		for _, j := range jobs.Jobs {
			if strings.HasPrefix(j.Job, "pulse-20") && j.Class == wire.Batch {
				id = j.Job
			}
		}
	}
	if id == "" {
		t.Fatal("no job of the schedule within a minute")
	}
	wants(t, tm.ok("schedule", "pause", "pulse"), "paused")
	wants(t, tm.ok("schedule", "list"), "paused")
	var one struct {
		Schedule schedule
	}
	if tm.json(&one, "schedule", "show", "pulse"); !one.Schedule.Paused || one.Schedule.Headers["Sluice-Label-by"] != "pulse" || len(one.Schedule.Body) == 0 {
		t.Errorf("got %+v", one)
	}
	tm.ok("schedule", "resume", "pulse")
	tm.ok("schedule", "remove", "pulse")
	tm.ok("schedule", "add", "nightly", "--cron", "0 4 * * *", "--replace", "hello")
	for want, args := range map[string][]string{
		"exists already":    {"schedule", "add", "nightly", "--cron", "0 3 * * *", "x"},
		"is no schedule":    {"schedule", "add", "x", "--cron", "daily", "x"},
		"no schedule pulse": {"schedule", "show", "pulse"},
	} {
		if r := tm.run(args...); r.code != 1 || !strings.Contains(r.err, want) {
			t.Errorf("%v: %+v, want %q", args, r, want)
		}
	}
	if r := tm.run("schedule", "add"); r.code != 2 {
		t.Errorf("without a name: %+v", r)
	}
}
