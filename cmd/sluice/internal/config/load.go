package config

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// DefaultPath is the file that is read when none is named, if it is there.
const DefaultPath = "sluice.yaml"

// PriceVersion is the price version of prices from the configuration.
const PriceVersion = "config"

// maxFile is the most bytes that a configuration file may have.
const maxFile = 4 << 20

// Sources are where a configuration is read from. The zero value reads
// sluice.yaml where it is there, no variables and no flags.
type Sources struct {
	// Path is the file. Empty: the variable SLUICE_CONFIG, or else
	// DefaultPath, which may be absent; a file that is named may not.
	Path string
	// Environ are variables as os.Environ gives them.
	Environ []string
	// Flags are values by key path, such as "http.listen" or
	// "pools.openai-us.weight"; they win over everything else.
	Flags map[string]string
	// Strategies are the names that a route may give; none: any name.
	Strategies []string
	// Scorers are the names that a route's params may weigh; none: any name.
	Scorers []string
	// Adapters are the names that a pool may give; none: those of the
	// contract.
	Adapters []string
	// ProviderOf names the provider behind a base URL, "" if it is not known;
	// nil knows none.
	ProviderOf func(baseURL string) string
	// CheckRule says what is wrong with a rule's expression; nil checks none.
	CheckRule func(when string) error
	// Added gives the pools that were added while running, and the models that
	// were found; nil: none. Watch looks at it too.
	Added func() Added
	// Client leaves secrets that cannot be resolved unset instead of calling
	// them faults: a client need not hold the keys of pools. URLs are needed
	// all the same.
	Client bool
}

// FromProcess are the sources of this process: its variables, and path and
// flags as given.
func FromProcess(path string, flags map[string]string) Sources {
	return Sources{Path: path, Environ: os.Environ(), Flags: flags}
}

// ErrUnreadable means that the file is not there, or cannot be read.
var ErrUnreadable = errors.New("read the configuration")

// Load reads, completes and checks the configuration. A bad one gives a nil
// *Config and [Faults]; a file that cannot be read, [ErrUnreadable].
func Load(src Sources) (*Config, error) {
	path, data, err := src.read()
	if err != nil {
		return nil, err
	}
	return src.parse(path, data)
}

// file is the path to read, and whether it must be there.
func (src Sources) file() (path string, must bool) {
	if src.Path != "" {
		return src.Path, true
	}
	if v, _ := src.lookup("SLUICE_CONFIG"); v != "" {
		return v, true
	}
	return DefaultPath, false
}

func (src Sources) read() (path string, data []byte, err error) {
	path, must := src.file()
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) && !must {
		return "", nil, nil
	}
	if err != nil {
		return "", nil, fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	defer func() { _ = f.Close() }()
	data, err = io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return "", nil, fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	if len(data) > maxFile {
		return "", nil, fmt.Errorf("%w: %s has more than %d bytes", ErrUnreadable, path, maxFile)
	}
	return path, data, nil
}

// lookup finds a variable; the last one of a name counts.
func (src Sources) lookup(name string) (string, bool) {
	for _, kv := range slices.Backward(src.Environ) {
		if k, v, ok := strings.Cut(kv, "="); ok && k == name {
			return v, true
		}
	}
	return "", false
}

// parseWith is parse with pools that were added.
func (src Sources) parseWith(path string, data []byte, added Added) (*Config, error) {
	c := base()
	c.Path = path
	d := &decoder{at: make(map[string]origin)}
	root := reflect.ValueOf(c).Elem()
	d.file(filepath.Base(path), data, root)
	d.variables(src, root)
	d.flags(src.Flags, root, false)
	d.complete(c, src, added)
	d.flags(src.Flags, root, true)
	v := &validator{decoder: d, c: c, src: src}
	v.run()
	if len(d.faults) > 0 {
		slices.SortStableFunc(d.faults, func(a, b Fault) int { return cmp.Or(a.Line-b.Line, strings.Compare(a.Key, b.Key)) })
		return nil, d.faults
	}
	return c, nil
}

// file decodes the YAML file.
func (d *decoder) file(name string, data []byte, root reflect.Value) {
	d.where, d.lines = name, true
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc, more yaml.Node
	switch err := decodeYAML(dec, &doc); {
	case errors.Is(err, io.EOF):
		return
	case err != nil:
		d.fault(origin{where: name}, "", "", strings.TrimPrefix(err.Error(), "yaml: "))
		return
	}
	if len(doc.Content) == 1 {
		d.value("", doc.Content[0], root)
	}
	if err := decodeYAML(dec, &more); !errors.Is(err, io.EOF) {
		d.fault(origin{where: name, line: more.Line}, "", "", "only one YAML document is allowed")
	}
}

// decodeYAML turns a panic of the YAML library on hostile input into an
// error.
func decodeYAML(dec *yaml.Decoder, n *yaml.Node) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = errors.New("yaml: the file can't be parsed")
		}
	}()
	return dec.Decode(n)
}

// variables decodes the SLUICE_… variables that are not empty.
func (d *decoder) variables(src Sources, root reflect.Value) {
	for _, k := range Keys() {
		if text, _ := src.lookup(k.Variable()); text != "" {
			d.where, d.lines = k.Variable(), false
			d.text(k.Path, text, root)
		}
	}
}

// flags decodes flags: those that name an element of a list come after the
// lists are complete.
func (d *decoder) flags(flags map[string]string, root reflect.Value, elements bool) {
	paths := make([]string, 0, len(flags))
	for path := range flags {
		if head, _, deep := strings.Cut(path, "."); (deep && isList(head)) == elements {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	for _, path := range paths {
		d.where, d.lines = "--"+Key{Path: path}.Flag(), false
		if elements {
			d.where = "--set " + path
		}
		d.text(path, flags[path], root)
	}
}

func isList(key string) bool {
	return slices.Contains(Keys(), Key{Path: key, List: true})
}

// text decodes a value given as text: as YAML for a list or a mapping, as it
// stands for anything else.
func (d *decoder) text(path, text string, root reflect.Value) {
	key, v, err := field(root, path)
	if err != nil {
		d.fault(origin{where: d.where}, path, text, err.Error())
		return
	}
	n := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: text}
	_, scalar := scalarTypes[v.Type()]
	switch kind := v.Kind(); {
	case scalar:
	case kind == reflect.Slice, kind == reflect.Map, kind == reflect.Struct, kind == reflect.Pointer:
		var doc yaml.Node
		err := decodeYAML(yaml.NewDecoder(strings.NewReader(text)), &doc)
		if err != nil || len(doc.Content) != 1 {
			d.fault(origin{where: d.where}, key, "", "must be YAML")
			return
		}
		n = doc.Content[0]
		d.forget(key)
	}
	d.value(key, n, v)
}
