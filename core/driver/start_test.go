package driver

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"

	"github.com/strakehq/strake/core/config"
	"github.com/strakehq/strake/sdk/driver"
)

// What a look at the configuration can mend keeps the daemon from starting, and
// the message says what to mend.
func TestStartRefusesWrongConfiguration(t *testing.T) {
	opt := func(k string, v any) map[string]any { return map[string]any{k: v} }
	for _, tc := range []struct {
		name   string
		config config.Driver
		prep   func(t *testing.T, f *fixture)
		change func(*spec, *timing)
		says   []string
	}{
		{
			name: "no such driver", config: config.Driver{Driver: "tset"},
			says: []string{`storage driver "tset"`, "strake-storage-tset", "/bin", "storage drivers found there: test"},
		},
		{
			name: "wrong kind", config: config.Driver{Path: binary},
			change: func(s *spec, _ *timing) { s.kind, s.key = driver.Runtime, "runtime" },
			says:   []string{"it is the storage driver", "not a runtime driver", "[storage]"},
		},
		{
			name: "another name", config: config.Driver{Driver: "other", Path: binary},
			says: []string{`says that it is "test"`},
		},
		{
			name: "unknown option", config: config.Driver{Driver: "test", Options: opt("moed", "good")},
			says: []string{"moed", "mode", "[storage]"},
		},
		{
			name: "bad value of an option", config: config.Driver{Driver: "test", Options: opt("mode", "goood")},
			says: []string{"mode", "good", "exit", "refuse"},
		},
		{
			name: "value that the driver refuses", config: config.Driver{Driver: "test", Options: opt("mode", "refuse")},
			says: []string{"mode refuse: not today"},
		},
		{
			name: "binary not there", config: config.Driver{Path: "/nonexistent/strake-storage-test"},
			says: []string{"/nonexistent/strake-storage-test", "does not exist"},
		},
		{
			name: "binary of another user", config: config.Driver{Driver: "mine"},
			prep: func(t *testing.T, f *fixture) {
				if err := os.Chown(f.script("strake-storage-mine", "exit 0"), 1000, 0); err != nil {
					t.Fatal(err)
				}
			},
			says: []string{"strake-storage-mine", "owned by user 1000", "chown root"},
		},
		{
			name: "binary writable by others", config: config.Driver{Driver: "open"},
			prep: func(t *testing.T, f *fixture) {
				if err := os.Chmod(f.script("strake-storage-open", "exit 0"), 0o777); err != nil {
					t.Fatal(err)
				}
			},
			says: []string{"strake-storage-open", "0777", "chmod go-w"},
		},
		{
			name: "digest differs", config: config.Driver{Driver: "test", SHA256: strings.Repeat("ab", 32)},
			says: []string{"SHA-256", strings.Repeat("ab", 32)},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, tc.config, tc.change)
			if tc.prep != nil {
				tc.prep(t, f)
			}
			err := f.Start(t.Context())
			if err == nil {
				t.Fatal("started")
			}
			wantSays(t, err, tc.says...)
			if _, err := Check(t.Context(), f.config); err == nil {
				t.Error("Check finds nothing wrong")
			}
		})
	}
}

func wantSays(t *testing.T, err error, parts ...string) {
	t.Helper()
	for _, s := range parts {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("error does not say %q:\n%v", s, err)
		}
	}
}

// A driver that fails otherwise leaves the daemon up; calls say why.
func TestFailingDriverIsUnavailable(t *testing.T) {
	for _, tc := range []struct {
		name   string
		script string
		config config.Driver
		says   []string
	}{
		{
			name: "dies before it answers", script: `echo "cannot find my shoes" >&2; exit 7`,
			says: []string{"exit status 7", "cannot find my shoes"},
		},
		{
			name: "dies in Configure", config: config.Driver{Driver: "test", Options: map[string]any{"mode": "exit"}},
			says: []string{"Configure", "the disk is on fire"},
		},
		{
			name: "machine lacks something", config: config.Driver{Driver: "test", Options: map[string]any{"mode": "lacking"}},
			says: []string{"no flux capacitor: install one"},
		},
		{
			name: "contract too new", script: `echo "1|2|unix|/nonexistent|grpc|"; sleep 60`,
			says: []string{"contract version 2", "speaks 1"},
		},
		{
			name: "contract too old", script: `echo "1|0|unix|/nonexistent|grpc|"; sleep 60`,
			says: []string{"contract version 0", "upgrade the driver"},
		},
		{
			name: "does not answer", script: `exec sleep 60`,
			says: []string{"no answer"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := tc.config
			if tc.script != "" {
				c = config.Driver{Driver: "script"}
			}
			f := newFixture(t, c, func(_ *spec, tm *timing) {
				if strings.Contains(tc.script, "exec sleep") {
					tm.launch = 200 * time.Millisecond
				}
			})
			if tc.script != "" {
				f.script("strake-storage-script", tc.script)
			}
			if err := f.Start(t.Context()); err != nil {
				t.Fatalf("the daemon would not start: %v", err)
			}
			_, err := f.Storage().Stat(t.Context(), "x")
			if !errdefs.IsUnavailable(err) {
				t.Fatalf("class of %v", err)
			}
			wantSays(t, err, append(tc.says, `storage driver "`+f.instances[0].spec.name+`"`, "failed")...)
		})
	}
}

func TestDriverIsAvailableOnceItsBinaryIsMended(t *testing.T) {
	t.Parallel()
	f := newFixture(t, config.Driver{Driver: "test"}, nil)
	path := filepath.Join(f.bin, "strake-storage-test")
	if err := os.Rename(path, path+".good"); err != nil {
		t.Fatal(err)
	}
	f.script("strake-storage-test", "exit 1")
	if err := f.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".good", path); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the driver answers", func() bool {
		_, err := f.Storage().Stat(t.Context(), "x")
		return err == nil
	})
}

// What the daemon does first, right after a launch, is not to be lost because a
// process was killed before it was ready.
func TestCallsWaitForTheNextLaunchWhenTheFirstProcessIsKilled(t *testing.T) {
	t.Parallel()
	f := newFixture(t, config.Driver{Driver: "test"}, nil)
	path := filepath.Join(f.bin, "strake-storage-test")
	if err := os.Rename(path, path+".good"); err != nil {
		t.Fatal(err)
	}
	f.script("strake-storage-test", `[ -e "$0.killed" ] && exec "$0.good"; : >"$0.killed"; kill -KILL $$`)
	if err := f.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Storage().Stat(t.Context(), "x"); err != nil {
		t.Error(err)
	}
}

func TestCheckStartsNothingAndChangesNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t, config.Driver{Driver: "test"}, nil)
	f.config.Storage = config.Driver{Driver: "test", Options: map[string]any{"mode": "refuse"}}
	all, err := Check(t.Context(), f.config)
	// The other three kinds are not there.
	if n := strings.Count(err.Error(), "no driver of that name"); n != 3 {
		t.Errorf("%d drivers are missing, want 3: %v", n, err)
	}
	if all[0].Name != "test" || all[0].Version != "1.2.3" {
		t.Errorf("storage driver is described as %+v", all[0])
	}
	if _, err := os.Stat(f.config.StateDir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("state directory: %v", err)
	}
}
