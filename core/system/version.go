package system

import (
	"context"
	"runtime"
	"runtime/debug"
	"strconv"

	"github.com/moby/moby/api/types/system"

	apiversion "github.com/strakehq/strake/core/api/version"
	"github.com/strakehq/strake/sdk/version"
)

// Version answers GET /version. The drivers are listed as components.
func (s *System) Version(ctx context.Context) (system.VersionResponse, error) {
	revision, built := buildInfo()
	v := system.VersionResponse{
		Platform: system.PlatformInfo{Name: "Strake"}, Version: version.Version,
		APIVersion: apiversion.Newest, MinAPIVersion: apiversion.Oldest,
		Os: runtime.GOOS, Arch: runtime.GOARCH,
		GitCommit: revision, GoVersion: runtime.Version(), KernelVersion: s.host.kernel, BuildTime: built,
	}
	v.Components = append(v.Components, system.ComponentVersion{
		Name: "Engine", Version: version.Version,
		Details: map[string]string{
			"ApiVersion": v.APIVersion, "MinAPIVersion": v.MinAPIVersion, "Os": v.Os, "Arch": v.Arch,
			"GitCommit": revision, "GoVersion": v.GoVersion, "KernelVersion": v.KernelVersion,
			"BuildTime": built, "Experimental": strconv.FormatBool(v.Experimental),
		},
	})
	all, err := s.Drivers.Drivers(ctx)
	if err != nil {
		return v, err
	}
	for _, d := range all {
		if oci := s.oci.of(ctx, s.Settings, d); oci.version != "" {
			v.Components = append(v.Components, system.ComponentVersion{Name: d.Name, Version: oci.version})
		}
		v.Components = append(v.Components, system.ComponentVersion{
			Name: d.Kind + " driver " + d.Name, Version: d.Version,
			Details: map[string]string{"Status": d.Status, "Path": d.Path},
		})
	}
	return v, nil
}

// buildInfo returns what go build noted of the sources.
func buildInfo() (revision, time string) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "", ""
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			revision = s.Value
		case "vcs.time":
			time = s.Value
		}
	}
	return revision, time
}
