package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"go.yaml.in/yaml/v3"
)

// TestSecretsStaySecret prints a secret and a URL in every way there is (I3).
func TestSecretsStaySecret(t *testing.T) {
	holder := struct {
		S Secret
		P *Secret
		U URL
	}{NewSecret("geheim"), nil, NewURL("nats://user:geheim@host:4222,nats://geheim@b:1/?token=geheim")}
	s := NewSecret("geheim")
	holder.P = &s
	var logged bytes.Buffer
	logger := slog.New(slog.NewJSONHandler(&logged, nil))
	logger.Info("x", "secret", holder.S, "url", holder.U, "all", holder)
	slog.New(slog.NewTextHandler(&logged, nil)).Info("x", "secret", holder.S, "all", holder)
	asJSON, err := json.Marshal(holder)
	if err != nil {
		t.Fatal(err)
	}
	asYAML, err := yaml.Marshal(holder)
	if err != nil {
		t.Fatal(err)
	}
	all := logged.String() + string(asJSON) + string(asYAML) + fmt.Sprint(holder.S, holder.U, holder.P) +
		fmt.Sprintf("%v %+v %#v %s %q %#v", holder, holder, holder, holder.S, holder.U, holder.U)
	if strings.Contains(all, "geheim") {
		t.Errorf("the secret shows in\n%s", all)
	}
	if holder.S.String() != "***" || holder.S.Reveal() != "geheim" || (Secret{}).String() != "" {
		t.Errorf("got %q, %q", holder.S, holder.S.Reveal())
	}
	if got := holder.U.String(); got != "nats://user:***@host:4222,nats://***@b:1/?***" {
		t.Errorf("got %s", got)
	}
	for _, opaque := range []string{"::geheim", "nats:geheim"} {
		if got := NewURL(opaque).String(); got != "***" {
			t.Errorf("%s: got %s", opaque, got)
		}
	}
}

func TestWhereSecretsComeFrom(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	environ := func(name string) (string, bool) { return map[string]string{"K": "from env"}[name], name == "K" }
	for _, tc := range []struct{ source, want, fault string }{
		{"env:K", "from env", ""},
		{"env:NONE", "", "the variable NONE is not set"},
		{"file:" + file("a", "from file\r\n"), "from file", ""},
		{"file:" + file("b", " two\nlines \n\n"), " two\nlines ", ""},
		{"file:" + file("c", "\n"), "", "1 to 65536 are needed"},
		{"file:" + file("d", strings.Repeat("x", maxSecret+1)), "", "1 to 65536 are needed"},
		{"file:" + filepath.Join(dir, "none"), "", "no such file"},
		{"file:" + dir, "", "not a regular file"},
		{"file:" + fifo, "", "not a regular file"}, // and no read that hangs
		{"written out", "written out", ""},
	} {
		s := Secret{source: tc.source}
		err := s.resolve(environ)
		if s.Reveal() != tc.want || (err == nil) != (tc.fault == "") || err != nil && !strings.Contains(err.Error(), tc.fault) {
			t.Errorf("%s: got %q, %v", tc.source, s.Reveal(), err)
		}
	}
}

// TestClientsNeedNoKeys: what a server calls a fault, a client does without.
func TestClientsNeedNoKeys(t *testing.T) {
	src := Sources{Path: write(t, contractExample)}
	if _, err := Load(src); err == nil || !strings.Contains(err.Error(), "OPENAI_API_KEY") || !strings.Contains(err.Error(), "ACME_KEY") {
		t.Errorf("a server: got %v", err)
	}
	src.Client = true
	c, err := Load(src)
	if err != nil {
		t.Fatalf("a client: %v", err)
	}
	if got := c.Pool("openai-us").APIKey.Reveal(); got != "" {
		t.Errorf("got %q", got)
	}
	src.Path = write(t, "nats: {url: env:NONE}")
	if _, err := Load(src); err == nil {
		t.Error("a client cannot do without the URL")
	}
}

func TestShownHidesWhatLooksSecret(t *testing.T) {
	for _, tc := range []struct{ key, value, want string }{
		{"a.weight", "3", "3"}, {"a", "", `""`}, {"a", "two words", `"two words"`}, {"a", "a\x1bb", `"a\x1bb"`},
		{"pools[0].apikey", "x", "***"}, {"Password", "x", "***"}, {"a.max_tokens", "9", "9"}, {"auth.x", "plain", "plain"},
		{"x", "sk-proj-1", "***"}, {"x", "http://u:p@h", "***"}, {"x", "AbCdEf0123456789AbCdEf0123", "***"},
		{"x", strings.Repeat("long ", 20), `"` + strings.Repeat("long ", 12) + `…"`},
	} {
		if got := shown(tc.key, tc.value); got != tc.want {
			t.Errorf("%s = %s: got %s, want %s", tc.key, tc.value, got, tc.want)
		}
	}
}
