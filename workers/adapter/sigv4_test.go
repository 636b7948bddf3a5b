package adapter

import (
	"net/url"
	"strings"
	"testing"
	"time"
)

// TestSigV4Vectors compares with AWS's published test vectors.
func TestSigV4Vectors(t *testing.T) {
	key := awsKey{id: "AKIDEXAMPLE", secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", region: "us-east-1"}
	now := time.Date(2015, 8, 30, 12, 36, 0, 0, time.UTC)
	for _, c := range []struct {
		name, service, method, url string
		header                     []Field
		body, signed, want         string
	}{
		{"get-vanilla", "service", "GET", "https://example.amazonaws.com/", nil, "", "host;x-amz-date",
			"5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
		{"post-vanilla", "service", "POST", "https://example.amazonaws.com/", nil, "", "host;x-amz-date",
			"5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"},
		{"get-vanilla-query-order-key-case", "service", "GET", "https://example.amazonaws.com/?Param2=value2&Param1=value1", nil, "", "host;x-amz-date",
			"b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"},
		{"post-x-www-form-urlencoded", "service", "POST", "https://example.amazonaws.com/",
			[]Field{{"Content-Type", "application/x-www-form-urlencoded"}}, "Param1=value1", "content-type;host;x-amz-date",
			"ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"},
		{"the guide's example", "iam", "GET", "https://iam.amazonaws.com/?Action=ListUsers&Version=2010-05-08",
			[]Field{{"Content-Type", "application/x-www-form-urlencoded; charset=utf-8"}}, "", "content-type;host;x-amz-date",
			"5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"},
	} {
		u, err := url.Parse(c.url)
		if err != nil {
			t.Fatal(err)
		}
		got := key.sign(c.service, c.method, u, c.header, []byte(c.body), now)
		want := "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/" + c.service + "/aws4_request, SignedHeaders=" + c.signed + ", Signature=" + c.want
		if len(got) != 2 || got[0] != (Field{"X-Amz-Date", "20150830T123600Z"}) || got[1] != (Field{"Authorization", want}) {
			t.Errorf("%s: %+v\nwant %s", c.name, got, want)
		}
	}
}

func TestSigV4Canonical(t *testing.T) {
	for in, want := range map[string]string{
		"https://h":                           "/",
		"https://h/":                          "/",
		"https://h/model/a.b-v1%3A0/converse": "/model/a.b-v1%253A0/converse",
		"https://h/model/a.b-v1:0/converse":   "/model/a.b-v1%3A0/converse",
		"https://h/%E1%88%B4":                 "/%25E1%2588%25B4",
	} {
		u, err := url.Parse(in)
		if err != nil {
			t.Fatal(err)
		}
		if got := canonicalPath(u); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
	u, _ := url.Parse("https://h/?b=2&a=3&a=1&c&-._~=%20+%C3%BC")
	if got, want := canonicalQuery(u), "-._~=%20%20%C3%BC&a=1&a=3&b=2&c="; got != want {
		t.Errorf("query %s, want %s", got, want)
	}
	lines, names := canonicalHeader("H", []Field{{"X-B", " 1   2 "}, {"X-A", "x"}, {"x-b", "3"}})
	if lines != "host:H\nx-a:x\nx-b:1 2,3\n" || names != "host;x-a;x-b" {
		t.Errorf("header %q, %q", lines, names)
	}
}

// TestSigV4DependsOnEverything: another request, key or time is another
// signature; the same is the same.
func TestSigV4DependsOnEverything(t *testing.T) {
	u, _ := url.Parse("https://h/p")
	v, _ := url.Parse("https://h/q")
	k := awsKey{"id", "secret", "token", "r"}
	now := time.Unix(1_700_000_000, 0)
	sign := func(k awsKey, method string, u *url.URL, header []Field, body string, now time.Time) string {
		f := k.sign("bedrock", method, u, header, []byte(body), now)
		return f[len(f)-1].Value
	}
	base := sign(k, "POST", u, nil, "b", now)
	if again := sign(k, "POST", u, nil, "b", now); again != base || !strings.Contains(base, "x-amz-security-token") {
		t.Errorf("%s, then %s", base, again)
	}
	seen := map[string]int{base: 0}
	for i, s := range []string{
		sign(k, "GET", u, nil, "b", now), sign(k, "POST", v, nil, "b", now), sign(k, "POST", u, []Field{{"A", "b"}}, "b", now),
		sign(k, "POST", u, nil, "c", now), sign(k, "POST", u, nil, "b", now.Add(time.Second)),
		sign(awsKey{"id", "other", "token", "r"}, "POST", u, nil, "b", now), sign(awsKey{"id", "secret", "", "r"}, "POST", u, nil, "b", now),
		sign(awsKey{"id", "secret", "token", "s"}, "POST", u, nil, "b", now),
	} {
		if j, same := seen[s]; same {
			t.Errorf("%d and %d have the same signature", i+1, j)
		}
		seen[s] = i + 1
	}
}
