package main

import (
	"testing"

	"github.com/strakehq/strake/sdk/conformance"
	"github.com/strakehq/strake/sdk/driver"
	"github.com/strakehq/strake/sdk/storage"
)

func TestConformance(t *testing.T) {
	conformance.Ways[storage.Driver]{
		New:     func() storage.Driver { return &copier{} },
		Package: ".",
		Config:  func(t testing.TB) driver.Config { return conformance.TestConfig(t, "{}") },
		Cases:   conformance.StorageCases,
	}.RunTest(t)
}
