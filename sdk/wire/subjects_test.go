package wire

import (
	"strings"
	"testing"
)

func TestSubjects(t *testing.T) {
	var s Subjects
	p := Subjects{Prefix: "a.b"}
	for got, want := range map[string]string{
		s.Jobs("acme", Batch):                     "sluice.jobs.acme.batch",
		s.Records("acme", "j1"):                   "sluice.records.acme.j1",
		s.Work("gpt-4.1 eu"):                      "sluice.work.gpt-4=2E1=20eu",
		s.Stream(StreamLedger):                    "SLUICE_LEDGER",
		p.Stream(StreamLedger):                    "A_B_LEDGER",
		p.Cancel("acme", "j1"):                    "a.b.cancel.acme.j1",
		s.Backlog(Interactive, "gpt-4.1", "acme"): "sluice.backlog.interactive.gpt-4=2E1.acme",
		s.Backlog(Batch, "chat", "*"):             "sluice.backlog.batch.chat.*",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	for subject, want := range map[string][3]string{
		"sluice.records.acme.j1": {"acme", "j1", "ok"}, "sluice.records.acme": {}, "sluice.records.acme.j1.x": {}, "other.records.acme.j1": {},
		"sluice.records..j1": {}, "sluice.records.acme.": {}, "sluice": {}, "": {},
	} {
		tenant, job, ok := s.SplitTenantJob(subject)
		if ok != (want[2] == "ok") || ok && (tenant != want[0] || job != want[1]) {
			t.Errorf("%q: %q %q %t", subject, tenant, job, ok)
		}
	}
	if tenant, job, ok := p.SplitTenantJob("a.b.status.t.j"); !ok || tenant != "t" || job != "j" {
		t.Error("prefix of two tokens")
	}
	if class, route, tenant, ok := s.SplitBacklog(s.Backlog(Batch, "gpt-4.1 ü=", "acme")); !ok || class != Batch || route != "gpt-4.1 ü=" || tenant != "acme" {
		t.Errorf("backlog: %q %q %q %t", class, route, tenant, ok)
	}
}

// FuzzToken (I1): any name is one literal token, and no two names share one.
func FuzzToken(f *testing.F) {
	f.Add("a.b", "a=2Eb")
	f.Add("", "=")
	f.Add("*", ">")
	f.Fuzz(func(t *testing.T, a, b string) {
		x, y := Token(a), Token(b)
		if x == "" || strings.ContainsAny(x, ".*> \t\r\n\x00") {
			t.Fatalf("Token(%q) = %q is no literal token", a, x)
		}
		if (x == y) != (a == b) {
			t.Fatalf("%q and %q are %q and %q", a, b, x, y)
		}
		if ValidName(a) && x != a {
			t.Fatalf("a valid name changed: %q to %q", a, x)
		}
		if back, ok := untoken(x); a != "" && (!ok || back != a) {
			t.Fatalf("%q comes back as %q (%t)", a, back, ok)
		}
	})
}

func TestValidName(t *testing.T) {
	for name, want := range map[string]bool{"a": true, "A-z_9": true, strings.Repeat("x", 64): true, strings.Repeat("x", 65): false,
		"": false, "a.b": false, "*": false, ">": false, "a b": false, "é": false, "a\n": false, "$G": false} {
		if ValidName(name) != want {
			t.Errorf("ValidName(%q) is %t", name, !want)
		}
	}
}
