package config

import (
	"fmt"
	"net"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sluicehq/sluice/sdk/wire"
)

// validator checks what decoding alone cannot: bounds and relations.
type validator struct {
	*decoder
	c   *Config
	src Sources
}

func (v *validator) run() {
	v.secrets(reflect.ValueOf(v.c).Elem(), "")
	v.servers()
	v.listeners()
	v.http()
	v.webhooks()
	v.alerts()
	v.layout()
	v.bounds()
	v.pools()
	v.routes()
	v.rules()
	v.versions()
	v.budgets()
	v.tenants()
}

// at is the key of a list's element.
func at(key string, i int) string { return key + "[" + strconv.Itoa(i) + "]" }

// bad reports a fault of a key's value, unless decoding has done so already.
// value is what is shown where nobody gave the key.
func (v *validator) bad(key, value, bound string) {
	o, ok := v.lookup(key)
	if ok && o.where == "" {
		return
	}
	if ok && o.text != "" {
		value = o.text
	}
	v.fault(o, key, value, bound)
}

// lookup finds where a key, or else the nearest key around it, was given;
// exact is true also below something that could not be decoded.
func (v *validator) lookup(key string) (o origin, exact bool) {
	o, exact = v.at[key]
	for near := key; !exact; {
		i := strings.LastIndexAny(near, ".[")
		if i < 0 {
			return origin{where: "default"}, false
		}
		near = near[:i]
		if up, ok := v.at[near]; ok {
			up.text = ""
			return up, up.where == ""
		}
	}
	return o, exact
}

func (v *validator) warn(format string, args ...any) {
	v.c.Warnings = append(v.c.Warnings, fmt.Sprintf(format, args...))
}

// secrets resolves every secret and URL below a value.
func (v *validator) secrets(val reflect.Value, key string) {
	switch p := val.Addr().Interface().(type) {
	case *Secret:
		v.resolve(p, key, false)
		return
	case *URL:
		v.resolve(&p.s, key, true)
		return
	}
	switch val.Kind() {
	case reflect.Struct:
		for i, name := range fieldNames(val.Type()) {
			if name != "" {
				v.secrets(val.Field(i), join(key, name))
			}
		}
	case reflect.Slice:
		for i := range val.Len() {
			v.secrets(val.Index(i), at(key, i))
		}
	}
}

func (v *validator) resolve(s *Secret, key string, isURL bool) {
	if s.IsZero() {
		return
	}
	if s.literal() && !isURL {
		if o, _ := v.lookup(key); !strings.HasPrefix(o.where, "SLUICE_") {
			v.warn("%s: %s is written out: use env:NAME or file:PATH", o.where, key)
		}
	}
	err := s.resolve(v.src.lookup)
	switch {
	case err == nil:
	case s.source == passwordVariable && key == "clickhouse.embedded.password":
		*s = Secret{}
	case v.src.Client && !isURL:
		s.value = ""
	default:
		o, _ := v.lookup(key)
		o.text = ""
		v.fault(o, key, "", err.Error())
	}
}

// servers checks what is used: an external server or the embedded one.
func (v *validator) servers() {
	v.urls("nats.url", v.c.NATS.URL, "nats", "tls", "ws", "wss")
	if !strings.Contains(v.c.ClickHouse.DSN.Reveal(), ",") {
		v.urls("clickhouse.dsn", v.c.ClickHouse.DSN, "clickhouse", "http", "https")
	} else {
		v.bad("clickhouse.dsn", mask, "must be one address")
	}
	v.either("nats.url", v.c.NATS.URL, "nats.embedded")
	v.either("clickhouse.dsn", v.c.ClickHouse.DSN, "clickhouse.embedded")
	ch := v.c.ClickHouse
	if !ch.DSN.IsZero() && ch.Embedded.Enabled {
		v.bad("clickhouse.embedded.enabled", "true", "contradicts clickhouse.dsn: an external server is used, or the embedded engine, not both")
	}
	if ch.DSN.IsZero() && !ch.Embedded.Enabled {
		v.warn("no ClickHouse is configured: records are kept for %s and then lost to analytics", v.c.Records.Retention)
	}
	if !v.c.NATS.URL.IsZero() && len(v.c.Tenants) > 0 {
		v.warn("with an external NATS (nats.url), its own accounts must keep tenants apart: tenants are not enforced there")
	}
	v.replicas()
	prefix := strings.Split(v.c.SubjectPrefix, ".")
	if len(v.c.SubjectPrefix) > 64 || slices.ContainsFunc(prefix, func(t string) bool { return !wire.ValidName(t) }) {
		v.bad("subject_prefix", v.c.SubjectPrefix, "must be at most 64 bytes of tokens [A-Za-z0-9_-] with dots between them")
	}
	if v.c.DataDir == "" || strings.ContainsRune(v.c.DataDir, 0) {
		v.bad("data_dir", v.c.DataDir, "must name a directory")
	}
}

// replicas checks how often streams are kept: a majority of an even number is
// no safer than one of the odd number below.
func (v *validator) replicas() {
	switch n := v.c.NATS.Replicas; {
	case n != 1 && n != 3 && n != 5:
		v.bad("nats.replicas", strconv.Itoa(n), "must be 1, 3 or 5")
	case n > 1 && v.c.NATS.URL.IsZero():
		v.bad("nats.replicas", strconv.Itoa(n), "needs a cluster of so many servers (nats.url): the embedded server is one")
	}
}

// either reports a URL whose embedded counterpart is set up beside it, in the
// same file. A variable or flag that names a URL simply wins over the file.
func (v *validator) either(key string, u URL, embedded string) {
	from, ok := v.at[key]
	if u.IsZero() || !ok || from.line == 0 {
		return
	}
	for k, o := range v.at {
		if o.line > 0 && strings.HasPrefix(k, embedded+".") && k != embedded+".enabled" {
			o.text = ""
			v.fault(o, k, "", "contradicts "+key+": an external server is used, or the embedded one, not both")
		}
	}
}

func (v *validator) urls(key string, u URL, schemes ...string) {
	if u.s.value == "" { // unset, or a fault already
		return
	}
	for one := range strings.SplitSeq(u.s.value, ",") {
		p, err := url.Parse(strings.TrimSpace(one))
		if err != nil || p.Hostname() == "" || !slices.Contains(schemes, p.Scheme) {
			o, _ := v.lookup(key)
			if o.text = maskURL(strings.TrimSpace(one)); !u.s.literal() || u.String() == mask {
				o.text = mask
			}
			v.fault(o, key, o.text, "must be "+strings.Join(schemes, ":// or ")+"://host:port")
		}
	}
}

// listeners checks the addresses of what is embedded.
func (v *validator) listeners() {
	taken := make(map[string]string)
	for _, l := range []struct {
		key, addr string
		used      bool
	}{
		{"nats.embedded.listen", v.c.NATS.Embedded.Listen, v.c.NATS.URL.IsZero()},
		{"clickhouse.embedded.listen", v.c.ClickHouse.Embedded.Listen, v.c.ClickHouse.Embedded.Enabled},
		{"http.listen", v.c.HTTP.Listen, true},
	} {
		host, port, err := net.SplitHostPort(l.addr)
		n, perr := strconv.ParseUint(port, 10, 16)
		switch {
		case err != nil || perr != nil:
			v.bad(l.key, l.addr, "must be host:port, with a port from 0 (any free one) to 65535")
		case !l.used:
		case !loopback(host) && len(v.c.Tenants) == 0:
			v.bad(l.key, l.addr, "must be a loopback address such as 127.0.0.1:"+port+
				" while no tenants are configured, because nobody needs a key")
		case n > 0 && taken[l.addr] != "":
			v.bad(l.key, l.addr, "is taken by "+taken[l.addr])
		default:
			taken[l.addr] = l.key
		}
	}
}

func (v *validator) webhooks() {
	w := v.c.Webhooks
	v.duration("webhooks.timeout", w.Timeout, time.Second, time.Minute)
	v.duration("webhooks.retry_for", w.RetryFor, time.Minute, 7*day)
	if s := w.Secret.Reveal(); s != "" && len(s) < 16 {
		v.bad("webhooks.secret", mask, "must have at least 16 bytes, since others could guess it")
	}
}

// http checks what else the gateway can be told.
func (v *validator) http() {
	h := v.c.HTTP
	v.number("http.max_body", h.MaxBody, 1<<10, wire.MaxBody)
	v.number("http.max_in_flight", int64(h.MaxInFlight), 1, 1_000_000)
	v.duration("http.timeout", h.Timeout, 0, day)
	if (h.TLS.Cert == "") != (h.TLS.Key == "") {
		v.bad("http.tls", "", "must have both cert and key, or neither")
	}
	for i, o := range h.Origins {
		if u, err := url.Parse(o); err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || o != u.Scheme+"://"+u.Host {
			v.bad(at("http.origins", i), o, "must be an origin such as https://app.example.com, without a path")
		}
	}
}

const day = 24 * time.Hour

func (v *validator) bounds() {
	w := v.c.Workers
	v.duration("workers.ack_wait", w.AckWait, time.Second, time.Hour)
	v.duration("workers.retry_backoff", w.RetryBackoff, time.Millisecond, time.Hour)
	v.duration("workers.drain", w.Drain, time.Millisecond, day)
	v.duration("analytics.flush_interval", v.c.Analytics.FlushInterval, time.Millisecond, time.Hour)
	v.duration("records.retention", v.c.Records.Retention, time.Second, 366*day)
	if n := v.c.NATS.Embedded.MaxStore; n != 0 {
		v.number("nats.embedded.max_store", n, 256<<20, 1<<60)
	}
	if s := v.c.NATS.Embedded.Sync.Every(); s != 0 {
		v.duration("nats.embedded.sync", s, time.Millisecond, time.Hour)
	}
	v.number("workers.max_attempts", int64(w.MaxAttempts), 1, 100)
	v.share("records.captures", v.c.Records.Captures, 1)
	v.number("workers.retry_minimum", int64(w.RetryMinimum), 1, 1_000_000)
	if w.RetryBudget <= 0 || w.RetryBudget > 10 {
		v.bad("workers.retry_budget", fmt.Sprint(w.RetryBudget), "must be above 0 and at most 10")
	}
	if r := v.c.Records.Retention; r >= time.Second && r < 2*w.AckWait {
		v.bad("records.retention", r.String(), fmt.Sprintf(
			"must be at least twice workers.ack_wait (%s), or the claim of a running job is forgotten", w.AckWait))
	}
}

func (v *validator) duration(key string, d, low, high time.Duration) {
	if d < low || d > high {
		v.bad(key, d.String(), fmt.Sprintf("must be from %s to %s", short(low), short(high)))
	}
}

// short is a duration without its zero parts.
func short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	return strings.TrimSuffix(s, "h0m") + map[bool]string{true: "h", false: ""}[strings.HasSuffix(s, "h0m")]
}

func (v *validator) number(key string, n, low, high int64) {
	if n < low || n > high {
		v.bad(key, strconv.FormatInt(n, 10), fmt.Sprintf("must be from %d to %d", low, high))
	}
}

// name checks a name that becomes a subject token.
func (v *validator) name(key, name string) {
	if !wire.ValidName(name) {
		v.bad(key, name, "must match [A-Za-z0-9_-]{1,64}")
	}
}

// text checks a free name or value of at most limit bytes.
func (v *validator) text(key, s string, least, limit int) {
	bad := len(s) < least || len(s) > limit || !utf8.ValidString(s)
	for _, r := range s {
		bad = bad || r < ' ' || r == 0x7f
	}
	if bad {
		v.bad(key, s, fmt.Sprintf("must be %d to %d bytes of printable text", least, limit))
	}
}

// oneOf checks a word against a list; an empty list allows any.
func (v *validator) oneOf(key, word string, words []string) {
	if len(words) > 0 && !slices.Contains(words, word) {
		v.bad(key, word, "must be one of "+strings.Join(words, ", "))
	}
}
