package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Added is what of the pools is in no file: see [Sources].Added.
type Added struct {
	Pools []AddedPool
	// Models are those that a pool's provider was found to offer, by pool; they
	// count where the pool says discover_models.
	Models map[string][]string
}

// AddedPool is a pool that was added while running.
type AddedPool struct {
	Name string
	// Text is the pool, YAML or JSON, as an element of the key pools.
	Text string
	// Removing says that it takes no more jobs.
	Removing bool
}

// parse is Load without reading the file; an empty path means no file. An
// added pool that is at fault is left out with a warning: what is in a bucket
// must not keep a process from starting.
func (src Sources) parse(path string, data []byte) (*Config, error) {
	var added Added
	if src.Added != nil {
		added = src.Added()
	}
	all := added.Pools
	c, err := src.parseWith(path, data, added)
	if err == nil || len(all) == 0 {
		return c, err
	}
	added.Pools = nil
	if c, err = src.parseWith(path, data, added); err != nil {
		return nil, err
	}
	var warnings []string
	for _, p := range all {
		try := added
		try.Pools = append(slices.Clone(added.Pools), p)
		with, err := src.parseWith(path, data, try)
		if err != nil {
			warnings = append(warnings, fmt.Sprintf("the added pool %s is not used: %s", p.Name, strings.ReplaceAll(err.Error(), "\n", " ")))
			continue
		}
		c, added = with, try
	}
	c.Warnings = append(c.Warnings, warnings...)
	return c, nil
}

// CheckAdded checks a pool that is to be added to the configuration of the
// sources, in the place of an added one of the same name, and gives the
// configuration with it. Its text must not hold a key, only name one.
func (src Sources) CheckAdded(text string) (*Config, string, error) {
	var head struct {
		Name string `yaml:"name"`
	}
	if err := yaml.Unmarshal([]byte(text), &head); err != nil {
		return nil, "", fmt.Errorf("the pool must be a mapping, as in the list pools of a configuration: %w", err)
	}
	var added Added
	if src.Added != nil {
		added = src.Added()
	}
	others := slices.DeleteFunc(slices.Clone(added.Pools), func(p AddedPool) bool { return p.Name == head.Name })
	src.Added = func() Added { return Added{Pools: others, Models: added.Models} }
	path, data, err := src.read()
	if err != nil {
		return nil, "", err
	}
	base, err := src.parse(path, data)
	if err != nil {
		return nil, "", err
	}
	if base.Pool(head.Name) != nil {
		return nil, "", fmt.Errorf("pool %s is in the configuration already: change it there", head.Name)
	}
	c, err := src.parseWith(path, data, Added{Pools: append(others, AddedPool{Name: head.Name, Text: text}), Models: added.Models})
	if err != nil {
		return nil, "", err
	}
	if p := c.Pool(head.Name); p == nil || p.APIKey.literal() {
		return nil, "", fmt.Errorf("the api_key of an added pool must be env:NAME or file:PATH, which every process with the worker role has")
	}
	return c, head.Name, nil
}

// addPools appends the pools that were added; those of the sources win over
// them.
func (d *decoder) addPools(c *Config, added []AddedPool) {
	for _, a := range added {
		if c.Pool(a.Name) != nil {
			c.Warnings = append(c.Warnings, fmt.Sprintf("the added pool %s is hidden by the one in the configuration", a.Name))
			continue
		}
		var doc yaml.Node
		key := at("pools", len(c.Pools))
		d.where, d.lines = "added pool "+a.Name, false
		if err := decodeYAML(yaml.NewDecoder(strings.NewReader(a.Text)), &doc); err != nil || len(doc.Content) != 1 {
			d.fault(origin{where: d.where}, key, "", "must be a mapping, as in the list pools of a configuration")
			continue
		}
		p := fresh(reflect.TypeFor[Pool]()).Elem()
		d.note(key, doc.Content[0])
		d.value(key, doc.Content[0], p)
		pool := p.Interface().(Pool)
		pool.Added, pool.Removing = true, a.Removing
		if pool.Name != a.Name {
			d.fault(origin{where: d.where}, key+".name", pool.Name, "must be "+a.Name)
		}
		c.Pools = append(c.Pools, pool)
	}
}

// offer adds the models that were found to pools that look for them, and those
// that routes name, which will be found or not.
func (d *decoder) offer(c *Config, found map[string][]string) {
	for i := range c.Pools {
		p := &c.Pools[i]
		if !p.DiscoverModels {
			continue
		}
		names := found[p.Name]
		for _, r := range c.Routes {
			for _, cand := range r.Candidates {
				if cand.Pool == p.Name && cand.Model != "" {
					names = append(names[:len(names):len(names)], cand.Model)
				}
			}
		}
		for _, name := range names {
			if p.Models.Find(name) == nil && name != "" {
				p.Models = append(p.Models[:len(p.Models):len(p.Models)], Model{Name: name, Upstream: name})
			}
		}
	}
}

// join makes pools candidates of the routes that they name, and makes routes
// that are not there.
func (d *decoder) join(c *Config) {
	for i := range c.Pools {
		p := &c.Pools[i]
		for _, name := range p.Routes {
			n := slices.IndexFunc(c.Routes, func(r Route) bool { return r.Model == name })
			if n < 0 {
				n = len(c.Routes)
				c.Routes = append(c.Routes, Route{Model: name})
			}
			r := &c.Routes[n]
			if !slices.ContainsFunc(r.Candidates, func(x Candidate) bool { return x.Pool == p.Name }) {
				if p.DiscoverModels && p.defaultModel(name) == "" { // it will be found or not
					p.Models = append(p.Models[:len(p.Models):len(p.Models)], Model{Name: name, Upstream: name})
				}
				r.Candidates = append(r.Candidates[:len(r.Candidates):len(r.Candidates)], Candidate{Pool: p.Name, Weight: p.Weight})
			}
		}
	}
}
