package cron

import (
	"maps"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
	"github.com/sluicehq/sluice/sdk/wire"
)

// Headers of a schedule's definition, beside those of its job.
const (
	headerSpec   = "Sluice-Cron"
	headerZone   = "Sluice-Cron-Zone"
	headerPaused = "Sluice-Cron-Paused"
)

// Headers of the server's message schedules.
const (
	serverSchedule  = "Nats-Schedule"
	serverZone      = "Nats-Schedule-Time-Zone"
	serverTarget    = "Nats-Schedule-Target"
	serverScheduler = "Nats-Scheduler"     // on what has fired: the definition's subject
	serverNext      = "Nats-Schedule-Next" // on what has fired: when it will again
	serverRollup    = "Nats-Rollup"        // "sub": replaces what was on the subject
)

// MaxName bounds a schedule's name: a job ID has room for the time behind it.
const MaxName = 40

// Schedule is a job that is submitted again and again.
type Schedule struct {
	Tenant string     `json:"tenant"`
	Name   string     `json:"name"` // [A-Za-z0-9_-]{1,40}, unique within the tenant
	Class  wire.Class `json:"class"`
	// Spec is when: five cron fields (minute, hour, day of month, month, day of
	// week), or six with seconds in front, or @hourly, @daily, @weekly,
	// @monthly, @yearly, or "@every 90s" of at least a second.
	Spec   string `json:"cron"`
	Zone   string `json:"zone,omitempty"` // IANA name; default UTC; not for @every
	Paused bool   `json:"paused,omitempty"`
	// Headers are those of the job, as for a submission; Body is its request.
	Headers map[string]string `json:"headers,omitempty"`
	Body    []byte            `json:"body,omitempty"`
}

// times is when a schedule fires.
type times struct {
	every time.Duration // 0: by cron
	cron  cron.Schedule
	loc   *time.Location
}

var parser = cron.NewParser(cron.Second | cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Descriptor)

// spec is the schedule as the server wants it: with seconds.
func (s *Schedule) spec() string {
	if len(strings.Fields(s.Spec)) == 5 {
		return "0 " + s.Spec
	}
	return s.Spec
}

func fault(field, format string, args ...any) *wire.Error {
	return wire.Errorf(wire.CodeInvalidRequest, field, format, args...)
}

// times reads Spec and Zone.
func (s *Schedule) times() (*times, *wire.Error) {
	const hint = `for example "0 6 * * 1-5", "*/30 * * * * *", "@daily" or "@every 15m"`
	if every, ok := strings.CutPrefix(s.Spec, "@every "); ok {
		d, err := time.ParseDuration(every)
		switch {
		case err != nil || d < time.Second:
			return nil, fault("cron", "%.80q is not a duration of at least a second: %s", s.Spec, hint)
		case s.Zone != "":
			return nil, fault("zone", "a time zone means nothing to @every")
		}
		return &times{every: d, loc: time.UTC}, nil
	}
	loc, err := time.LoadLocation(s.Zone)
	if err != nil || s.Zone == "Local" {
		return nil, fault("zone", "%.80q is no time zone: an IANA name such as Europe/Berlin", s.Zone)
	}
	if strings.Contains(s.Spec, "TZ=") {
		return nil, fault("cron", "the time zone has a field of its own")
	}
	c, err := parser.Parse(s.spec())
	if err != nil {
		return nil, fault("cron", "%.80q is no schedule (%v): %s", s.Spec, err, hint)
	}
	t := &times{cron: c, loc: loc}
	if t.next(time.Now()).IsZero() {
		return nil, fault("cron", "%.80q never comes", s.Spec)
	}
	return t, nil
}

// next is the first time after a time; zero: there is none.
func (t *times) next(after time.Time) time.Time {
	if t.every > 0 {
		return after.Add(t.every)
	}
	return t.cron.Next(after.In(t.loc))
}

// before is the last time before one of its times; zero: there is none within
// nine years.
func (t *times) before(next time.Time) time.Time {
	if t.every > 0 {
		return next.Add(-t.every)
	}
	const day = 24 * time.Hour
	for _, back := range [...]time.Duration{time.Minute, time.Hour, 25 * time.Hour, 32 * day, 367 * day, 9 * 366 * day} {
		at := t.next(next.Add(-back - time.Second))
		if at.IsZero() || !at.Before(next) {
			continue
		}
		for {
			n := t.next(at)
			if n.IsZero() || !n.Before(next) {
				return at
			}
			at = n
		}
	}
	return time.Time{}
}

// Next is when the schedule fires after a time; zero: it is paused, or never
// does.
func (s *Schedule) Next(after time.Time) time.Time {
	t, err := s.times()
	if err != nil || s.Paused {
		return time.Time{}
	}
	return t.next(after)
}

// Check says what is wrong with a schedule, nil if nothing is.
func (s *Schedule) Check(now time.Time) *wire.Error {
	switch {
	case !wire.ValidName(s.Tenant):
		return fault("tenant", "a tenant must match [A-Za-z0-9_-]{1,64}")
	case !wire.ValidName(s.Name) || len(s.Name) > MaxName:
		return fault("name", "a schedule's name must match [A-Za-z0-9_-]{1,%d}", MaxName)
	case !s.Class.Valid():
		return fault("class", "%.80q is not interactive, standard or batch", s.Class)
	case s.Headers[wire.HeaderJobID] != "":
		return fault("headers", "a schedule's jobs have IDs of their own: <name>-<time>")
	}
	for name := range s.Headers {
		if !strings.HasPrefix(name, "Sluice-") || strings.HasPrefix(name, headerSpec) ||
			name == wire.HeaderAssignment || name == wire.HeaderEntry || name == wire.HeaderBatch {
			return fault("headers", "%.80q is no header of a schedule's job", name)
		}
	}
	if _, err := s.times(); err != nil {
		return err
	}
	_, err := s.job(s.header(), s.Body, now, 1, now)
	return err
}

// header is the job's and the definition's headers.
func (s *Schedule) header() map[string][]string {
	h := map[string][]string{headerSpec: {s.Spec}, headerZone: {s.Zone}}
	for k, v := range s.Headers {
		h[k] = []string{v}
	}
	return h
}

// Message is the definition as it is stored on [wire.Subjects.Cron]; it
// replaces what is there (I3).
func (s *Schedule) Message(subjects wire.Subjects) (subject string, header map[string][]string, body []byte) {
	h := s.header()
	h[serverTarget] = []string{subjects.Requeue(s.Tenant, s.Class)}
	h[serverRollup] = []string{"sub"}
	if s.Paused {
		h[headerPaused] = []string{"true"}
	} else {
		h[serverSchedule] = []string{s.spec()}
		if s.Zone != "" {
			h[serverZone] = []string{s.Zone}
		}
	}
	return subjects.Cron(s.Tenant, s.Name), h, s.Body
}

func get(h map[string][]string, name string) string {
	if v := h[name]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// Read is the inverse of Message; false: that is no definition.
func Read(subjects wire.Subjects, subject string, h map[string][]string, body []byte) (*Schedule, bool) {
	tenant, name, ok := subjects.SplitTenantJob(subject)
	_, class, target := subjects.SplitJobs(get(h, serverTarget))
	if !ok || !target || subject != subjects.Cron(tenant, name) || get(h, headerSpec) == "" {
		return nil, false
	}
	s := &Schedule{Tenant: tenant, Name: name, Class: class, Spec: get(h, headerSpec), Zone: get(h, headerZone),
		Paused: get(h, headerPaused) != "", Body: body}
	for k := range h {
		if strings.HasPrefix(k, "Sluice-") && !strings.HasPrefix(k, headerSpec) {
			if s.Headers == nil {
				s.Headers = map[string]string{}
			}
			s.Headers[k] = get(h, k)
		}
	}
	return s, true
}

// Fired reports whether a message on a requeue subject is a firing.
func Fired(subjects wire.Subjects, h map[string][]string) bool {
	by := get(h, serverScheduler)
	tenant, name, ok := subjects.SplitTenantJob(by)
	return ok && by == subjects.Cron(tenant, name)
}

// Job is the job of a firing (I1). A fault concerns the job, which has an ID
// even then.
func Job(subjects wire.Subjects, h map[string][]string, class wire.Class, body []byte, seq uint64, at time.Time) (wire.Job, *wire.Error) {
	tenant, name, _ := subjects.SplitTenantJob(get(h, serverScheduler))
	s := &Schedule{Tenant: tenant, Name: name, Class: class, Spec: get(h, headerSpec), Zone: get(h, headerZone)}
	fired := at
	if next, err := time.Parse(time.RFC3339Nano, get(h, serverNext)); err == nil {
		if t, fault := s.times(); fault == nil {
			if was := t.before(next); !was.IsZero() {
				fired = was
			}
		}
	}
	return s.job(h, body, fired, seq, at)
}

// job is the schedule's job for a time.
func (s *Schedule) job(h map[string][]string, body []byte, fired time.Time, seq uint64, at time.Time) (wire.Job, *wire.Error) {
	h = maps.Clone(h)
	h[wire.HeaderJobID] = []string{s.Name + "-" + fired.UTC().Format("20060102T150405Z")}
	return wire.ParseJob(s.Tenant, s.Class, h, body, seq, at)
}
