package config

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// adapters are those of the contract.
func adapters() []string {
	return []string{AdapterOpenAI, adapterAnthropic, adapterGemini, adapterBedrock, AdapterSimulated}
}

const maxWeight = 1_000_000

func (v *validator) pools() {
	if len(v.c.Pools) == 0 {
		v.bad("pools", "", "must have at least one pool; without the key there are simulated ones")
	}
	seen := make(map[string]int)
	for i := range v.c.Pools {
		p, key := &v.c.Pools[i], at("pools", i)
		v.name(key+".name", p.Name)
		v.unique(seen, key+".name", p.Name, i)
		v.pool(key, p)
		v.models(key+".models", p)
		v.simulated(key, p)
	}
}

// unique reports a name that an earlier element of the list has.
func (v *validator) unique(seen map[string]int, key, name string, i int) {
	if first, ok := seen[name]; ok && name != "" {
		v.bad(key, name, fmt.Sprintf("is taken by element %d of the list", first))
		return
	}
	seen[name] = i
}

func (v *validator) pool(key string, p *Pool) {
	known := v.src.Adapters
	if known == nil {
		known = adapters()
	}
	v.oneOf(key+".adapter", p.Adapter, known)
	v.baseURL(key, p)
	v.text(key+".provider", p.Provider, 1, 64)
	v.number(key+".weight", int64(p.Weight), 0, maxWeight)
	v.number(key+".concurrency", int64(p.Concurrency), 1, 100_000)
	v.limits(key+".limits", p.Limits)
	v.duration(key+".timeout", p.Timeout, time.Millisecond, day)
	v.duration(key+".idle_timeout", p.IdleTimeout, time.Millisecond, day)
	v.text(key+".region", p.Region, 0, 64)
	v.text(key+".tier", p.Tier, 0, 64)
	v.capabilities(key+".capabilities", p.Capabilities)
	if p.DiscoverModels && p.Adapter == adapterBedrock {
		v.bad(key+".discover_models", "true", "must be false for bedrock, whose models are listed elsewhere")
	}
	v.probe(key+".probe", p)
	v.batch(key+".batch", p)
	for i, route := range p.Routes {
		v.text(at(key+".routes", i), route, 1, 256)
	}
	for i, name := range p.Tenants {
		v.name(at(key+".tenants", i), name)
	}
	for i, tier := range p.TenantTiers {
		v.text(at(key+".tenant_tiers", i), tier, 1, 64)
	}
	for name, val := range p.Labels {
		v.text(key+".labels", name, 1, 64)
		v.text(key+".labels."+name, val, 0, 256)
	}
}

func (v *validator) probe(key string, p *Pool) {
	if p.Probe == (Probe{}) {
		return
	}
	v.duration(key+".interval", p.Probe.Interval, time.Second, day)
	v.duration(key+".timeout", p.Probe.Timeout, time.Millisecond, 10*time.Minute)
	if p.Models.Find(p.Probe.Model) == nil {
		v.bad(key+".model", p.Probe.Model, "must be a model that the pool offers")
	}
}

// batchAdapters are those whose providers have a batch API, and the most lines
// that it takes at once.
var batchAdapters = map[string]int64{AdapterOpenAI: 50_000, adapterAnthropic: 100_000, AdapterSimulated: 100_000}

func (v *validator) batch(key string, p *Pool) {
	b := p.Batch
	if b == nil {
		return
	}
	most, ok := batchAdapters[p.Adapter]
	if !ok {
		v.bad(key, "", "needs an adapter whose provider has a batch API: openai, anthropic or simulated")
		return
	}
	v.number(key+".discount", int64(b.Discount), 0, 99)
	v.number(key+".max_lines", int64(b.MaxLines), 1, most)
	v.duration(key+".linger", b.Linger, 10*time.Millisecond, time.Hour)
	v.duration(key+".poll", b.Poll, 100*time.Millisecond, time.Hour)
	if p.Probe != (Probe{}) {
		v.bad(key, "", "cannot go with probe: a probe is a call of its own, at another price")
	}
}

func (v *validator) baseURL(key string, p *Pool) {
	key += ".base_url"
	if p.BaseURL == "" {
		if p.Adapter == adapterBedrock {
			v.bad(key, "", "must be given for bedrock, such as https://bedrock-runtime.us-east-1.amazonaws.com, unless region is a region of AWS")
		}
		return
	}
	u, err := url.Parse(p.BaseURL)
	switch {
	case p.Adapter == AdapterSimulated:
		v.bad(key, "", "must be absent: a simulated pool calls nobody")
	case err != nil || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http":
		v.bad(key, p.BaseURL, "must be an http or https URL, such as https://api.openai.com/v1")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		o, _ := v.lookup(key)
		v.fault(o, key, "", "must have no user, query or fragment; the key belongs into api_key")
	case u.Scheme == "http" && !p.APIKey.IsZero() && !loopback(u.Hostname()):
		v.warn("pool %s sends its API key over plain http to %s", p.Name, u.Host)
	}
}

func (v *validator) models(key string, p *Pool) {
	if len(p.Models) == 0 && !p.DiscoverModels {
		v.bad(key, "", "must offer at least one model")
	}
	for _, m := range p.Models {
		v.text(key+"."+m.Name, m.Name, 1, 256)
		if m.Upstream != m.Name {
			v.text(key+"."+m.Name+".upstream", m.Upstream, 1, 256)
		}
	}
}

func (v *validator) simulated(key string, p *Pool) {
	s := p.Simulated
	key += ".simulated"
	if s == nil {
		return
	}
	if p.Adapter != AdapterSimulated {
		v.bad(key, "", "needs adapter: simulated")
		return
	}
	v.duration(key+".ttft", s.TTFT, 0, time.Hour)
	v.duration(key+".retry_after", s.RetryAfter, 0, time.Hour)
	v.share(key+".tokens_per_second", s.TokensPerSecond, 1e9)
	v.share(key+".error_share", s.ErrorShare, 1)
	v.share(key+".cache_share", s.CacheShare, 1)
	v.share(key+".reasoning_share", s.ReasoningShare, 1)
	for i, e := range s.Errors {
		v.oneOf(at(key+".errors", i), e, simulatedErrors())
	}
	v.number(key+".max_concurrent", int64(s.MaxConcurrent), 0, 1e9)
	v.number(key+".output_tokens.min", int64(s.OutputTokens.Min), 1, 1_000_000)
	v.number(key+".output_tokens.max", int64(s.OutputTokens.Max), 1, 1_000_000)
	if s.OutputTokens.Min > s.OutputTokens.Max {
		v.bad(key+".output_tokens.max", strconv.Itoa(s.OutputTokens.Max), fmt.Sprintf("must not be below min (%d)", s.OutputTokens.Min))
	}
}

// share checks a number from 0 to high.
func (v *validator) share(key string, x, high float64) {
	if x < 0 || x > high {
		v.bad(key, fmt.Sprint(x), fmt.Sprintf("must be from 0 to %g", high))
	}
}

func (v *validator) routes() {
	if !v.given("routes") && len(v.faults) > 0 {
		return // made of pools that may be at fault themselves
	}
	discover := slices.ContainsFunc(v.c.Pools, func(p Pool) bool { return p.DiscoverModels })
	if len(v.c.Routes) == 0 && !(discover && !v.given("routes")) {
		v.bad("routes", "", "must have at least one route; without the key there is one for each offered model")
	}
	seen := make(map[string]int)
	for i, r := range v.c.Routes {
		key := at("routes", i)
		v.text(key+".model", r.Model, 1, 256)
		v.unique(seen, key+".model", r.Model, i)
		v.oneOf(key+".strategy", r.Strategy, v.src.Strategies)
		if len(r.Candidates) == 0 {
			v.bad(key+".candidates", "", "must have at least one candidate")
			continue
		}
		v.candidates(key+".candidates", r.Candidates)
		v.params(key, &r)
		v.fallback(key+".fallback", &r)
	}
}

func (v *validator) candidates(key string, cands []Candidate) {
	sum := 0
	seen := make(map[[2]string]bool)
	for i, c := range cands {
		k := at(key, i)
		pair := [2]string{c.Pool, c.Model}
		pool := v.c.Pool(c.Pool)
		switch {
		case pool == nil:
			sum++ // whatever its weight is
			v.bad(k+".pool", c.Pool, "is no pool: there are "+strings.Join(v.poolNames(), ", "))
		case c.Model == "":
			v.bad(k+".model", "", fmt.Sprintf("is needed: pool %s offers %s", c.Pool, strings.Join(pool.Models.names(), ", ")))
		case pool.Models.Find(c.Model) == nil:
			v.bad(k+".model", c.Model, fmt.Sprintf("is not offered by pool %s: it offers %s", c.Pool, strings.Join(pool.Models.names(), ", ")))
		case seen[pair]:
			v.bad(k, c.Pool+"/"+c.Model, "is a candidate already")
		}
		seen[pair] = true
		v.number(k+".weight", int64(c.Weight), 0, maxWeight)
		v.candidate(k, &c)
		sum += max(c.Weight, 0)
	}
	if sum == 0 {
		v.bad(key, "", "must have at least one weight above 0")
	}
}

// names are the offered names.
func (m Models) names() []string {
	names := make([]string, len(m))
	for i := range m {
		names[i] = m[i].Name
	}
	return names
}

func (v *validator) poolNames() []string {
	var names []string
	for _, p := range v.c.Pools {
		if p.Name != "" && !slices.Contains(names, p.Name) {
			names = append(names, p.Name)
		}
	}
	return names
}

func (v *validator) limits(key string, l Limits) {
	v.number(key+".rpm", l.RPM, 0, 1e12)
	v.number(key+".tpm", l.TPM, 0, 1e15)
}

func (v *validator) tenants() {
	names, owners := make(map[string]int), make(map[string]string)
	for i, t := range v.c.Tenants {
		key := at("tenants", i)
		v.name(key+".name", t.Name)
		v.unique(names, key+".name", t.Name, i)
		v.text(key+".tier", t.Tier, 0, 64)
		v.limits(key+".limits", t.Limits)
		v.tenantText(key+".text", t.Text)
		v.tenantKey(owners, key+".key", t.Key)
		own := make(map[string]int)
		for j, k := range t.Keys {
			key := at(key+".keys", j)
			v.name(key+".name", k.Name)
			v.unique(own, key+".name", k.Name, j)
			v.limits(key+".limits", k.Limits)
			v.tenantKey(owners, key+".key", k.Key)
		}
	}
}

// tenantKey checks that a key says whose a request is. Owners are where each key
// was seen first.
func (v *validator) tenantKey(owners map[string]string, key string, s Secret) {
	secret := s.Reveal()
	o, _ := v.lookup(key)
	o.text = ""
	first, taken := owners[secret]
	switch {
	case s.IsZero():
		v.bad(key, "", "is missing: a tenant needs a key (env:NAME or file:PATH)")
		return
	case secret == "": // a fault already
		return
	case taken:
		v.fault(o, key, "", "is also "+first+": a key must name one tenant, and one of its keys")
	case secret == v.c.HTTP.AdminKey.Reveal():
		v.fault(o, key, "", "is also http.admin_key: the administrator needs a key of his own")
	}
	owners[secret] = key
}
