package client

import (
	"net/http"
	"strings"
)

// challenge is one WWW-Authenticate challenge (RFC 9110, section 11.6.1), its
// scheme and parameter names in lower case.
type challenge struct {
	scheme string
	params map[string]string
}

// pickChallenge returns the strongest challenge that we can answer.
func pickChallenge(h http.Header) (challenge, bool) {
	var found challenge
	for _, v := range h.Values("Www-Authenticate") {
		for _, c := range parseChallenges(v) {
			if c.scheme == "bearer" && c.params["realm"] != "" {
				return c, true
			}
			if c.scheme == "basic" {
				found = c
			}
		}
	}
	return found, found.scheme != ""
}

// parseChallenges reads a list of challenges. What it cannot read it leaves
// out.
func parseChallenges(s string) []challenge {
	var out []challenge
	for {
		s = strings.TrimLeft(s, " \t,")
		if s == "" {
			return out
		}
		word, rest := token(s)
		if word == "" { // not a token: no grammar to follow any more
			return out
		}
		rest = strings.TrimLeft(rest, " \t")
		if strings.HasPrefix(rest, "=") && len(out) > 0 {
			value, after := paramValue(strings.TrimLeft(rest[1:], " \t"))
			out[len(out)-1].params[strings.ToLower(word)] = value
			s = after
			continue
		}
		if strings.HasPrefix(rest, "=") {
			return out // a parameter of no challenge
		}
		out = append(out, challenge{scheme: strings.ToLower(word), params: map[string]string{}})
		s = rest
	}
}

func token(s string) (word, rest string) {
	i := strings.IndexFunc(s, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune("\"(),/:;<=>?@[\\]{}", r)
	})
	if i < 0 {
		return s, ""
	}
	return s[:i], s[i:]
}

func paramValue(s string) (value, rest string) {
	if !strings.HasPrefix(s, `"`) {
		if i := strings.IndexAny(s, " \t,"); i >= 0 {
			return s[:i], s[i:]
		}
		return s, ""
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '"':
			return b.String(), s[i+1:]
		case s[i] == '\\' && i+1 < len(s):
			i++
			b.WriteByte(s[i])
		default:
			b.WriteByte(s[i])
		}
	}
	return "", "" // unterminated
}
