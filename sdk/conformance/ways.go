package conformance

import (
	"path/filepath"
	"testing"

	"github.com/strakehq/strake/sdk/driver"
)

// Ways says how a driver's test gets at its subjects.
type Ways[D driver.Driver] struct {
	// New makes a driver that is not configured.
	New func() D
	// Package is the import path or directory of its main package.
	Package string
	// Config makes a configuration with fresh directories; TestConfig does.
	Config func(t testing.TB) driver.Config
	// Env is added to the binary's environment.
	Env []string
	// Cases is the suite of the kind. DriverCases are added to it.
	Cases func(Subject[D]) []Case
}

// RunTest runs the suite against the driver as a Go value, behind gRPC, as a
// binary, and as a binary that is killed between calls.
func (w Ways[D]) RunTest(t *testing.T) {
	suite := func(t *testing.T, s Subject[D], err error) {
		t.Helper()
		s = Opened(t, s, err)
		RunTest(t, append(DriverCases(s), w.Cases(s)...))
	}
	t.Run("direct", func(t *testing.T) {
		s, err := Direct(t.Context(), w.New, w.Config(t))
		suite(t, s, err)
	})
	t.Run("in-process", func(t *testing.T) {
		s, err := InProcess(t.Context(), w.New, w.Config(t))
		suite(t, s, err)
	})
	path := Build(t, w.Package)
	binary := func(t *testing.T, kills bool) {
		c := w.Config(t)
		s, err := Binary[D](t.Context(), BinaryConfig{
			Path: path, Config: c, Env: w.Env, Kills: kills, LogPath: filepath.Join(filepath.Dir(c.RunDir), "log"),
		})
		suite(t, s, err)
	}
	t.Run("binary", func(t *testing.T) { binary(t, false) })
	t.Run("binary with kills", func(t *testing.T) { binary(t, true) })
}
