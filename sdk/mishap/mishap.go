// Package mishap names the points at which the crash tests end, stop or disturb
// a process: one at every step that changes state. In a program built without
// the tag "faults" its functions are empty and cost nothing; with it, they look
// into the directory that the environment names, where the test says which
// point is to do what, and on which hit. Processes hand the variable down to
// those that they start, so a test reaches drivers and shims, too.
//
// A driver gets its points for free: sdk/plugin hits one before and one after
// each of its methods, on either side of the connection.
package mishap

import (
	"slices"
	"strings"
)

// Point is a place in a program.
type Point string

// When is a side of a step.
type When string

// The sides.
const (
	Before When = "before"
	After  When = "after"
)

// The points of the daemon, beside those of its calls and its records.
const (
	LeaseSaved       Point = "core.lease.saved"
	LeaseDropped     Point = "core.lease.dropped"
	BlobWritten      Point = "core.blob.written" // verified and not yet visible
	BlobStaged       Point = "core.blob.staged"  // visible and not yet durable
	BlobsSynced      Point = "core.blobs.synced"
	BlobsMoved       Point = "core.blobs.moved" // some of several
	BlobRemoved      Point = "core.blob.removed"
	LayerStreaming   Point = "core.layer.streaming"
	LayersSynced     Point = "core.layers.synced" // not yet listed
	ContainerDir     Point = "core.container.directory"
	ContainerBundle  Point = "core.container.bundle"
	ContainerErased  Point = "core.container.erased"
	NetNSFile        Point = "core.netns.file" // made and nothing mounted on it
	NetNSPinned      Point = "core.netns.pinned"
	NetNSUnpinned    Point = "core.netns.unpinned"
	AttachmentNoted  Point = "core.attachment.noted"
	AttachmentGone   Point = "core.attachment.gone"
	VolumeDir        Point = "core.volume.directory"
	VolumeAside      Point = "core.volume.aside"
	GarbageMarked    Point = "core.garbage.marked"
	ExecStarted      Point = "core.exec.started"
	RestartScheduled Point = "core.restart.scheduled"
	Recovering       Point = "core.recovering" // networks done, containers not
	Recovered        Point = "core.recovered"  // and nothing served yet
)

// The points of the storage driver.
const (
	SnapshotFilled    Point = "overlay.snapshot.filled" // and not yet named
	SnapshotNamed     Point = "overlay.snapshot.named"
	SnapshotSettled   Point = "overlay.snapshot.settled" // a layer, and not yet committed
	SnapshotRecord    Point = "overlay.snapshot.record"  // written aside
	SnapshotCommitted Point = "overlay.snapshot.committed"
	SnapshotDiscarded Point = "overlay.snapshot.discarded"
	SnapshotsSynced   Point = "overlay.snapshots.synced" // and that not noted
	LayerEntry        Point = "overlay.layer.entry"
	TrashEmptied      Point = "overlay.trash.emptied" // of one snapshot
)

// The points of the network driver.
const (
	BridgeRecord     Point = "bridge.record.aside"
	BridgeRecorded   Point = "bridge.record.written"
	BridgeForgot     Point = "bridge.record.removed"
	BridgeLink       Point = "bridge.link.made" // and not yet set up
	BridgeLinked     Point = "bridge.link.ready"
	BridgeUnlinked   Point = "bridge.link.removed"
	BridgeRules      Point = "bridge.rules.before"
	BridgeRuled      Point = "bridge.rules.after"
	BridgePortsTaken Point = "bridge.ports.taken"
	BridgeMade       Point = "bridge.bridge.made"
)

// The points of the runtime driver.
const (
	RuncConfig   Point = "runc.config"
	RuncAssigned Point = "runc.shim.assigned" // a spare, which has not answered
	RuncLaunched Point = "runc.shim.launched"
	RuncHeld     Point = "runc.streams.held"
	RuncDeleted  Point = "runc.runtime.deleted"
	RuncCgroups  Point = "runc.cgroups.removed"
	RuncErased   Point = "runc.directory.removed"
)

// The points of the shim.
const (
	ShimAssigned   Point = "shim.spare.assigned" // and it looks like a spare
	ShimNamed      Point = "shim.spare.named"    // and it has not answered
	ShimMounted    Point = "shim.rootfs.mounted"
	ShimRunning    Point = "shim.runtime.started" // the OCI runtime runs: the point to kill it at
	ShimRan        Point = "shim.runtime.ended"
	ShimStateAside Point = "shim.file.aside"
	ShimState      Point = "shim.file.written"
	ShimStarted    Point = "shim.process.started"
	ShimEnded      Point = "shim.process.ended"
	ShimDrained    Point = "shim.output.drained"
	ShimExit       Point = "shim.exit.stored"
	ShimForgot     Point = "shim.runtime.deleted"
	ShimLogWritten Point = "shim.log.written" // and not yet in the journal
	ShimLogNoted   Point = "shim.log.noted"
	ShimRotated    Point = "shim.log.rotated" // and not yet in the journal
	ShimExec       Point = "shim.exec.prepared"
	ShimExecGone   Point = "shim.exec.removed"
)

func fixed() []Point {
	return []Point{
		LeaseSaved, LeaseDropped, BlobWritten, BlobStaged, BlobsSynced, BlobsMoved, BlobRemoved, LayerStreaming, LayersSynced,
		ContainerDir, ContainerBundle, ContainerErased, NetNSFile, NetNSPinned, NetNSUnpinned, AttachmentNoted, AttachmentGone,
		VolumeDir, VolumeAside, GarbageMarked, ExecStarted, RestartScheduled, Recovering, Recovered,
		SnapshotFilled, SnapshotNamed, SnapshotSettled, SnapshotRecord, SnapshotCommitted, SnapshotDiscarded, SnapshotsSynced,
		LayerEntry, TrashEmptied,
		BridgeRecord, BridgeRecorded, BridgeForgot, BridgeLink, BridgeLinked, BridgeUnlinked, BridgeRules, BridgeRuled,
		BridgePortsTaken, BridgeMade,
		RuncConfig, RuncAssigned, RuncLaunched, RuncHeld, RuncDeleted, RuncCgroups, RuncErased,
		ShimAssigned, ShimNamed, ShimMounted, ShimRunning, ShimRan, ShimStateAside, ShimState, ShimStarted, ShimEnded, ShimDrained, ShimExit, ShimForgot,
		ShimLogWritten, ShimLogNoted, ShimRotated, ShimExec, ShimExecGone,
	}
}

// tables are those of the daemon's store.
func tables() []string { return []string{"containers", "images", "image-names", "networks", "volumes"} }

// Changing are the methods of the contracts that change something, as
// "storage.Prepare". They have points on both sides of the connection.
func Changing() []string {
	return []string{
		"driver.Configure",
		"storage.Prepare", "storage.Commit", "storage.Remove", "storage.Sync", "storage.Collect", "storage.Apply",
		"runtime.Create", "runtime.Start", "runtime.Recover", "runtime.Kill", "runtime.Pause", "runtime.Resume", "runtime.Update",
		"runtime.Delete", "runtime.Collect", "runtime.Exec", "runtime.DeleteExec", "runtime.Attach",
		"network.EnsureNetwork", "network.RemoveNetwork", "network.Attach", "network.Detach", "network.Recover", "network.Collect",
		"registry.FetchBlob",
	}
}

// Reading are the methods that change nothing, or nothing that outlives the
// driver's process, or of which the daemon makes no use when containers run.
func Reading() map[string]string {
	const reads = "it reads"
	return map[string]string{
		"driver.GetInfo": reads, "driver.WatchHealth": reads, "driver.Shutdown": "the driver is ending anyway",
		"storage.Mounts": reads, "storage.Stat": reads, "storage.Usage": reads, "storage.List": reads, "storage.Diff": reads,
		"storage.View":  "the daemon reads images through it for a moment; it is a Prepare",
		"runtime.State": reads, "runtime.Processes": reads, "runtime.Stats": reads, "runtime.WatchEvents": reads,
		"runtime.Resize": "it changes a terminal's size", "runtime.CloseStdin": "a client that is gone closes, too",
		"network.Check": reads, "network.List": reads, "network.SetNames": "the bridge driver keeps them in the record that Attach writes",
		"registry.Resolve": reads, "registry.GetManifest": reads, "registry.StatBlob": reads, "registry.ListTags": reads,
		"registry.ListReferrers": reads, "registry.Login": reads,
		"registry.PushBlob": "another machine's state", "registry.MountBlob": "another machine's state", "registry.PutManifest": "another machine's state",
	}
}

// All lists all points, sorted.
func All() []Point {
	all := fixed()
	for _, t := range tables() {
		for _, w := range []When{Before, After} {
			all = append(all, recordPoint(t, w))
		}
	}
	for _, m := range Changing() {
		for _, w := range []When{Before, After} {
			all = append(all, callPoint(m, w), servePoint(m, w))
		}
	}
	slices.Sort(all)
	return all
}

// recordPoint is in the transaction that changes a table, or behind it.
func recordPoint(table string, w When) Point { return Point("store." + table + "." + string(w)) }

// callPoint is in the daemon, servePoint in the driver.
func callPoint(method string, w When) Point  { return Point("call." + method + "." + string(w)) }
func servePoint(method string, w When) Point { return Point("serve." + method + "." + string(w)) }

// Method turns gRPC's name of a method, "/strake.storage.v1.Storage/Prepare",
// into the one used here.
func Method(full string) string {
	service, verb, _ := strings.Cut(strings.TrimPrefix(full, "/strake."), "/")
	kind, _, _ := strings.Cut(service, ".")
	return kind + "." + verb
}
