package main

import (
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/strakehq/strake/plugins/storage-overlay/internal/overlay"
	"github.com/strakehq/strake/sdk/conformance"
	"github.com/strakehq/strake/sdk/driver"
	"github.com/strakehq/strake/sdk/storage"
)

func TestConformance(t *testing.T) {
	var made []storage.Driver
	conformance.Ways[storage.Driver]{
		New: func() storage.Driver {
			d := overlay.New("test", hclog.NewNullLogger())
			made = append(made, d)
			return d
		},
		Package: ".",
		Config: func(t testing.TB) driver.Config {
			c := conformance.TestConfig(t, "{}")
			t.Cleanup(func() { // nothing may work on the directories any more
				for _, d := range made {
					if err := d.Shutdown(t.Context()); err != nil {
						t.Error(err)
					}
				}
			})
			return c
		},
		Cases: conformance.StorageCases,
	}.RunTest(t)
}
