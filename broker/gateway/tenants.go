package gateway

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strings"

	"github.com/sluicehq/sluice/sdk/wire"
)

// headerTenant names the tenant where no keys are configured.
const headerTenant = "Sluice-Tenant"

// defaultTenant is whose job it is when nothing says so.
const defaultTenant = "default"

// tenants knows who may come in. It keeps salted hashes, not keys (I6).
type tenants struct {
	salt [sha256.Size]byte
	list []hashedTenant
}

type hashedTenant struct {
	caller
	hash [sha256.Size]byte
}

// caller is who a request comes from.
type caller struct {
	tenant string
	key    string // name of the tenant's key that proves it; "": its own
}

func newTenants(list []Tenant) *tenants {
	var salt [sha256.Size]byte
	_, _ = rand.Read(salt[:]) // never fails
	return saltedTenants(salt, list)
}

// saltedTenants keeps the salt, so that hashes of keys are still known.
func saltedTenants(salt [sha256.Size]byte, list []Tenant) *tenants {
	t := &tenants{salt: salt}
	for _, x := range list {
		t.list = append(t.list, hashedTenant{caller{x.Name, ""}, t.hash(x.Key)})
		for _, k := range x.Keys {
			t.list = append(t.list, hashedTenant{caller{x.Name, k.Name}, t.hash(k.Key)})
		}
	}
	return t
}

func (t *tenants) hash(key string) [sha256.Size]byte {
	return sha256.Sum256(append(t.salt[:], key...))
}

// open reports whether no key is asked for.
func (t *tenants) open() bool { return len(t.list) == 0 }

// of is the tenant that a request comes from.
func (t *tenants) of(r *http.Request) (string, *wire.Error) {
	c, err := t.caller(r)
	return c.tenant, err
}

// caller is the tenant that a request comes from, and its key. What the request
// itself says of a key's name counts for nothing.
func (t *tenants) caller(r *http.Request) (caller, *wire.Error) {
	if t.open() {
		name := r.Header.Get(headerTenant)
		if name == "" {
			return caller{tenant: defaultTenant}, nil
		}
		if !wire.ValidName(name) {
			return caller{}, wire.Errorf(wire.CodeInvalidHeader, headerTenant, "the header %s must match [A-Za-z0-9_-]{1,64}", headerTenant)
		}
		return caller{tenant: name}, nil
	}
	key := keyOf(r.Header)
	if key == "" {
		return caller{}, wire.Errorf(codeInvalidKey, "", "no key was given: send the header Authorization: Bearer <key>")
	}
	c, ok := t.find(key)
	if !ok {
		return caller{}, wire.Errorf(codeInvalidKey, "", "the key is not known here")
	}
	if h := r.Header.Get(headerTenant); h != "" && h != c.tenant {
		return caller{}, wire.Errorf(wire.CodePermission, headerTenant, "the key belongs to another tenant than the header %s names", headerTenant)
	}
	return c, nil
}

// find compares the key with every tenant's, in the same time whichever it is.
func (t *tenants) find(key string) (c caller, ok bool) {
	return t.findHash(t.hash(key))
}

func (t *tenants) findHash(hash [sha256.Size]byte) (c caller, ok bool) {
	for i := range t.list {
		if subtle.ConstantTimeCompare(hash[:], t.list[i].hash[:]) == 1 {
			c, ok = t.list[i].caller, true
		}
	}
	return c, ok
}

// keyOf takes the key out of the header that OpenAI's clients send, or
// Anthropic's.
func keyOf(h http.Header) string {
	scheme, key, ok := strings.Cut(h.Get("Authorization"), " ")
	if ok && strings.EqualFold(scheme, "Bearer") {
		return strings.TrimSpace(key)
	}
	return h.Get("X-Api-Key")
}
