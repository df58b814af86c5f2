package budget

// operation is something people wait for.
type operation string

const (
	run    operation = "run --rm"
	serve  operation = "run -d -p"
	execIn operation = "exec"
	stop   operation = "stop"
	remove operation = "rm"
	pull   operation = "pull"
)

// measure is what is counted.
type measure string

const (
	processes    measure = "processes executed"
	fsyncs       measure = "fsyncs"
	transactions measure = "store transactions"
	rpcs         measure = "driver calls"
	mounts       measure = "mounts and unmounts"
	netlinks     measure = "netlink messages"
	packed       measure = "copies of a compressed byte"
	unpacked     measure = "copies of an unpacked byte"
	readBack     measure = "bytes read back from disk"
)

// budget is the most that one operation may take, with the work that it leaves
// for after its answer.
type budget struct {
	op  operation
	of  measure
	max int
	why string
}

// budgets is the table, which docs/performance.md shows too. Whoever makes an operation cheaper lowers its number;
// whoever needs more says here what for.
func budgets() []budget {
	return []budget{
		{run, processes, 5, "runc create, runc init and its second self (runc copies itself against CVE-2019-5736), the container's own; after the answer the next spare shim"},
		{run, fsyncs, 6, "three transactions of two each"},
		{run, transactions, 3, "created, runs, removed; the exit of a container with --rm is not recorded"},
		{run, rpcs, 9, "Prepare, Remove; Create, Attach, Start, Delete, and State when the exit overtakes the start; network Attach, Detach"},
		{run, mounts, 4, "the pinned network namespace and its unmount; the shim's mount namespace and the root in it"},
		{run, netlinks, 21, "loopback up; a veth pair made, named, addressed, routed, enslaved; removed again; now and then a look at the rules"},

		{serve, processes, 5, "as run"},
		{serve, fsyncs, 4, "two transactions"},
		{serve, transactions, 2, "created, runs"},
		{serve, rpcs, 4, "Prepare, Create, Start, network Attach: publishing is part of it"},
		{serve, mounts, 3, "as run, without the unmount"},
		{serve, netlinks, 34, "as run, without the removal; rules and set elements of the port in one batch, and the dumps before it"},

		{execIn, processes, 4, "runc exec, runc init and its second self, the command"},
		{execIn, fsyncs, 0, "an exec is not on disk"},
		{execIn, transactions, 0, "an exec is not on disk"},
		{execIn, rpcs, 2, "Exec, DeleteExec"},
		{execIn, mounts, 0, ""},
		{execIn, netlinks, 1, "the network driver looks after its rules when they changed before"},

		{stop, processes, 0, "the shim sends the signal and deletes the container by itself"},
		{stop, fsyncs, 2, "one transaction"},
		{stop, transactions, 1, "the exit"},
		{stop, rpcs, 3, "Kill, Delete, network Detach"},
		{stop, mounts, 1, "the network namespace is let go"},
		{stop, netlinks, 18, "rules of the port, then the veth"},

		{remove, processes, 0, ""},
		{remove, fsyncs, 2, "one transaction"},
		{remove, transactions, 1, "the record goes"},
		{remove, rpcs, 1, "Remove: a rename, its rest is deleted after the answer"},
		{remove, mounts, 0, ""},
		{remove, netlinks, 1, "as exec"},

		{pull, packed, 4, "registry driver: socket in, socket out; straked: socket in, file out"},
		{pull, unpacked, 3, "straked: socket out; storage driver: socket in, files out"},
		{pull, readBack, 0, "what was downloaded is hashed, unpacked and written in one pass"},
		{pull, fsyncs, 7, "a syncfs and an fsync of a directory by each of straked and the storage driver, however many layers; one transaction; one syncfs for each 32 MiB of blobs and files, which nobody waits for"},
		{pull, transactions, 1, "the image is listed"},
		{pull, rpcs, 28, "four layers: index, manifest, configuration, four blobs; Prepare, Apply, Commit and two Stat for each; Sync"},
	}
}
