package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strconv"
	"time"
)

// Headers of a delivery, by the specification.
const (
	headerID        = "webhook-id"
	headerTimestamp = "webhook-timestamp"
	headerSignature = "webhook-signature"
)

// secretPrefix is before a secret's base64, by the specification.
const secretPrefix = "whsec_"

// keyOf derives a tenant's key from the configured secret.
func keyOf(secret, tenant string) []byte {
	return mac([]byte(secret), "sluice webhook key of tenant "+tenant)
}

func mac(key []byte, parts ...string) []byte {
	h := hmac.New(sha256.New, key)
	for _, p := range parts {
		h.Write([]byte(p)) // a hash takes everything
	}
	return h.Sum(nil)
}

// idOf names the event that a job ended with a record: the same in every
// delivery of it.
func idOf(tenant, job string, record uint64) string {
	sum := sha256.Sum256([]byte(tenant + "\x00" + job + "\x00" + strconv.FormatUint(record, 10)))
	return "wh_" + hex.EncodeToString(sum[:16])
}

// sign is the value of the header webhook-signature.
func sign(key []byte, id string, at time.Time, body string) string {
	signed := mac(key, id, ".", strconv.FormatInt(at.Unix(), 10), ".", body)
	return "v1," + base64.StdEncoding.EncodeToString(signed)
}
