package wire

import (
	"encoding/json"
	"errors"
	"strconv"
)

// errSlow sends a record to encoding/json: it is not written as expected.
var errSlow = errors.New("not in the usual form")

// decodeEntry reads what Record.Encode makes of an Entry, in a fifth of the
// time of encoding/json, which is left with whatever is not written as
// expected: TestDecodeLikeWire holds the two together. Strings are cut out of
// the text and not copied.
func decodeEntry(text string, e *Entry) error {
	s := scanner{text: text}
	if s.entry(e) == nil && s.end() == nil {
		return nil
	}
	*e = Entry{}
	return json.Unmarshal([]byte(text), e)
}

// decodeAssignment is decodeEntry for an Assignment.
func decodeAssignment(text string, a *Assignment) error {
	s := scanner{text: text}
	if s.assignment(a) == nil && s.end() == nil {
		return nil
	}
	*a = Assignment{}
	return json.Unmarshal([]byte(text), a)
}

// decodeWork is decodeAssignment with the decision left folded.
func decodeWork(text string, a *Assignment) error {
	s := scanner{text: text, fold: true}
	if s.assignment(a) == nil && s.end() == nil {
		return nil
	}
	*a = Assignment{}
	return json.Unmarshal([]byte(text), a)
}

func (s *scanner) assignment(a *Assignment) error {
	return s.object(func(key string) error {
		switch key {
		case "j":
			return s.meta(&a.Meta)
		case "p":
			return s.progress(&a.Progress)
		case "a":
			return once(&a.Attempt, s.attempt)
		}
		return errSlow
	})
}

func (s *scanner) entry(e *Entry) error {
	return s.object(func(key string) error {
		switch key {
		case "j":
			return s.meta(&e.Meta)
		case "p":
			return s.progress(&e.Progress)
		case "a":
			return once(&e.Attempt, s.attempt)
		case "o":
			return str(s, &e.Owner)
		case "w":
			return s.uint(&e.WorkSeq)
		case "e":
			return str(s, &e.Error)
		case "d":
			return once(&e.Decision, s.decision)
		}
		return errSlow
	})
}

func (s *scanner) meta(m *Meta) error {
	return s.object(func(key string) error {
		switch key {
		case "id":
			return str(s, &m.ID)
		case "t":
			return str(s, &m.Tenant)
		case "k":
			return str(s, &m.Key)
		case "c":
			return str(s, &m.Class)
		case "s":
			return s.uint(&m.Seq)
		case "at":
			return integer(s, &m.SubmittedAt)
		case "e":
			return str(s, &m.Endpoint)
		case "m":
			return str(s, &m.Route)
		case "st":
			return s.boolean(&m.Stream)
		case "pk":
			return s.boolean(&m.Pack)
		case "dl":
			return integer(s, &m.Deadline)
		case "nb":
			return integer(s, &m.NotBefore)
		case "af":
			return str(s, &m.Affinity)
		case "rg":
			return str(s, &m.Region)
		case "mc":
			return once(&m.MaxCost, func(v *NanoUSD) error { return integer(s, v) })
		case "wh":
			return str(s, &m.Webhook)
		case "b":
			return str(s, &m.Batch)
		case "pl":
			return str(s, &m.Placement)
		case "tp":
			return str(s, &m.Trace)
		case "ts":
			return str(s, &m.TraceState)
		case "l":
			return s.labels(&m.Labels)
		case "mt":
			return integer(s, &m.MaxTokens)
		case "ch":
			return integer(s, &m.Choices)
		case "nd":
			return integer(s, &m.Needs)
		case "ac":
			return str(s, &m.AskedClass)
		case "sh":
			return str(s, &m.Shadow)
		case "bb":
			return integer(s, &m.BodyBytes)
		case "bh":
			return s.uint(&m.BodyHash)
		}
		return errSlow
	})
}

func (s *scanner) labels(l *map[string]string) error {
	if *l != nil {
		return errSlow
	}
	*l = make(map[string]string)
	return s.object(func(key string) error {
		var v string
		err := str(s, &v)
		(*l)[key] = v
		return err
	})
}

func (s *scanner) texts(list *[]string) error {
	if *list != nil {
		return errSlow
	}
	*list = []string{}
	return s.array(func() error {
		*list = append(*list, "")
		return str(s, &(*list)[len(*list)-1])
	})
}

func (s *scanner) progress(p *Progress) error {
	return s.object(func(key string) error {
		switch key {
		case "n":
			return integer(s, &p.Attempts)
		case "$":
			return integer(s, &p.Spent)
		case "u":
			return s.boolean(&p.Unknown)
		case "k":
			return integer(s, &p.Cuts)
		case "h":
			return integer(s, &p.Held)
		case "t":
			return s.texts(&p.Tried)
		case "rc":
			return integer(s, &p.Recalls)
		case "x":
			return s.uint(&p.Expect)
		case "ra":
			return integer(s, &p.ReadyAt)
		case "f":
			return integer(s, &p.Steps)
		case "td":
			return integer(s, &p.Told)
		case "mf":
			return s.texts(&p.Misfits)
		case "mc":
			return str(s, &p.Misfit)
		}
		return errSlow
	})
}

func (s *scanner) attempt(a *Attempt) error {
	return s.object(func(key string) error {
		switch key {
		case "n":
			return integer(s, &a.N)
		case "p":
			return str(s, &a.Pool)
		case "pr":
			return str(s, &a.Provider)
		case "m":
			return str(s, &a.Model)
		case "rg":
			return str(s, &a.Region)
		case "sg":
			return str(s, &a.Strategy)
		case "$":
			return once(&a.Price, s.price)
		case "q":
			return integer(s, &a.QueueMS)
		case "s":
			return str(s, &a.Status)
		case "ec":
			return str(s, &a.ErrorCode)
		case "h":
			return integer(s, &a.HTTP)
		case "u":
			return s.usage(&a.Usage)
		case "us":
			return str(s, &a.Source)
		case "c":
			return once(&a.Cost, func(v *NanoUSD) error { return integer(s, v) })
		case "tf":
			return integer(s, &a.TTFTMS)
		case "l":
			return integer(s, &a.LatencyMS)
		case "ra":
			return integer(s, &a.RetryAfterMS)
		case "rl":
			return once(&a.Limits, s.limits)
		case "db":
			return s.boolean(&a.Doubtful)
		case "ma":
			return integer(s, &a.MaxAttempts)
		case "mx":
			return integer(s, &a.MaxTokens)
		case "ho":
			return once(&a.Hold, s.hold)
		case "d":
			if s.fold {
				return s.folded(&a.Folded)
			}
			return once(&a.Decision, s.decision)
		}
		return errSlow
	})
}

func (s *scanner) price(p *Price) error {
	return s.object(func(key string) error {
		switch key {
		case "v":
			return str(s, &p.Version)
		case "i":
			return integer(s, &p.Input)
		case "cr":
			return integer(s, &p.CacheRead)
		case "cw":
			return integer(s, &p.CacheWrite)
		case "o":
			return integer(s, &p.Output)
		case "r":
			return integer(s, &p.Reasoning)
		}
		return errSlow
	})
}

func (s *scanner) usage(u *Usage) error {
	return s.object(func(key string) error {
		switch key {
		case "i":
			return integer(s, &u.Input)
		case "cr":
			return integer(s, &u.CacheRead)
		case "cw":
			return integer(s, &u.CacheWrite)
		case "o":
			return integer(s, &u.Output)
		case "r":
			return integer(s, &u.Reasoning)
		}
		return errSlow
	})
}

func (s *scanner) hold(h *Hold) error {
	return s.object(func(key string) error {
		switch key {
		case "s":
			return s.uint(&h.Seq)
		case "at":
			return integer(s, &h.At)
		case "$":
			return integer(s, &h.USD)
		case "n":
			return integer(s, &h.Tokens)
		}
		return errSlow
	})
}

func (s *scanner) limits(l *Limits) error {
	return s.object(func(key string) error {
		switch key {
		case "r":
			return s.limit(&l.Requests)
		case "t":
			return s.limit(&l.Tokens)
		}
		return errSlow
	})
}

func (s *scanner) limit(l *Limit) error {
	return s.object(func(key string) error {
		switch key {
		case "l":
			return integer(s, &l.Limit)
		case "n":
			return integer(s, &l.Left)
		case "r":
			return integer(s, &l.ResetMS)
		}
		return errSlow
	})
}

func (s *scanner) decision(d *Decision) error {
	return s.object(func(key string) error {
		switch key {
		case "r":
			return str(s, &d.Route)
		case "sg":
			return str(s, &d.Strategy)
		case "p":
			return str(s, &d.Pool)
		case "m":
			return str(s, &d.Model)
		case "n":
			return s.uint(&d.Sequence)
		case "ru":
			return s.texts(&d.Rules)
		case "rf":
			return s.texts(&d.Failed)
		case "ex":
			return str(s, &d.Experiment)
		case "va":
			return str(s, &d.Variant)
		case "fb":
			return integer(s, &d.Fallback)
		case "fl":
			return integer(s, &d.Left)
		case "fx":
			return s.boolean(&d.Next)
		case "sn":
			return str(s, &d.Seen)
		case "c":
			if d.Candidates != nil {
				return errSlow
			}
			d.Candidates = make([]Candidate, 0, 4)
			return s.array(func() error {
				d.Candidates = append(d.Candidates, Candidate{})
				return s.candidate(&d.Candidates[len(d.Candidates)-1])
			})
		}
		return errSlow
	})
}

func (s *scanner) candidate(c *Candidate) error {
	return s.object(func(key string) error {
		switch key {
		case "p":
			return str(s, &c.Pool)
		case "m":
			return str(s, &c.Model)
		case "w":
			return integer(s, &c.Weight)
		case "d":
			return integer(s, &c.Depth)
		case "s":
			v, err := strconv.ParseFloat(s.number(), 64)
			c.Score = v
			return err
		case "x":
			return str(s, &c.Excluded)
		}
		return errSlow
	})
}
