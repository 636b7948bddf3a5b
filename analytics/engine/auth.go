package engine

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
)

// credentials reads user and password from wherever ClickHouse's clients put
// them: headers, basic authentication or parameters, in ClickHouse's order.
func credentials(r *http.Request) (name, password string, given bool) {
	if name = r.Header.Get("X-ClickHouse-User"); name != "" || r.Header.Get("X-ClickHouse-Key") != "" {
		return name, r.Header.Get("X-ClickHouse-Key"), true
	}
	if name, password, ok := r.BasicAuth(); ok {
		return name, password, true
	}
	q := r.URL.Query()
	if q.Has("user") || q.Has("password") {
		return q.Get("user"), q.Get("password"), true
	}
	return "", "", false
}

// authenticate answers nil for the right user and password. The comparison
// takes the same time for every wrong password of every length.
func authenticate(r *http.Request, want string) *Exception {
	name, password, given := credentials(r)
	if !given {
		return exceptionf(codeRequiredPassword, "%s: Authentication failed: password is required: "+
			"send it as X-ClickHouse-Key, by basic authentication or as parameter", user)
	}
	a, b := sha256.Sum256([]byte(password)), sha256.Sum256([]byte(want))
	right := subtle.ConstantTimeCompare(a[:], b[:]) == 1
	if name == "" {
		name = user
	}
	if !right || name != user {
		return exceptionf(codeAuthFailed, "%s: Authentication failed: password is incorrect, or there is no user with such name", name)
	}
	return nil
}
