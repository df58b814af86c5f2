package progress

import (
	"strings"
	"testing"
)

func TestALogGetsStatusLinesWithoutByteCounts(t *testing.T) {
	in := `{"status":"Pulling from library/nginx","id":"latest"}
{"status":"Downloading","progressDetail":{"current":5,"total":10},"id":"aaa"}
{"status":"Pull complete","progressDetail":{},"id":"aaa"}
{"status":"Status: Downloaded newer image for nginx:latest"}
`
	var out strings.Builder
	if err := Show(&out, Decode(strings.NewReader(in))); err != nil {
		t.Fatal(err)
	}
	want := "latest: Pulling from library/nginx\naaa: Pull complete\nStatus: Downloaded newer image for nginx:latest\n"
	if out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}

func TestAnErrorInTheStreamIsTheResult(t *testing.T) {
	err := Show(&strings.Builder{}, Decode(strings.NewReader(`{"errorDetail":{"message":"toomanyrequests"},"error":"toomanyrequests"}`)))
	if err == nil || err.Error() != "toomanyrequests" {
		t.Errorf("error %v", err)
	}
}

func TestATruncatedStreamIsAnError(t *testing.T) {
	if err := Show(&strings.Builder{}, Decode(strings.NewReader(`{"status":`))); err == nil {
		t.Error("no error")
	}
}
