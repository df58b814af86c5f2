package report

import "github.com/strakehq/strake/test/bench/measure"

// Names of measurements that goals speak of; the groups use the same words.
const (
	startBridge = "run --rm busybox true, bridge"
	startNone   = "run --rm busybox true, none"
	serveName   = "run -d -p nginx to the first 200"
	manyName    = "containers started and removed by 8 clients"
	loneName    = "run --rm -p on an empty machine"
	besideName  = "run --rm -p beside 500 running"
	execName    = "exec true"
	stopName    = "stop and rm of nginx"
	pullBig     = "pull big"
	pullApps    = "pull ten images that share a base, 4 at once"
	rmiBig      = "rmi big"
)

// Goals is the list, in the order of the groups.
func Goals() []Goal {
	goals := []Goal{
		ratio("start", startBridge, strake, 4.5),
		above("start", startBridge, strake, "bare runc", 25),
		ratio("start", startBridge, crun, 8),
		above("start", startBridge, crun, "bare crun", 20),
		above("start", startBridge, byCLI, strake, 15),
		ratio("serve", serveName, strake, 4),
		ratio("serve", serveName, crun, 6),
		rate("many", manyName, 5),
		{
			Group: "loaded", Text: "one start more beside 500 running, with a port", Unit: "%", Want: 10,
			Is: percentMore(of{"loaded", besideName, strake}, of{"loaded", loneName, strake}),
		},
		above("exec", execName, strake, "bare runc", 12),
		ratio("exec", execName, crun, 4),
		ratio("stop", stopName, strake, 4),
		ratio("pull", pullBig, strake, 2.5),
		{
			Group: "pull", Text: "pull big: processor time, in parts of docker.io's", Unit: "x", Want: 1.0 / 3,
			Is: cpuShare(of{"pull", pullBig, strake}, of{"pull", pullBig, docker}),
		},
		ratio("pull", pullApps, strake, 4),
		most("remove", rmiBig, strake, "ms", 50),
		{
			Group: "remove", Text: "starts while the image is deleted", Unit: "%", Want: 10,
			Is: percentMore(of{"remove", "start while big is deleted", strake}, of{"remove", "start otherwise", strake}),
		},
		most("ps", "ps -a with 500", strake, "ms", 30),
		most("ps", "ps -a with 5000", strake, "ms", 200),
		rate("api", "list of 1000 containers, 200 clients", 20),
	}
	for _, way := range []string{"localhost:8080", "client in a namespace of its own", "container to container"} {
		goals = append(goals, Goal{
			Group: "traffic", Text: way + ": per cent of a bare veth and DNAT", Unit: "%", Least: true, Want: 75,
			Is: percentOf(of{"traffic", way, strake}, of{"traffic", "bare veth and DNAT", "kernel"}),
		})
	}
	return append(goals,
		rate("traffic", "localhost:8080", 2),
		rate("logs", "lines into the log", 2),
		rate("logs", "logs", 2),
		rate("logs", "run -i cat", 2),
		most("daemon", "start to the first answer, drivers ready", strake, "ms", 150),
		most("daemon", "the same with 500 stopped", strake, "ms", 300),
		most("daemon", "after kill -9, until 200 running are controlled", strake, "ms", 2000),
		most("memory", "idle", strake, "MiB", 70),
		most("memory", "idle, anonymous", strake, "MiB", 25),
		most("memory", "idle", combined, "MiB", 40),
		most("memory", "per running container", strake, "MiB", 1.5),
		most("cli", "version", strake, "ms", 10),
		most("cli", "--help", strake, "ms", 10),
	)
}

const combined = "strake, combined build"

func percentOf(a, b of) func(*measure.Book) (float64, bool) {
	share := times(a, b, true)
	return func(book *measure.Book) (float64, bool) {
		v, ok := share(book)
		return v * 100, ok
	}
}
