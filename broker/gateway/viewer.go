package gateway

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
)

// Roles of those who look at the dashboard and the administrative interface.
const (
	roleAdmin  = "admin"  // sees every tenant, requeues, drains
	roleViewer = "viewer" // sees its own tenant (without tenants: all); changes nothing but its own jobs
)

// viewer is who asks the administrative interface.
type viewer struct {
	tenant string // "": every tenant's things
	role   string
}

const (
	sessionCookie = "sluice_session"
	sessionTime   = 12 * time.Hour
	maxSessions   = 1000
	maxLogin      = 8 << 10 // bytes of a log-in
)

type hash = [sha256.Size]byte

// sessions are log-ins of browsers, in memory: a restart ends them. A session
// stands for the hash of the key that it was opened with, and ends when that
// key is no longer one.
type sessions struct {
	mu   sync.Mutex
	list map[hash]session // by the hash of the cookie
}

type session struct {
	key   hash
	until time.Time
}

func (s *sessions) add(key hash, now time.Time) string {
	token := rand.Text()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.list == nil {
		s.list = map[hash]session{}
	}
	for len(s.list) >= maxSessions { // the one that ends first makes room
		var oldest hash
		first := time.Time{}
		for h, x := range s.list {
			if first.IsZero() || x.until.Before(first) {
				oldest, first = h, x.until
			}
		}
		delete(s.list, oldest)
	}
	s.list[sha256.Sum256([]byte(token))] = session{key, now.Add(sessionTime)}
	return token
}

// of is the hash of the key that the request's session was opened with.
func (s *sessions) of(r *http.Request, now time.Time) (hash, bool) {
	c, err := r.Cookie(sessionCookie)
	if err != nil {
		return hash{}, false
	}
	h := sha256.Sum256([]byte(c.Value))
	s.mu.Lock()
	defer s.mu.Unlock()
	x, ok := s.list[h]
	if ok && now.After(x.until) {
		delete(s.list, h)
		ok = false
	}
	return x.key, ok
}

func (s *sessions) end(r *http.Request) {
	if c, err := r.Cookie(sessionCookie); err == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.list, sha256.Sum256([]byte(c.Value)))
	}
}

// known says who has the key with this hash.
func (g *Gateway) known(key hash) (viewer, bool) {
	if g.admin != nil && subtle.ConstantTimeCompare(key[:], g.admin[:]) == 1 {
		return viewer{role: roleAdmin}, true
	}
	c, ok := g.tenants.Load().findHash(key)
	return viewer{tenant: c.tenant, role: roleViewer}, ok
}

// viewer is who a request comes from: by its key, its session, or, where
// nobody needs a key, by nothing. Then everyone is an administrator unless a
// key is configured for that: such a gateway listens on loopback only.
func (g *Gateway) viewer(r *http.Request) (viewer, *wire.Error) {
	tenants := g.tenants.Load()
	if key := keyOf(r.Header); key != "" && (g.admin != nil || !tenants.open()) {
		if v, ok := g.known(tenants.hash(key)); ok {
			return v, nil
		} else if !tenants.open() {
			return v, wire.Errorf(codeInvalidKey, "", "the key is not known here")
		}
	}
	if key, ok := g.logins.of(r, time.Now()); ok {
		if v, ok := g.known(key); ok {
			return v, nil
		}
	}
	switch {
	case !tenants.open():
		return viewer{}, wire.Errorf(codeInvalidKey, "", "no key was given: send the header Authorization: Bearer <key>, or log in at /")
	case g.admin != nil:
		return viewer{role: roleViewer}, nil
	}
	return viewer{role: roleAdmin}, nil
}

// whoami is what GET and POST /admin/v1/session answer.
type whoami struct {
	Role   string `json:"role"` // "" before the log-in
	Tenant string `json:"tenant,omitempty"`
	// Keys says that tenants have keys, Admin that an administrator has one:
	// whether there is something to log in with.
	Keys  bool `json:"keys"`
	Admin bool `json:"admin_key"`
}

func (g *Gateway) whoami(v viewer) []byte {
	return mustJSON(whoami{v.role, v.tenant, !g.tenants.Load().open(), g.admin != nil})
}

// serveSession says who is logged in, logs in by key, and out.
func (g *Gateway) serveSession(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		v, _ := g.viewer(r) // not logged in: no role
		writeJSON(w, http.StatusOK, g.whoami(v))
	case http.MethodPost:
		var in struct {
			Key string `json:"key"`
		}
		if json.NewDecoder(http.MaxBytesReader(w, r.Body, maxLogin)).Decode(&in) != nil || in.Key == "" {
			refuse(w, "", wire.Errorf(wire.CodeInvalidJSON, "key", `the body must be {"key": "…"}`), 0)
			return
		}
		key := g.tenants.Load().hash(in.Key)
		v, ok := g.known(key)
		if !ok {
			refuse(w, "", wire.Errorf(codeInvalidKey, "", "the key is not known here"), 0)
			return
		}
		g.setCookie(w, r, g.logins.add(key, time.Now()), int(sessionTime/time.Second))
		writeJSON(w, http.StatusOK, g.whoami(v))
	case http.MethodDelete:
		g.logins.end(r)
		g.setCookie(w, r, "", -1)
		w.WriteHeader(http.StatusNoContent)
	default:
		w.Header().Set("Allow", "GET, POST, DELETE")
		refuse(w, "", wire.Errorf(codeMethod, "", "use GET, POST or DELETE"), 0)
	}
}

// setCookie sets the session's cookie: no script reads it, and no other site's
// page makes a browser send it.
func (g *Gateway) setCookie(w http.ResponseWriter, r *http.Request, value string, age int) {
	http.SetCookie(w, &http.Cookie{Name: sessionCookie, Value: value, Path: "/", MaxAge: age,
		HttpOnly: true, Secure: r.TLS != nil, SameSite: http.SameSiteStrictMode})
}
