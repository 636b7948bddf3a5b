package natsd

import (
	"crypto/rand"
	"fmt"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/sluicehq/sluice/sdk/wire"
)

// authorize adds the tenants as users, and one for our own parts, whose
// generated password it returns. Without tenants it does nothing.
func authorize(o *server.Options, cfg Config) (string, error) {
	if len(cfg.Tenants) == 0 {
		return "", nil
	}
	password := rand.Text()
	o.Users = []*server.User{{Username: internalUser, Password: password}}
	for _, t := range cfg.Tenants {
		if t.Key == "" {
			return "", fmt.Errorf("tenant %s: %w", t.Name, errNoKey)
		}
		o.Users = append(o.Users, &server.User{Username: t.Name, Password: t.Key, Permissions: permissions(cfg.Subjects, t.Name)})
	}
	return password, nil
}

// permissions are a tenant's: its own jobs, status, cancel, records and
// chunks. The inbox is its own too (client option: inbox prefix
// `_INBOX_<tenant>`), since a shared one would show other tenants' replies.
func permissions(s wire.Subjects, tenant string) *server.Permissions {
	ledger, chunks := s.Stream(wire.StreamLedger), s.Stream(wire.StreamChunks)
	return &server.Permissions{
		Publish: &server.SubjectPermission{Allow: []string{
			s.Jobs(tenant, ">"), s.Status(tenant, "*"), s.Cancel(tenant, "*"),
			"$JS.API.DIRECT.GET." + ledger + "." + s.Records(tenant, "*"),
			"$JS.API.DIRECT.GET." + chunks + "." + s.Chunks(tenant, "*"),
			"$JS.API.CONSUMER.CREATE." + chunks + ".*." + s.Chunks(tenant, "*"),
			"$JS.API.CONSUMER.CREATE." + ledger + ".*." + s.Records(tenant, "*"),
			"$JS.API.CONSUMER.MSG.NEXT." + chunks + ".*",
			"$JS.API.CONSUMER.MSG.NEXT." + ledger + ".*",
			"$JS.API.STREAM.INFO." + ledger, "$JS.API.STREAM.INFO." + chunks, "$JS.API.INFO",
		}},
		Subscribe: &server.SubjectPermission{Allow: []string{
			s.Records(tenant, "*"), s.Chunks(tenant, "*"), InboxPrefix(tenant) + ".>",
		}},
	}
}

// InboxPrefix is the inbox prefix that a tenant's NATS clients must use when
// tenants are configured.
func InboxPrefix(tenant string) string { return "_INBOX_" + tenant }
