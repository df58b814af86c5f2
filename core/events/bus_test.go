package events_test

import (
	"context"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	api "github.com/moby/moby/api/types/events"

	"github.com/strakehq/strake/core/events"
	"github.com/strakehq/strake/core/filter"
)

func TestSubscribersGetThePastThenThePresent(t *testing.T) {
	b := &events.Bus{}
	b.Publish(api.ContainerEventType, api.ActionCreate, "c1", map[string]string{"name": "web"})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	seq, err := b.Subscribe(ctx, time.Unix(1, 0), time.Time{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	b.Publish(api.ContainerEventType, api.ActionStart, "c1", nil)
	var got []api.Action
	for m, err := range seq {
		if err != nil {
			t.Fatal(err)
		}
		if m.Scope != "local" || m.TimeNano/1e9 != m.Time || m.Actor.Attributes == nil {
			t.Errorf("%+v", m)
		}
		if got = append(got, m.Action); len(got) == 2 {
			cancel()
		}
	}
	if !slices.Equal(got, []api.Action{"create", "start"}) {
		t.Errorf("got %v", got)
	}
}

func TestTheNewDoNotSeeThePastUnasked(t *testing.T) {
	b := &events.Bus{}
	b.Publish(api.ImageEventType, api.ActionPull, "busybox", nil)
	ctx, cancel := context.WithCancel(t.Context())
	seq, err := b.Subscribe(ctx, time.Time{}, time.Time{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	for m := range seq {
		t.Errorf("got %v", m)
	}
}

func TestHistoryIsBoundedAndUntilEndsIt(t *testing.T) {
	b := &events.Bus{}
	for i := range events.History + 10 {
		b.Publish(api.VolumeEventType, api.ActionCreate, strconv.Itoa(i), nil)
	}
	seq, err := b.Subscribe(t.Context(), time.Unix(1, 0), time.Now(), nil)
	if err != nil {
		t.Fatal(err)
	}
	n, first := 0, ""
	for m := range seq {
		if n == 0 {
			first = m.Actor.ID
		}
		n++
	}
	if n != events.History || first != "10" {
		t.Errorf("%d events from %s", n, first)
	}
	if _, err := b.Subscribe(t.Context(), time.Unix(9, 0), time.Unix(8, 0), nil); !errdefs.IsInvalidArgument(err) {
		t.Errorf("until before since: %v", err)
	}
}

func TestSlowSubscribersAreCutOffAndTold(t *testing.T) {
	b := &events.Bus{}
	seq, err := b.Subscribe(t.Context(), time.Time{}, time.Time{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 2000 {
		b.Publish(api.DaemonEventType, api.ActionReload, "d", nil)
	}
	n := 0
	var last error
	for _, err := range seq {
		n++
		last = err
	}
	if n != 1025 || !errdefs.IsResourceExhausted(last) {
		t.Errorf("%d events, then %v", n, last)
	}
}

func TestFilters(t *testing.T) {
	m := api.Message{
		Type: api.ContainerEventType, Action: "exec_start: sh -c true", Scope: "local",
		Actor: api.Actor{ID: "abcdef", Attributes: map[string]string{"name": "web", "image": "reg:5000/nginx:1", "tier": "front"}},
	}
	network := api.Message{Type: api.NetworkEventType, Action: "connect", Actor: api.Actor{ID: "n1", Attributes: map[string]string{"container": "abcdef", "name": "bridge"}}}
	for _, c := range []struct {
		f    filter.Args
		m    api.Message
		want bool
	}{
		{nil, m, true},
		{filter.Args{"type": {"container"}}, m, true},
		{filter.Args{"type": {"image", "network"}}, m, false},
		{filter.Args{"event": {"exec_start"}}, m, true},
		{filter.Args{"event": {"exec"}}, m, false},
		{filter.Args{"container": {"web"}}, m, true},
		{filter.Args{"container": {"abc"}}, m, true},
		{filter.Args{"container": {"other"}}, m, false},
		{filter.Args{"container": {"abc"}}, network, true},
		{filter.Args{"network": {"bridge"}}, network, true},
		{filter.Args{"network": {"bridge"}}, m, false},
		{filter.Args{"image": {"reg:5000/nginx"}}, m, true},
		{filter.Args{"image": {"reg:5000/nginx:1"}}, m, true},
		{filter.Args{"image": {"nginx"}}, m, false},
		{filter.Args{"label": {"tier=front"}}, m, true},
		{filter.Args{"label": {"tier=back"}}, m, false},
		{filter.Args{"scope": {"swarm"}}, m, false},
	} {
		if got := events.Match(c.f, c.m); got != c.want {
			t.Errorf("%v on %s: %v", c.f, c.m.Type, got)
		}
	}
}
