package adapter

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Signing is what a [Signer] signs.
type Signing struct {
	Key    string // the pool's
	Method string
	URL    *url.URL
	Header []Field
	Body   []byte
	Now    time.Time
}

// Signer is a codec whose provider wants requests signed with the pool's key
// rather than the key itself. Its Auth has no name for such a key.
type Signer interface {
	// CheckKey says what is wrong with the key for an address.
	CheckKey(key string, base *url.URL) error
	// Sign is the header fields that prove the request, beside its own; nil
	// for a key that goes into a header as it is.
	Sign(s Signing) []Field
}

// awsKey is what signs a request to AWS.
type awsKey struct{ id, secret, token, region string }

const (
	awsTime      = "20060102T150405Z"
	awsAlgorithm = "AWS4-HMAC-SHA256"
)

// sign makes the fields of AWS's Signature Version 4, a pure function of the
// request, the key and the time. Every field of the header is signed.
func (k awsKey) sign(service, method string, u *url.URL, header []Field, body []byte, now time.Time) []Field {
	stamp := now.UTC().Format(awsTime)
	own := []Field{{"X-Amz-Date", stamp}}
	if k.token != "" {
		own = append(own, Field{"X-Amz-Security-Token", k.token})
	}
	canonical, signed := canonicalHeader(u.Host, append(slices.Clone(header), own...))
	request := strings.Join([]string{
		method, canonicalPath(u), canonicalQuery(u), canonical, signed, hexSum(body),
	}, "\n")
	scope := strings.Join([]string{stamp[:8], k.region, service, "aws4_request"}, "/")
	text := strings.Join([]string{awsAlgorithm, stamp, scope, hexSum([]byte(request))}, "\n")
	mac := []byte("AWS4" + k.secret)
	for _, part := range [...]string{stamp[:8], k.region, service, "aws4_request", text} {
		mac = hmacSum(mac, part)
	}
	return append(own, Field{"Authorization", awsAlgorithm + " Credential=" + k.id + "/" + scope +
		", SignedHeaders=" + signed + ", Signature=" + hex.EncodeToString(mac)})
}

func hexSum(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func hmacSum(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

// canonicalHeader is the header lines with the host, sorted, and their names.
func canonicalHeader(host string, header []Field) (lines, names string) {
	values := map[string][]string{"host": {host}}
	keys := []string{"host"}
	for _, f := range header {
		name := strings.ToLower(f.Name)
		if values[name] == nil {
			keys = append(keys, name)
		}
		values[name] = append(values[name], strings.Join(strings.Fields(f.Value), " "))
	}
	slices.Sort(keys)
	var b strings.Builder
	for _, k := range keys {
		b.WriteString(k + ":" + strings.Join(values[k], ",") + "\n")
	}
	return b.String(), strings.Join(keys, ";")
}

// canonicalPath is the path as it is sent, escaped once more.
func canonicalPath(u *url.URL) string {
	path := u.EscapedPath()
	if path == "" {
		return "/"
	}
	parts := strings.Split(path, "/")
	for i := range parts {
		parts[i] = awsEscape(parts[i])
	}
	return strings.Join(parts, "/")
}

func canonicalQuery(u *url.URL) string {
	var pairs []string
	for name, values := range u.Query() {
		for _, v := range values {
			pairs = append(pairs, awsEscape(name)+"="+awsEscape(v))
		}
	}
	slices.Sort(pairs)
	return strings.Join(pairs, "&")
}

// awsEscape escapes all but unreserved characters.
func awsEscape(s string) string {
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_', c == '.', c == '~':
			b.WriteByte(c)
		default:
			b.WriteByte('%')
			b.WriteByte(digits[c>>4])
			b.WriteByte(digits[c&15])
		}
	}
	return b.String()
}
