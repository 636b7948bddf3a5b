package adapter

import (
	"errors"
	"net/url"
	"strings"

	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/sluicehq/sluice/sdk/wire/jsonscan"
)

// bedrock is the codec for Amazon Bedrock's Converse API. Chat completions are
// converted. The base URL is https://bedrock-runtime.REGION.amazonaws.com.
//
// The pool's key has one of two forms:
//
//	ACCESS_KEY_ID:SECRET_ACCESS_KEY[:SESSION_TOKEN][@REGION]   signs each request; without @REGION the base URL names it
//	anything without a colon                                   an API key of Bedrock's own
//
// What a conversion leaves out: seed, strict, user, and reasoning_effort but for
// OpenAI's models; the field thinking is passed on to the model.
type bedrock struct{}

// Auth implements Codec. A key that signs goes into no header.
func (bedrock) Auth(key string) Field {
	if strings.Contains(key, ":") {
		return Field{}
	}
	return Field{"Authorization", "Bearer " + key}
}

// CheckKey implements Signer.
func (bedrock) CheckKey(key string, base *url.URL) error {
	if !strings.Contains(key, ":") {
		return nil
	}
	k := readAWSKey(key, base)
	switch {
	case k.id == "" || k.secret == "" || strings.Contains(k.token, ":"):
		return errors.New("must be ACCESS_KEY_ID:SECRET_ACCESS_KEY, perhaps with :SESSION_TOKEN and @REGION behind it, or an API key of Bedrock's own")
	case k.region == "":
		return errors.New("names no region, and neither does base_url: put @REGION behind it")
	}
	return nil
}

// Sign implements Signer.
func (bedrock) Sign(s Signing) []Field {
	if !strings.Contains(s.Key, ":") {
		return nil
	}
	return readAWSKey(s.Key, s.URL).sign("bedrock", s.Method, s.URL, s.Header, s.Body, s.Now)
}

// readAWSKey takes a key apart; the region may come from the address.
func readAWSKey(key string, base *url.URL) awsKey {
	var k awsKey
	key, k.region, _ = strings.Cut(key, "@")
	k.id, key, _ = strings.Cut(key, ":")
	k.secret, k.token, _ = strings.Cut(key, ":")
	if k.region == "" && base != nil {
		k.region = awsRegion(base.Hostname())
	}
	return k
}

// awsRegion is the region in the name of a host of Bedrock's, "" if it has
// none.
func awsRegion(host string) string {
	labels := strings.Split(host, ".")
	for i, l := range labels[:len(labels)-1] {
		if l == "bedrock-runtime" || l == "bedrock-runtime-fips" {
			return labels[i+1]
		}
	}
	return ""
}

var bedrockStreamHeader = []Field{{"Content-Type", "application/json"}, {"Accept", "application/vnd.amazon.eventstream"}}

// Encode implements Codec.
func (bedrock) Encode(r Request) (Encoded, *Failure) {
	c, f := readChat(r, bedrockLimits)
	if f != nil {
		return Encoded{}, f
	}
	b, f := c.bedrock(r)
	if f != nil {
		return Encoded{}, f
	}
	model := strings.ReplaceAll(url.PathEscape(r.Model), ":", "%3A") // as AWS's own clients do
	e := Encoded{Method: "POST", Path: "/model/" + model + "/converse", Header: wholeHeader, Body: marshal(b), Stream: r.Stream}
	if r.Stream {
		e.Path, e.Header = e.Path+"-stream", bedrockStreamHeader
	}
	return e, nil
}

// Decode implements Codec.
func (bedrock) Decode(r Request, body []byte) ([]byte, Answer, *Failure) {
	if !sound(body) {
		return body, Answer{}, Fail(wire.CodeProviderError,
			"the provider answered 200 with a body of %d bytes that is no JSON object: check the pool's base_url", len(body))
	}
	s := &converseStream{w: newChatWriter(r)}
	content := jsonscan.Get(jsonscan.Get(jsonscan.Get(body, "output"), "message"), "content")
	s.tally.add(jsonscan.Get(body, "usage"))
	a := Answer{Usage: s.tally.usage(), Reported: s.tally.reported}
	if jsonscan.Kind(content) != '[' {
		return body, a, Fail(wire.CodeProviderError,
			"the provider answered 200 without the field output.message.content: check that the pool's base_url speaks Bedrock's Converse API")
	}
	s.message(content)
	if f := s.stop(jsonscan.String(jsonscan.Get(body, "stopReason"))); f != nil {
		return body, a, f
	}
	s.w.end(a.Usage, a.Reported)
	if !a.Reported {
		a.Text = s.w.whole.text
	}
	return s.w.whole.Answer(), a, nil
}

// Stream implements Codec.
func (bedrock) Stream(r Request) Stream { return &converseStream{w: newChatWriter(r)} }

// bedrockCodes are what the types of exceptions mean, in lower case.
var bedrockCodes = map[string]wire.Code{
	"throttlingexception": wire.CodeRateLimited, "toomanyrequestsexception": wire.CodeRateLimited,
	"servicequotaexceededexception": wire.CodeRateLimited,

	"accessdeniedexception": wire.CodeProviderAuth, "expiredtokenexception": wire.CodeProviderAuth, "expiredtoken": wire.CodeProviderAuth,
	"unrecognizedclientexception": wire.CodeProviderAuth, "invalidsignatureexception": wire.CodeProviderAuth,
	"signaturedoesnotmatch": wire.CodeProviderAuth, "invalidclienttokenid": wire.CodeProviderAuth,
	"incompletesignatureexception": wire.CodeProviderAuth, "missingauthenticationtokenexception": wire.CodeProviderAuth,

	"resourcenotfoundexception": wire.CodeModelNotFound, "validationexception": wire.CodeProviderRefused,
	"modeltimeoutexception": wire.CodeTimeout, "requesttimeoutexception": wire.CodeTimeout,
	"modelerrorexception": wire.CodeProviderError, "modelstreamerrorexception": wire.CodeProviderError,
	"modelnotreadyexception": wire.CodeProviderError, "internalserverexception": wire.CodeProviderError,
	"serviceunavailableexception": wire.CodeProviderError,
}

// Classify implements Codec: the type of the exception is in a header, or in
// the body.
func (bedrock) Classify(r Refusal) *Failure {
	kind := jsonscan.String(jsonscan.Get(trimLeft(r.Body), "__type"))
	if r.Header != nil {
		if h := r.Header.Get("X-Amzn-Errortype"); h != "" {
			kind = h
		}
	}
	kind = exceptionName(kind)
	code := bedrockCodes[strings.ToLower(kind)]
	if code == "" {
		code = statusCode(r.Status, fault{})
		if r.Status == 424 { // the model failed, not the request
			code = wire.CodeProviderError
		}
	}
	f := exception(kind, trimLeft(r.Body), code, "the provider answered "+string(appendInt(nil, int64(r.Status))))
	f.Verdict = fault{kind: kind}.verdict(code)
	wait := retryAfter(r)
	if r.Status == 503 && wait > 0 {
		f.Verdict = RetryLater
	}
	if f.Verdict != RetryLater {
		wait = 0
	}
	return f.after(wait)
}

// exceptionName is the bare name in service#Name:address.
func exceptionName(kind string) string {
	kind, _, _ = strings.Cut(kind, ":")
	return kind[strings.LastIndexByte(kind, '#')+1:]
}

// exception is the failure for an exception.
func exception(kind string, body []byte, code wire.Code, what string) *Failure {
	message := jsonscan.Get(body, "message")
	if message == nil {
		message = jsonscan.Get(body, "Message")
	}
	return fault{kind: kind, message: jsonscan.String(message)}.failure(code, VerdictOf(code), what)
}

// converseTally collects usage. Cached input is counted beside the input, and
// reasoning is part of the output, which is all that the API says.
type converseTally struct {
	reported                             bool
	input, cacheRead, cacheWrite, output int64
}

func (t *converseTally) add(usage []byte) {
	o := jsonscan.NewObject(usage)
	for m, ok := o.Next(); ok; m, ok = o.Next() {
		switch string(m.Key) {
		case "inputTokens":
			keepMax(&t.input, m.Value)
		case "cacheReadInputTokens":
			keepMax(&t.cacheRead, m.Value)
		case "cacheWriteInputTokens":
			keepMax(&t.cacheWrite, m.Value)
		case "outputTokens":
			t.reported = true
			keepMax(&t.output, m.Value)
		}
	}
}

func (t *converseTally) usage() wire.Usage {
	return wire.Usage{Input: t.input, CacheRead: t.cacheRead, CacheWrite: t.cacheWrite, Output: t.output}
}
