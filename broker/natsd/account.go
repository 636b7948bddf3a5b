package natsd

import (
	"errors"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/sluicehq/sluice/sdk/wire"
)

// service is something that a tenant may ask for.
type service struct {
	subject string
	answers server.ServiceRespType
}

// services are all that a tenant's messages reach outside of its account (I1).
func services(s wire.Subjects, tenant string) []service {
	const get = "$JS.API.DIRECT.GET." // the last message of a subject
	return []service{
		{s.Jobs(tenant, "*"), server.Singleton},
		{s.Status(tenant, "*"), server.Singleton},
		{s.Cancel(tenant, "*"), server.Singleton},
		{get + s.Stream(wire.StreamLedger) + "." + s.Records(tenant, "*"), server.Singleton},
		{get + s.Stream(wire.StreamChunks) + "." + s.Chunks(tenant, "*"), server.Singleton},
		{s.Replay(tenant, "*"), server.Streamed},
	}
}

// published are what a tenant hears from outside of its account.
func published(s wire.Subjects, tenant string) []string {
	return []string{s.Records(tenant, "*"), s.Chunks(tenant, "*")}
}

// replayWait is how long the server keeps the way back of a replay open after
// its last message, unless the reader has gone before.
const replayWait = time.Minute

// account gives the account of a tenant, or of one of its keys, made at the
// first call: an empty world with its services and what is published to it, each
// exported to this account only. What is submitted in a key's account comes out
// on the key's subject, whatever its sender says (I5). Accounts cannot be
// removed; without a user one is idle.
func account(srv *server.Server, s wire.Subjects, tenant, payer string) (*server.Account, error) {
	a, err := srv.RegisterAccount(payer)
	if errors.Is(err, server.ErrAccountExists) {
		return srv.LookupAccount(payer)
	}
	if err != nil {
		return nil, err
	}
	ours, only := srv.GlobalAccount(), []*server.Account{a}
	for _, x := range services(s, tenant) {
		to := x.subject
		if to == s.Jobs(tenant, "*") {
			to = s.Jobs(payer, "*")
		}
		if err := ours.AddServiceExportWithResponse(to, x.answers, only); err != nil {
			return nil, err
		}
		if err := a.AddServiceImport(ours, x.subject, to); err != nil {
			return nil, err
		}
	}
	if err := ours.SetServiceExportResponseThreshold(s.Replay(tenant, "*"), replayWait); err != nil {
		return nil, err
	}
	for _, subject := range published(s, tenant) {
		if err := ours.AddStreamExport(subject, only); err != nil {
			return nil, err
		}
		if err := a.AddStreamImport(ours, subject, ""); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// permissions say at once what would otherwise go nowhere. The account alone
// keeps tenants apart: permissions do not cover where a reply is sent (I2).
func permissions(s wire.Subjects, tenant string) *server.Permissions {
	p := &server.Permissions{
		Publish:   &server.SubjectPermission{},
		Subscribe: &server.SubjectPermission{Allow: append(published(s, tenant), "_INBOX.>", InboxPrefix(tenant)+".>")},
	}
	for _, x := range services(s, tenant) {
		p.Publish.Allow = append(p.Publish.Allow, x.subject)
	}
	return p
}

// InboxPrefix is an inbox prefix that a tenant's clients may use beside the
// usual one.
func InboxPrefix(tenant string) string { return "_INBOX_" + tenant }
