package plugin

import (
	"testing"

	"github.com/containerd/errdefs"
)

func FuzzCheckHandshake(f *testing.F) {
	for _, line := range []string{"1|1|unix|/run/x|grpc|", "1|2|unix|/run/x|grpc", "1|0|unix|/x|grpc", "hello", "||||", "1|99999999999999999999|unix|/x|grpc"} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		if err := checkHandshake(line); err != nil && !errdefs.IsFailedPrecondition(err) {
			t.Error(err)
		}
	})
}
