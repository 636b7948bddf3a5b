package wire

import (
	"strconv"
	"strings"
)

// DefaultPrefix is the first token of every subject unless configured otherwise.
const DefaultPrefix = "sluice"

// Subjects names every subject and stream below one prefix. The zero value
// uses [DefaultPrefix]. Arguments must have passed their Valid function (I1).
type Subjects struct{ Prefix string }

func (s Subjects) prefix() string {
	if s.Prefix == "" {
		return DefaultPrefix
	}
	return s.Prefix
}

// join glues tokens below the prefix.
func (s Subjects) join(tokens ...string) string {
	return s.prefix() + "." + strings.Join(tokens, ".")
}

// Jobs is where clients publish jobs of a tenant and class; with a payer, where
// only Sluice's own parts do.
func (s Subjects) Jobs(tenant string, class Class) string {
	return s.join("jobs", tenant, string(class))
}

// payerMark stands between tenant and key. It is in no tenant's name, so nobody
// who may publish below its own name can name a key there (I1).
const payerMark = "="

// Payer stands in a jobs subject for a tenant and the name of one of its keys;
// for its own key, "", it is the tenant. Only Sluice's own parts publish there:
// the gateway, and the NATS server for a tenant that has logged in with the key.
func Payer(tenant, key string) string {
	if key == "" {
		return tenant
	}
	return tenant + payerMark + key
}

// SplitPayer is the inverse of Payer. What is neither's is the tenant.
func SplitPayer(payer string) (tenant, key string) {
	if tenant, key, ok := strings.Cut(payer, payerMark); ok && ValidName(key) {
		return tenant, key
	}
	return payer, ""
}

// KeyName is how budgets name a tenant's key: acme/ci, or acme for its own.
func KeyName(tenant, key string) string {
	if key == "" {
		return tenant
	}
	return tenant + "/" + key
}

// Requeue is where Sluice itself puts a job back: after a delay, for a retry,
// or out of the dead letters. Tenants have no publish right there.
func (s Subjects) Requeue(tenant string, class Class) string {
	return s.join("requeue", tenant, string(class))
}

// Backlog is where the dispatcher parks a tenant's jobs of a route that has no
// room, or with the tenant "*" a filter. Without a tenant it is where all of them were
// parked once.
func (s Subjects) Backlog(class Class, route, tenant string) string {
	if tenant == "" {
		return s.join("backlog", string(class), Token(route))
	}
	return s.join("backlog", string(class), Token(route), tenant)
}

// BacklogOf is the filter of a tenant's parked jobs.
func (s Subjects) BacklogOf(tenant string) string { return s.join("backlog", "*", "*", tenant) }

// BacklogAll is the filter of all parked jobs.
func (s Subjects) BacklogAll() string { return s.join("backlog", ">") }

// Records is the subject of one job's records, or with "*" or ">" a filter.
func (s Subjects) Records(tenant, job string) string { return s.join("records", tenant, job) }

// Ledger is where our own parts write one job's records. The stream stores
// them under Records, and publishes there only what it has stored: a record
// that was refused is never heard.
func (s Subjects) Ledger(tenant, job string) string { return s.join("ledger", tenant, job) }

// shadows stands for the tenant in the subjects of shadows' records. It is no
// tenant's name, so no tenant can hear them (I1).
const shadows = "shadow="

// LedgerOf is where our own parts write the records of a job, or of a shadow.
func (s Subjects) LedgerOf(m *Meta) string {
	if m.Shadow != "" {
		return s.Ledger(shadows, m.Tenant+"="+m.ID)
	}
	return s.Ledger(m.Tenant, m.ID)
}

// RecordsOf is where they are stored.
func (s Subjects) RecordsOf(m *Meta) string {
	if m.Shadow != "" {
		return s.Records(shadows, m.Tenant+"="+m.ID)
	}
	return s.Records(m.Tenant, m.ID)
}

// Chunks is the subject of one job's streamed answer.
func (s Subjects) Chunks(tenant, job string) string { return s.join("chunks", tenant, job) }

// Status is the request subject for a job's state and history.
func (s Subjects) Status(tenant, job string) string { return s.join("status", tenant, job) }

// Cancel is the request subject that cancels a job.
func (s Subjects) Cancel(tenant, job string) string { return s.join("cancel", tenant, job) }

// Replay is the request subject for a job's stored chunks or records.
func (s Subjects) Replay(tenant, job string) string { return s.join("replay", tenant, job) }

// Work is the queue of one pool.
func (s Subjects) Work(pool string) string { return s.join("work", Token(pool)) }

// WorkAll is the filter of all pools' queues.
func (s Subjects) WorkAll() string { return s.join("work", "*") }

// pin stands for a tenant, or for a kind of subject, in those of messages that
// pin a queue. It is no tenant's name.
const pin = "pin="

// Pin is where the message stands that pins a queue with a filter (see
// ledger.OpenQueue), and the filter that gives out that message, too.
func (s Subjects) Pin(filter string) (subject, widened string) {
	if strings.Contains(filter, "*") {
		return strings.ReplaceAll(filter, "*", pin), filter
	}
	queue := filter[strings.LastIndexByte(filter, '.')+1:]
	return s.join(pin, queue), s.join("*", queue)
}

// IsPin reports whether a message of a queue is the one that pins it: whoever
// is given it leaves it unacknowledged.
func (s Subjects) IsPin(subject string) bool {
	return strings.Contains(subject, "."+pin+".") || strings.HasSuffix(subject, "."+pin)
}

// Pins are the filters of the messages that pin the queues of a stream; none
// for a kind that has no queues of its own.
func (s Subjects) Pins(kind string) []string {
	switch kind {
	case StreamJobs:
		return []string{s.join("jobs", pin, "*"), s.join("backlog", "*", "*", pin)}
	case StreamSched:
		return []string{s.join("requeue", pin, "*")}
	case StreamWork:
		return []string{s.join(pin, "*")}
	}
	return nil
}

// Sched holds the message that brings a delayed job back.
func (s Subjects) Sched(tenant, job string) string { return s.join("sched", tenant, job) }

// Cron holds a schedule, by tenant and name.
func (s Subjects) Cron(tenant, name string) string { return s.join("cron", tenant, name) }

// Dead holds the dead letter of a job.
func (s Subjects) Dead(tenant, job string) string { return s.join("dead", tenant, job) }

// Webhook is where the delivery of a job's webhook waits, and WebhookLog where
// each try of it is noted.
func (s Subjects) Webhook(tenant, job string) string { return s.join("webhook", tenant, job) }

// WebhookLog is described at Webhook.
func (s Subjects) WebhookLog(tenant, job string) string { return s.join("webhooklog", tenant, job) }

// Abort tells whichever worker runs the job to look at its ledger subject.
func (s Subjects) Abort(tenant, job string) string { return s.join("abort", tenant, job) }

// Holds is where routers write what they set aside of budgets, and HoldsState
// the sum of all that from time to time.
func (s Subjects) Holds() string { return s.join("holds", "taken") }

// HoldsState is the subject of those sums.
func (s Subjects) HoldsState() string { return s.join("holds", "state") }

// BudgetEvents is where budgets raise events: one of a kind ("spent", "pace").
func (s Subjects) BudgetEvents(kind string) string { return s.join("events", "budget", kind) }

// AlertEvents is where alerts are told: "raised" and "cleared".
func (s Subjects) AlertEvents(kind string) string { return s.join("events", "alert", kind) }

// Admin is the request subject of an administrative operation.
func (s Subjects) Admin(op string) string { return s.join("admin", op) }

// Captures holds what the decisions of a run of a router saw, by period.
func (s Subjects) Captures(run, period string) string { return s.join("captures", run, period) }

// Files holds the parts of a stored file, or the results of a batch, in order.
func (s Subjects) Files(tenant, id string) string { return s.join("files", tenant, id) }

// Bundles holds the lines of a bundle, one a job; with "*" it is a filter.
func (s Subjects) Bundles(id, tenant, job string) string { return s.join("bundles", id, tenant, job) }

// Texts holds what was said in a job's attempts, on its way to ClickHouse, and
// orders to delete such; job "" is for those of a whole tenant.
func (s Subjects) Texts(tenant, job string) string { return s.join("texts", tenant, Token(job)) }

// TextsAll is the filter of all of them.
func (s Subjects) TextsAll() string { return s.join("texts", "*", "*") }

// Stream is the name of one of the JetStream streams or KV buckets, for
// example SLUICE_JOBS.
func (s Subjects) Stream(kind string) string {
	return strings.ToUpper(strings.ReplaceAll(s.prefix(), ".", "_")) + "_" + kind
}

// Kinds of streams and KV buckets, as given to [Subjects.Stream].
const (
	StreamJobs       = "JOBS"
	StreamSched      = "SCHED"
	StreamWork       = "WORK"
	StreamLedger     = "LEDGER"
	StreamDead       = "DEAD"
	StreamChunks     = "CHUNKS"
	StreamCaptures   = "CAPTURES"
	StreamFiles      = "FILES"
	StreamBundles    = "BUNDLES"    // lines of bundles
	StreamWebhooks   = "WEBHOOKS"   // deliveries that wait
	StreamWebhookLog = "WEBHOOKLOG" // their tries
	StreamHolds      = "HOLDS"      // what is set aside of budgets
	StreamTexts      = "TEXTS"      // texts that are not in ClickHouse yet
	BucketNodes      = "NODES"      // presence of processes, by instance
	BucketPools      = "POOLS"      // pools that are drained, by name
	BucketRoster     = "ROSTER"     // pools that were added while running, and models that were found
	BucketProbes     = "PROBES"     // how the last probe of each pool ended, and who makes them
	BucketQuality    = "QUALITY"    // reported quality, by pool and model
	BucketLimits     = "LIMITS"     // budgets set while running, and which events they have raised
	BucketLeases     = "LEASES"     // who does what only one may do
	BucketAlerts     = "ALERTS"     // alerts that are raised, or were a while ago
	BucketBatches    = "BATCHES"    // what is known of files and batches
	BucketBundles    = "BUNDLES"    // what is known of bundles
	BucketResponses  = "RESPONSES"  // what responses in the background were asked with
	BucketRollouts   = "ROLLOUTS"   // how far each rollout is
)

// SplitTenantJob takes tenant and job out of a records, chunks, status,
// cancel, replay, sched, cron, dead or abort subject; ok is false for any other shape.
func (s Subjects) SplitTenantJob(subject string) (tenant, job string, ok bool) {
	rest, ok := strings.CutPrefix(subject, s.prefix()+".")
	if !ok {
		return "", "", false
	}
	if _, rest, ok = strings.Cut(rest, "."); !ok {
		return "", "", false
	}
	tenant, job, ok = strings.Cut(rest, ".")
	return tenant, job, ok && tenant != "" && job != "" && !strings.Contains(job, ".")
}

// SplitJobs takes tenant (in a jobs subject the payer) and class out of a jobs
// or requeue subject; what pins a queue there is nobody's.
func (s Subjects) SplitJobs(subject string) (tenant string, class Class, ok bool) {
	tenant, c, ok := s.SplitTenantJob(subject)
	return tenant, Class(c), ok && tenant != pin
}

// Token turns any name into one literal subject token: letters, digits, '-'
// and '_' stay, every other byte becomes '=' and two hex digits, so different
// names stay different.
func Token(name string) string {
	clean := true
	for i := 0; i < len(name); i++ {
		if !tokenByte(name[i]) {
			clean = false
			break
		}
	}
	if clean && name != "" {
		return name
	}
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := 0; i < len(name); i++ {
		if c := name[i]; tokenByte(c) {
			b.WriteByte(c)
		} else {
			b.WriteByte('=')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		}
	}
	if b.Len() == 0 {
		return "="
	}
	return b.String()
}

func tokenByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-'
}

// ValidName reports whether a tenant or job ID has the form
// [A-Za-z0-9_-]{1,64} (I1).
func ValidName(name string) bool {
	if name == "" || len(name) > 64 {
		return false
	}
	for i := 0; i < len(name); i++ {
		if !tokenByte(name[i]) {
			return false
		}
	}
	return true
}

// SplitBacklog takes class, route and tenant, if it has one, out of a backlog
// subject.
func (s Subjects) SplitBacklog(subject string) (class Class, route, tenant string, ok bool) {
	rest, ok := strings.CutPrefix(subject, s.prefix()+".backlog.")
	token := strings.Split(rest, ".")
	if len(token) == 3 {
		tenant = token[2]
		ok = ok && ValidName(tenant)
	}
	if !ok || len(token) < 2 || len(token) > 3 {
		return "", "", "", false
	}
	class = Class(token[0])
	route, ok = untoken(token[1])
	return class, route, tenant, ok && class.Valid()
}

// untoken is the inverse of Token.
func untoken(token string) (string, bool) {
	if !strings.Contains(token, "=") {
		return token, true
	}
	var b strings.Builder
	for i := 0; i < len(token); i++ {
		if token[i] != '=' {
			b.WriteByte(token[i])
			continue
		}
		if i+2 >= len(token) {
			return "", false
		}
		n, err := strconv.ParseUint(token[i+1:i+3], 16, 8)
		if err != nil {
			return "", false
		}
		b.WriteByte(byte(n))
		i += 2
	}
	return b.String(), true
}
