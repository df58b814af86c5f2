package engine

import (
	"testing"

	units "github.com/docker/go-units"
	apicontainer "github.com/moby/moby/api/types/container"

	"github.com/strakehq/strake/core/config"
)

func TestLogsAreBoundedUnlessTheRequestSaysOtherwise(t *testing.T) {
	c := config.Default().Containers
	for _, tc := range []struct {
		name string
		in   apicontainer.LogConfig
		size string
		file string
	}{
		{"nothing said", apicontainer.LogConfig{}, "20971520", "5"},
		{"the driver said", apicontainer.LogConfig{Type: "json-file", Config: map[string]string{"max-file": "2"}}, "20971520", "2"},
		{"a size said", apicontainer.LogConfig{Type: "json-file", Config: map[string]string{"max-size": "1m"}}, "1m", ""},
		{"without a bound by word", apicontainer.LogConfig{Config: map[string]string{"max-size": "-1"}}, "-1", ""},
		{"no log", apicontainer.LogConfig{Type: "none"}, "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l := tc.in
			defaults{config: c}.log(&l)
			if l.Config["max-size"] != tc.size || l.Config["max-file"] != tc.file {
				t.Errorf("got %+v", l)
			}
		})
	}
}

func TestUlimitsAndResolverOfTheRequestGoFirst(t *testing.T) {
	c := config.Containers{
		Ulimits: []config.Ulimit{{Name: "nofile", Soft: 1, Hard: 2}, {Name: "core", Soft: 3, Hard: 3}},
		DNS:     []string{"192.0.2.1"}, DNSSearch: []string{"example.org"},
	}
	h := &apicontainer.HostConfig{DNSSearch: []string{"own.example"}}
	h.Ulimits = []*units.Ulimit{{Name: "nofile", Soft: 9, Hard: 9}}
	d := defaults{config: c}
	d.ulimits(h)
	d.resolver(h)
	if len(h.Ulimits) != 2 || h.Ulimits[0].Soft != 9 || h.Ulimits[1].Name != "core" || h.Ulimits[1].Hard != 3 {
		t.Errorf("ulimits are %v", h.Ulimits)
	}
	if len(h.DNS) != 1 || h.DNS[0].String() != "192.0.2.1" || h.DNSSearch[0] != "own.example" {
		t.Errorf("resolver is %v %v", h.DNS, h.DNSSearch)
	}
}
