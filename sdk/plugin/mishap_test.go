package plugin

import (
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/strakehq/strake/sdk/mishap"
)

// A method that is added to a contract gets points, or a reason why it has none.
func TestEveryMethodOfTheContractsHasPointsOrAReason(t *testing.T) {
	var all []string
	protoregistry.GlobalFiles.RangeFiles(func(f protoreflect.FileDescriptor) bool {
		if !strings.HasPrefix(string(f.Package()), "strake.") {
			return true
		}
		for i := range f.Services().Len() {
			s := f.Services().Get(i)
			for j := range s.Methods().Len() {
				all = append(all, mishap.Method("/"+string(s.FullName())+"/"+string(s.Methods().Get(j).Name())))
			}
		}
		return true
	})
	if len(all) < 40 {
		t.Fatalf("only %d methods found: %q", len(all), all)
	}
	for _, m := range all {
		_, reads := mishap.Reading()[m]
		if changes := slices.Contains(mishap.Changing(), m); changes == reads {
			t.Errorf("%s: changing %t, reading %t: want one of them", m, changes, reads)
		}
	}
	for _, m := range mishap.Changing() {
		if !slices.Contains(all, m) {
			t.Errorf("%s: no such method", m)
		}
	}
}
