package config

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"time"
)

const mask = "***"

// maxSecret is the most bytes that a secret's file may have.
const maxSecret = 64 << 10

// Secret is a value that only Reveal shows. The zero value is an unset one.
type Secret struct{ source, value string }

// NewSecret makes a resolved secret of a value.
func NewSecret(value string) Secret { return Secret{source: value, value: value} }

// Reveal is the secret itself.
func (s Secret) Reveal() string { return s.value }

// IsZero reports whether the secret is unset; YAML's omitempty asks it.
func (s Secret) IsZero() bool { return s.source == "" && s.value == "" }

// String is "***", or empty for an unset secret.
func (s Secret) String() string {
	if s.IsZero() {
		return ""
	}
	return mask
}

// GoString keeps %#v from showing the secret.
func (s Secret) GoString() string { return s.String() }

// MarshalText is what JSON and other encoders show: String.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// MarshalYAML is what YAML shows: String.
func (s Secret) MarshalYAML() (any, error) { return s.String(), nil }

// LogValue is what slog shows: String.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// URL is an address that may hold a password, which only Reveal shows. It may
// be written env:NAME or file:PATH, as a secret. NATS takes several, comma
// separated.
type URL struct{ s Secret }

// NewURL makes a resolved URL.
func NewURL(raw string) URL { return URL{NewSecret(raw)} }

// Reveal is the URL with its password.
func (u URL) Reveal() string { return u.s.value }

// IsZero reports whether the URL is empty.
func (u URL) IsZero() bool { return u.s.IsZero() }

// String is the URL with every password and query value masked; what cannot
// be parsed is masked whole, and with it all of a list: its parts may be those
// of one password with a comma in it.
func (u URL) String() string {
	if u.s.value == "" {
		return u.s.String()
	}
	parts := strings.Split(u.s.value, ",")
	for i, p := range parts {
		if parts[i] = maskURL(strings.TrimSpace(p)); parts[i] == mask {
			return mask
		}
	}
	return strings.Join(parts, ",")
}

func maskURL(raw string) string {
	p, err := url.Parse(raw)
	// An @ behind the host is the end of a password that has a /, ? or # in it.
	if err != nil || p.Scheme == "" || p.Host == "" || strings.Contains(p.Path+p.RawQuery+p.Fragment, "@") {
		return mask
	}
	out := p.Scheme + "://"
	if p.User != nil {
		if _, has := p.User.Password(); has {
			out += p.User.Username() + ":" + mask + "@"
		} else {
			out += mask + "@" // a NATS token stands where a user name does
		}
	}
	out += p.Host + p.EscapedPath()
	if p.RawQuery != "" {
		out += "?" + mask
	}
	return out
}

// GoString keeps %#v from showing the password.
func (u URL) GoString() string { return u.String() }

// MarshalText is what JSON shows: String.
func (u URL) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// MarshalYAML is what YAML shows: String.
func (u URL) MarshalYAML() (any, error) { return u.String(), nil }

// LogValue is what slog shows: String.
func (u URL) LogValue() slog.Value { return slog.StringValue(u.String()) }

// literal reports whether the secret was written out.
func (s Secret) literal() bool {
	return s.source != "" && !strings.HasPrefix(s.source, "env:") && !strings.HasPrefix(s.source, "file:")
}

// resolve sets the value that the source names.
func (s *Secret) resolve(env func(string) (string, bool)) error {
	if name, ok := strings.CutPrefix(s.source, "env:"); ok {
		v, _ := env(name)
		if v == "" {
			return fmt.Errorf("the variable %s is not set", name)
		}
		s.value = v
		return nil
	}
	if path, ok := strings.CutPrefix(s.source, "file:"); ok {
		v, err := readSecret(path)
		if err != nil {
			return err
		}
		s.value = v
		return nil
	}
	s.value = s.source
	return nil
}

// readSecret reads a secret's file, without the newline at its end.
func readSecret(path string) (string, error) {
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s is not a regular file", path)
	}
	if err != nil {
		return "", fmt.Errorf("the file %s can't be read: %w", path, reasonOf(err))
	}
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("the file %s can't be read: %w", path, reasonOf(err))
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err != nil {
		return "", fmt.Errorf("the file %s can't be read: %w", path, reasonOf(err))
	}
	v := strings.TrimRight(string(b), "\r\n")
	if v == "" || len(b) > maxSecret {
		return "", fmt.Errorf("the file %s has %d bytes: 1 to %d are needed", path, len(b), maxSecret)
	}
	return v, nil
}

// reasonOf takes the path out of a file error: the sentence names it already.
func reasonOf(err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// Sync says how often the embedded server's file store syncs to disk; zero
// is after every write.
type Sync time.Duration

// Always reports whether every write is synced.
func (s Sync) Always() bool { return s == 0 }

// Every is the interval; 0 means after every write.
func (s Sync) Every() time.Duration { return time.Duration(s) }

// MarshalYAML is "always" or the interval.
func (s Sync) MarshalYAML() (any, error) {
	if s.Always() {
		return "always", nil
	}
	return time.Duration(s).String(), nil
}
