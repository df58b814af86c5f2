package main

import (
	"net/http"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
)

func FuzzContentRange(f *testing.F) {
	for _, s := range []string{"bytes 5-9/10", "bytes 0-0/*", "bytes */10", "bytes 0-", "bytes 9223372036854775808-1/1", "items 0-1/2", "bytes -1-5/10"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		start, total, err := contentRange(s)
		if err == nil && (start < 0 || total < -1) {
			t.Errorf("%q gives %d of %d", s, start, total)
		}
	})
}

func TestAContentRangeHasNoNegativeNumbers(t *testing.T) {
	for _, s := range []string{"bytes 0-/-2", "bytes -1-2/3", "bytes +1-2/3"} {
		if start, total, err := contentRange(s); err == nil {
			t.Errorf("%q gives %d of %d", s, start, total)
		}
	}
}

func FuzzNextLink(f *testing.F) {
	for _, s := range []string{`</v2/a/tags/list?last=b&n=2>; rel="next"`, `<https://other.example/v2/>; rel=next`, `<>; rel="next"`, `<a`, `>;rel=next`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if got := nextLink(http.Header{"Link": {s}}); strings.ContainsAny(got, ">") || !strings.Contains(s, got) {
			t.Errorf("%q gives %q", s, got)
		}
	})
}

// FuzzDescribe reads the headers of an answer to HEAD, and the body's own word
// on its type.
func FuzzDescribe(f *testing.F) {
	oci := "application/vnd.oci.image.index.v1+json"
	hex := "sha256:" + strings.Repeat("ab", 32)
	f.Add(oci, hex, int64(7), hex, []byte(`{"schemaVersion":2,"manifests":[]}`))
	f.Add("text/plain; charset=utf-8", "", int64(-1), "latest", []byte(`{"mediaType":"`+oci+`"}`))
	f.Add("application/json", "sha256:x", int64(0), "v1", []byte(`{"schemaVersion":1}`))
	f.Fuzz(func(t *testing.T, contentType, dg string, size int64, ref string, body []byte) {
		resp := &http.Response{Header: http.Header{"Content-Type": {contentType}, "Docker-Content-Digest": {dg}}, ContentLength: size}
		d, ok := describe(resp, ref)
		if ok && (d.Digest.Validate() != nil || d.Size <= 0 || digest.Digest(ref).Validate() == nil && string(d.Digest) != ref) {
			t.Errorf("asked for %q, let %+v through", ref, d)
		}
		mediaType(contentType, body)
	})
}
