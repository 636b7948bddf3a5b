package wire

import (
	"encoding/json"
	"maps"
	"math"
	"slices"
	"strconv"
)

// appendEntry writes what json.Marshal would, several times as fast;
// TestDecodeLikeJSON holds the two together.
func appendEntry(b []byte, e *Entry) []byte {
	o := objectWriter{b: append(b, '{')}
	o.key("j").meta(&e.Meta)
	o.key("p").progress(&e.Progress)
	if e.Attempt != nil {
		o.key("a").attempt(e.Attempt)
	}
	o.optText("o", e.Owner)
	if e.WorkSeq != 0 {
		o.key("w").uint(e.WorkSeq)
	}
	o.optText("e", string(e.Error))
	if e.Decision != nil {
		o.key("d").decision(e.Decision)
	}
	return append(o.b, '}')
}

// appendAssignment is appendEntry for an Assignment.
func appendAssignment(b []byte, a *Assignment) []byte {
	o := objectWriter{b: append(b, '{')}
	o.key("j").meta(&a.Meta)
	o.key("p").progress(&a.Progress)
	if a.Attempt != nil {
		o.key("a").attempt(a.Attempt)
	}
	return append(o.b, '}')
}

// objectWriter appends members to JSON objects.
type objectWriter struct{ b []byte }

// key begins a member; its comma follows from what stands before.
func (o *objectWriter) key(name string) *objectWriter {
	if o.b[len(o.b)-1] != '{' {
		o.b = append(o.b, ',')
	}
	o.b = append(append(append(o.b, '"'), name...), '"', ':')
	return o
}

func (o *objectWriter) open()          { o.b = append(o.b, '{') }
func (o *objectWriter) close()         { o.b = append(o.b, '}') }
func (o *objectWriter) int(n int64)    { o.b = strconv.AppendInt(o.b, n, 10) }
func (o *objectWriter) uint(n uint64)  { o.b = strconv.AppendUint(o.b, n, 10) }
func (o *objectWriter) text(s string)  { o.b = appendText(o.b, s) }
func (o *objectWriter) truth(v bool)   { o.b = strconv.AppendBool(o.b, v) }
func (o *objectWriter) rate(r Rate)    { o.int(int64(r)) }
func (o *objectWriter) cost(n NanoUSD) { o.int(int64(n)) }

func (o *objectWriter) optText(name, s string) {
	if s != "" {
		o.key(name).text(s)
	}
}

func (o *objectWriter) optTexts(name string, list []string) {
	if len(list) == 0 {
		return
	}
	o.key(name)
	o.b = append(o.b, '[')
	for i, s := range list {
		if i > 0 {
			o.b = append(o.b, ',')
		}
		o.text(s)
	}
	o.b = append(o.b, ']')
}

func (o *objectWriter) optInt(name string, n int64) {
	if n != 0 {
		o.key(name).int(n)
	}
}

func (o *objectWriter) meta(m *Meta) {
	o.open()
	o.key("id").text(m.ID)
	o.key("t").text(m.Tenant)
	o.optText("k", m.Key)
	o.key("c").text(string(m.Class))
	o.key("s").uint(m.Seq)
	o.key("at").int(m.SubmittedAt)
	o.key("e").text(string(m.Endpoint))
	o.key("m").text(m.Route)
	if m.Stream {
		o.key("st").truth(true)
	}
	if m.Pack {
		o.key("pk").truth(true)
	}
	o.optInt("dl", m.Deadline)
	o.optInt("nb", m.NotBefore)
	o.optText("af", m.Affinity)
	o.optText("rg", m.Region)
	if m.MaxCost != nil {
		o.key("mc").cost(*m.MaxCost)
	}
	o.optText("wh", m.Webhook)
	o.optText("b", m.Batch)
	o.optText("pl", string(m.Placement))
	o.optText("tp", m.Trace)
	o.optText("ts", m.TraceState)
	if len(m.Labels) > 0 {
		o.key("l").labels(m.Labels)
	}
	o.optInt("mt", m.MaxTokens)
	o.optInt("ch", int64(m.Choices))
	o.optInt("nd", int64(m.Needs))
	o.optText("ac", string(m.AskedClass))
	o.optText("sh", m.Shadow)
	o.key("bb").int(int64(m.BodyBytes))
	o.key("bh").uint(m.BodyHash)
	o.close()
}

func (o *objectWriter) labels(l map[string]string) {
	o.open()
	for i, name := range slices.Sorted(maps.Keys(l)) {
		if i > 0 {
			o.b = append(o.b, ',')
		}
		o.text(name)
		o.b = append(o.b, ':')
		o.text(l[name])
	}
	o.close()
}

func (o *objectWriter) progress(p *Progress) {
	o.open()
	o.key("n").int(int64(p.Attempts))
	o.key("$").cost(p.Spent)
	if p.Unknown {
		o.key("u").truth(true)
	}
	o.optInt("k", int64(p.Cuts))
	o.optInt("h", int64(p.Held))
	o.optTexts("t", p.Tried)
	o.optInt("rc", int64(p.Recalls))
	o.key("x").uint(p.Expect)
	o.optInt("ra", p.ReadyAt)
	o.optInt("f", int64(p.Steps))
	o.optInt("td", p.Told)
	o.optTexts("mf", p.Misfits)
	o.optText("mc", string(p.Misfit))
	o.close()
}

func (o *objectWriter) attempt(a *Attempt) {
	o.open()
	o.key("n").int(int64(a.N))
	o.key("p").text(a.Pool)
	o.key("pr").text(a.Provider)
	o.key("m").text(a.Model)
	o.optText("rg", a.Region)
	o.optText("sg", a.Strategy)
	if a.Price != nil {
		o.key("$").price(a.Price)
	}
	o.key("q").int(a.QueueMS)
	o.optText("s", string(a.Status))
	o.optText("ec", string(a.ErrorCode))
	o.optInt("h", int64(a.HTTP))
	o.key("u").usage(&a.Usage)
	o.optText("us", string(a.Source))
	if a.Cost != nil {
		o.key("c").cost(*a.Cost)
	}
	o.optInt("tf", a.TTFTMS)
	o.optInt("l", a.LatencyMS)
	o.optInt("ra", a.RetryAfterMS)
	if a.Limits != nil {
		o.key("rl").limits(a.Limits)
	}
	if a.Doubtful {
		o.key("db").truth(true)
	}
	o.optInt("ma", int64(a.MaxAttempts))
	o.optInt("mx", a.MaxTokens)
	if a.Hold != nil {
		o.key("ho").open()
		o.key("s").uint(a.Hold.Seq)
		o.key("at").int(a.Hold.At)
		o.optInt("$", int64(a.Hold.USD))
		o.optInt("n", a.Hold.Tokens)
		o.close()
	}
	if a.Decision != nil {
		o.key("d").decision(a.Decision)
	} else if a.Folded != "" {
		o.key("d")
		o.b = append(o.b, a.Folded...)
	}
	o.close()
}

func (o *objectWriter) price(p *Price) {
	o.open()
	o.optText("v", p.Version)
	o.key("i").rate(p.Input)
	o.optInt("cr", int64(p.CacheRead))
	o.optInt("cw", int64(p.CacheWrite))
	o.key("o").rate(p.Output)
	o.optInt("r", int64(p.Reasoning))
	o.close()
}

func (o *objectWriter) usage(u *Usage) {
	o.open()
	o.key("i").int(u.Input)
	o.optInt("cr", u.CacheRead)
	o.optInt("cw", u.CacheWrite)
	o.key("o").int(u.Output)
	o.optInt("r", u.Reasoning)
	o.close()
}

func (o *objectWriter) limits(l *Limits) {
	o.open()
	o.key("r").limit(&l.Requests)
	o.key("t").limit(&l.Tokens)
	o.close()
}

func (o *objectWriter) limit(l *Limit) {
	o.open()
	o.key("l").int(l.Limit)
	o.key("n").int(l.Left)
	o.optInt("r", l.ResetMS)
	o.close()
}

func (o *objectWriter) decision(d *Decision) {
	o.open()
	o.key("r").text(d.Route)
	o.key("sg").text(d.Strategy)
	o.optText("p", d.Pool)
	o.optText("m", d.Model)
	o.key("c")
	if d.Candidates == nil {
		o.b = append(o.b, "null"...)
	} else {
		o.b = append(o.b, '[')
		for i := range d.Candidates {
			if i > 0 {
				o.b = append(o.b, ',')
			}
			o.candidate(&d.Candidates[i])
		}
		o.b = append(o.b, ']')
	}
	if d.Sequence != 0 {
		o.key("n").uint(d.Sequence)
	}
	o.optTexts("ru", d.Rules)
	o.optTexts("rf", d.Failed)
	o.optText("ex", d.Experiment)
	o.optText("va", d.Variant)
	o.optInt("fb", int64(d.Fallback))
	o.optInt("fl", int64(d.Left))
	if d.Next {
		o.key("fx").truth(true)
	}
	o.optText("sn", d.Seen)
	o.close()
}

func (o *objectWriter) candidate(c *Candidate) {
	o.open()
	o.key("p").text(c.Pool)
	o.key("m").text(c.Model)
	o.key("w").int(int64(c.Weight))
	o.key("d").int(int64(c.Depth))
	o.key("s")
	o.b = appendFloat(o.b, c.Score)
	o.optText("x", c.Excluded)
	o.close()
}

// appendFloat writes a float as encoding/json does; what JSON cannot say (no
// scorer makes it) becomes 0.
func appendFloat(b []byte, f float64) []byte {
	if math.IsInf(f, 0) || math.IsNaN(f) {
		return append(b, '0')
	}
	if a := math.Abs(f); a == 0 || a >= 1e-6 && a < 1e21 {
		return strconv.AppendFloat(b, f, 'f', -1, 64)
	}
	raw, err := json.Marshal(f)
	if err != nil { // cannot happen: it is finite
		return append(b, '0')
	}
	return append(b, raw...)
}

// appendText writes a string as encoding/json does; only plain ASCII that
// needs no escape is written here.
func appendText(b []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			raw, err := json.Marshal(s)
			if err != nil { // cannot happen: any string can be encoded
				return append(b, '"', '"')
			}
			return append(b, raw...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}
