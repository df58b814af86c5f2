// Package core is the orchestrator: it turns requests of the Docker Engine API
// into calls of four drivers, and keeps the records of what it did. It imports
// sdk/ and never plugins/.
//
// # The tour, in five minutes
//
// Read the engine first. core/engine builds the daemon, takes back what runs,
// serves the API, and undoes its steps in reverse; every other package gets all
// that it needs from there.
//
//	a request        core/api                route, version, body, errors as HTTP statuses
//	                 core/api/<noun>         each declares the Backend that it calls
//	is validated     core/container, …       Docker's words where Docker has some
//	finds an image   core/image              records and names
//	pulls it         core/unpack             download, verify, decompress, unpack, side by side
//	                 core/content, core/gc   blobs by digest; what nobody needs goes
//	joins networks   core/network            namespaces, attachments, networks
//	mounts volumes   core/volume
//	becomes a spec   core/spec               the OCI specification, as Docker makes it
//	runs             core/container          the one state machine, and the undo of every step
//	is told about    core/events, core/logs  the event bus; logs that shims wrote
//	is remembered    core/store              one bbolt file, one fsync per transaction
//	is traced        core/trace              spans of the daemon and the drivers
//
// Everything outside the daemon is reached through core/driver, the plugin
// host. It hands out values of the four contracts (sdk/storage, sdk/runtime,
// sdk/network, sdk/registry) that stay valid while the processes behind them
// come and go.
//
// # What may be relied on
//
// The daemon may be killed at any moment: operations record what they intend,
// act, and record the result, and the next daemon completes or undoes. Drivers
// may be killed at any moment: core/driver relaunches them, and the hooks that
// core/engine registers hand their handles back. Containers belong to neither.
//
// Packages meet in interfaces that the caller declares: core/container/deps.go,
// core/api/<noun>/backend.go. Errors carry a class of containerd/errdefs, and
// only core/api/httperr turns classes into statuses.
package core
