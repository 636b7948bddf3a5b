package natsd

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/sluicehq/sluice/sdk/wire"
)

// internalUser is how our own parts log in when there are tenants.
const internalUser = "$sluice"

// loginWait is how long a client that comes early waits for the accounts.
const loginWait = time.Second

// logins says who may come in, and into which account. It implements the
// server's own interface for that, so that tenants come and go without the
// server's configuration being loaded anew, which would take everybody's
// imports away for a moment.
type logins struct {
	subjects wire.Subjects
	ready    chan struct{} // closed once users is set

	mu    sync.RWMutex
	users map[string][]login
}

// login is one key of a user, and the account that it opens. It holds a hash of
// the key, not the key.
type login struct {
	hash [sha256.Size]byte
	user *server.User
}

func newLogin(key string, account *server.Account, p *server.Permissions) login {
	return login{hash: sha256.Sum256([]byte(key)), user: &server.User{Account: account, Permissions: p}}
}

// Check lets a client in, or not. The read lock is held until the client
// belongs to its account: who replaces users then sees it there.
func (l *logins) Check(c server.ClientAuthentication) bool {
	select {
	case <-l.ready:
	case <-time.After(loginWait):
		return false
	}
	o := c.GetOpts()
	hash := sha256.Sum256([]byte(o.Password))
	l.mu.RLock()
	defer l.mu.RUnlock()
	var user *server.User
	for _, u := range l.users[o.Username] { // all of them, whichever it is
		if subtle.ConstantTimeCompare(hash[:], u.hash[:]) == 1 {
			user = u.user
		}
	}
	if user == nil {
		return false
	}
	c.RegisterUser(user)
	return true
}

// replace makes the tenants those of list, and disconnects every client that
// could not log in as it did any more (I3).
func (l *logins) replace(srv *server.Server, password string, list []Tenant) error {
	users := map[string][]login{internalUser: {newLogin(password, srv.GlobalAccount(), nil)}}
	hashes := map[string][sha256.Size]byte{} // by account
	for _, t := range list {
		if !wire.ValidName(t.Name) {
			return fmt.Errorf("tenant %.80q must match [A-Za-z0-9_-]{1,64}", t.Name)
		}
		if _, twice := users[t.Name]; twice {
			return fmt.Errorf("tenant %s is there twice", t.Name)
		}
		for _, k := range append([]Key{{Key: t.Key}}, t.Keys...) {
			payer := wire.Payer(t.Name, k.Name)
			switch _, twice := hashes[payer]; {
			case k.Key == "":
				return fmt.Errorf("tenant %s: %w", t.Name, errNoKey)
			case twice || k.Name != "" && !wire.ValidName(k.Name):
				return fmt.Errorf("tenant %s: the name of a key, %.80q, must match [A-Za-z0-9_-]{1,64} and be there once", t.Name, k.Name)
			}
			a, err := account(srv, l.subjects, t.Name, payer)
			if err != nil {
				return fmt.Errorf("tenant %s: %w", t.Name, err)
			}
			login := newLogin(k.Key, a, permissions(l.subjects, t.Name))
			users[t.Name], hashes[payer] = append(users[t.Name], login), login.hash
		}
	}
	l.mu.Lock()
	old := l.users
	l.users = users
	l.mu.Unlock()
	for _, logins := range old {
		for _, was := range logins {
			if name := was.user.Account.GetName(); hashes[name] != was.hash && was.user.Account != srv.GlobalAccount() {
				disconnect(srv, name)
			}
		}
	}
	return nil
}

// disconnect ends all connections of an account.
func disconnect(srv *server.Server, account string) {
	const most = 1000
	for range most { // each look shows a part of many
		z, err := srv.Connz(&server.ConnzOptions{Account: account})
		if err != nil || len(z.Conns) == 0 {
			return
		}
		for _, c := range z.Conns {
			_ = srv.DisconnectClientByID(c.Cid) // fails for one that has left
		}
	}
}

var errNoKey = errors.New("a tenant without a key cannot log in to NATS")
