package compat

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestImages(t *testing.T) {
	c := start(t)
	t.Run("pull", func(t *testing.T) {
		c := c.in(t)
		c.prints(`(?s)Using default tag: latest\nlatest: Pulling from library/nginx\n.*[0-9a-f]{12}: Pull complete\n.*Digest: sha256:[0-9a-f]{64}\nStatus: Downloaded newer image for nginx:latest\ndocker.io/library/nginx:latest\n`, "pull", "nginx")
		c.prints(`(?s).*Status: Image is up to date for nginx:latest\ndocker.io/library/nginx:latest\n`, "pull", "nginx")
		c.prints("docker.io/library/nginx:latest\n", "pull", "-q", "nginx")
	})
	t.Run("list", func(t *testing.T) {
		c := c.in(t)
		c.prints(`REPOSITORY +TAG +IMAGE ID +CREATED +SIZE\nbusybox +latest +`+short+` +.* ago +[\d.]+MB\n`, "images", "busybox")
		c.prints("nginx:latest\n", "images", "--filter", "reference=ngin*", "--format", "{{.Repository}}:{{.Tag}}")
		c.prints("sha256:"+id, "images", "-q", "--no-trunc", "busybox")
		c.prints("", "images", "-q", "--filter", "dangling=true")
	})
	t.Run("inspect and history", func(t *testing.T) {
		c := c.in(t)
		c.prints(`\[busybox:latest\] linux \[sh\]\n`, "image", "inspect", "--format", "{{.RepoTags}} {{.Os}} {{.Config.Cmd}}", "busybox")
		c.prints(`busybox@sha256:[0-9a-f]{64}\n`, "image", "inspect", "--format", "{{index .RepoDigests 0}}", "busybox")
		c.prints(`(?s)IMAGE +CREATED +CREATED BY +SIZE +COMMENT\n.+`, "history", "nginx")
		c.fails(1, `(?s)(\[\]\n)?Error response from daemon: No such image: nobody:latest\n|.*No such image: nobody\n`, "image", "inspect", "nobody")
	})
	t.Run("tag, push, remove, pull again", func(t *testing.T) {
		c := c.in(t)
		mine := c.Registry + "/me/box:v1"
		c.prints("", "tag", "busybox", mine)
		c.prints(`(?s)The push refers to repository \[`+regexp.QuoteMeta(c.Registry)+`/me/box\]\n.*v1: digest: sha256:[0-9a-f]{64} size: \d+\n.*`, "push", mine)
		c.prints(`(?s)Untagged: `+regexp.QuoteMeta(mine)+`\n.*`, "rmi", mine)
		c.fails(125, `(?s).*No such image: .*/me/box:v1\n.*`, "run", "--pull", "never", mine)
		c.prints("mine\n", "run", "--rm", "-q", mine, "echo", "mine")
		c.ok("rmi", mine)
		c.fails(1, `Error parsing reference: "UPPER" is not a valid repository/tag: invalid reference format: .*\n`, "tag", "busybox", "UPPER")
		c.fails(1, `Error response from daemon: No such image: nobody:latest\n`, "tag", "nobody", "x")
	})
	t.Run("save, remove, load", func(t *testing.T) {
		c := c.in(t)
		tar := filepath.Join(t.TempDir(), "box.tar")
		c.prints("", "save", "-o", tar, "busybox")
		if fi, err := os.Stat(tar); err != nil || fi.Size() < 1<<20 {
			t.Fatalf("archive: %v, %v", fi, err)
		}
		before := c.ok("images", "-q", "--no-trunc", "busybox")
		c.prints(`(?s)Untagged: busybox:latest\n(Untagged: busybox@sha256:[0-9a-f]{64}\n)?Deleted: sha256:[0-9a-f]{64}\n.*`, "rmi", "busybox")
		c.prints("Loaded image: busybox:latest\n", "load", "-q", "-i", tar)
		if after := c.ok("images", "-q", "--no-trunc", "busybox"); after != before {
			t.Errorf("image %q before, %q after", before, after)
		}
		c.prints("loaded\n", "run", "--rm", "busybox", "echo", "loaded")
	})
	t.Run("an image in use stays", func(t *testing.T) {
		c := c.in(t)
		c.ok("run", "--name", "user", "busybox", "true")
		c.fails(1, `Error response from daemon: conflict: unable to (remove repository reference|delete) "?busybox(:latest)?"? \(must (be forced|force)\)?.* container `+short+` is using its referenced image `+short+`\n`, "rmi", "busybox")
		c.ok("rm", "user")
		c.fails(1, `Error response from daemon: No such image: nobody:latest\n`, "rmi", "nobody")
	})
}

func TestVolumes(t *testing.T) {
	c := start(t)
	c.prints("data\n", "volume", "create", "--label", "tier=db", "data")
	c.prints("data\n", "volume", "create", "data") // again
	c.prints(id, "volume", "create")
	c.prints(`DRIVER +VOLUME NAME\nlocal +data\n`, "volume", "ls", "--filter", "name=data")
	c.prints("data\n", "volume", "ls", "-q", "--filter", "label=tier=db")
	c.prints(`data local local map\[tier:db\]\n`, "volume", "inspect", "--format", "{{.Name}} {{.Driver}} {{.Scope}} {{.Labels}}", "data")
	c.ok("run", "--rm", "-v", "data:/data", "busybox", "sh", "-c", "echo kept >/data/file")
	c.prints("kept\n", "run", "--rm", "-v", "data:/data:ro", "busybox", "cat", "/data/file")
	c.prints("index.html\n", "run", "--rm", "-v", "copy:/usr/share/nginx/html", "nginx", "ls", "/usr/share/nginx/html")
	c.ok("create", "--name", "user", "-v", "data:/data", "busybox")
	c.fails(1, `Error response from daemon: remove data: volume is in use - \[`+hash+`\]\n`, "volume", "rm", "data")
	c.ok("rm", "user")
	c.prints("data\n", "volume", "rm", "data")
	c.fails(1, `Error response from daemon: get data: no such volume\n`, "volume", "rm", "data")
	c.fails(1, `(?s)(\[\]\n)?Error response from daemon: get data: no such volume\n`, "volume", "inspect", "data")
	c.fails(1, `(?s)Error response from daemon: .*"a/b" includes invalid characters for a local volume name.*\n`, "volume", "create", "a/b")
	c.ok("run", "--rm", "-v", "/anonymous", "busybox", "true")
	c.prints("("+id+")?copy\n("+id+")?", "volume", "ls", "-q")
}

func TestNetworks(t *testing.T) {
	c := start(t)
	c.prints(`NETWORK ID +NAME +DRIVER +SCOPE\n`+short+` +bridge +bridge +local\n`+short+` +host +host +local\n`+short+` +none +null +local\n`, "network", "ls")
	c.prints("bridge bridge local false\n", "network", "inspect", "--format", "{{.Name}} {{.Driver}} {{.Scope}} {{.Internal}}", "bridge")
	c.ok("run", "-d", "--name", "web", "busybox", "top")
	ip := strings.TrimSpace(c.ok("inspect", "--format", "{{.NetworkSettings.Networks.bridge.IPAddress}}", "web"))
	c.prints(`web `+regexp.QuoteMeta(ip)+`/16\n`, "network", "inspect", "--format", "{{range .Containers}}{{.Name}} {{.IPv4Address}}{{end}}", "bridge")
	c.prints(`(?s).*inet addr:`+regexp.QuoteMeta(ip)+` .*`, "exec", "web", "ifconfig", "eth0")
	c.prints(`(?s).*64 bytes from `+regexp.QuoteMeta(ip)+`.*`, "run", "--rm", "busybox", "ping", "-c", "1", "-W", "5", ip)
	c.prints("lo\n", "run", "--rm", "--network", "none", "busybox", "ls", "/sys/class/net")
	c.prints(`(?s).*strake0\n.*`, "run", "--rm", "--network", "host", "busybox", "ls", "/sys/class/net")
	c.prints(regexp.QuoteMeta(ip)+"\n", "run", "--rm", "--network", "container:web", "busybox", "hostname", "-i")
	c.fails(1, `(?s)(\[\]\n)?Error response from daemon: network nope not found\n`, "network", "inspect", "nope")
}

func TestEvents(t *testing.T) {
	c := start(t)
	from := time.Now().Add(-time.Second)
	c.ok("run", "--rm", "--name", "brief", "--label", "a=b", "busybox", "true")
	c.eventually("", "ps", "-aq")
	since, until := from.Format(time.RFC3339Nano), time.Now().Add(time.Second).Format(time.RFC3339Nano)
	c.prints("create\nattach\n(?s:.*)start\n(?s:.*)die\n(?s:.*)destroy\n", "events", "--since", since, "--until", until, "--filter", "type=container", "--format", "{{.Action}}")
	c.prints(`\S+ container die `+hash+` \(a=b, execDuration=\d+, exitCode=0, image=busybox, name=brief\)\n`, "events", "--since", since, "--until", until, "--filter", "event=die")
	c.prints("connect\ndisconnect\n", "events", "--since", since, "--until", until, "--filter", "type=network", "--format", "{{.Action}}")
	c.prints("", "events", "--since", since, "--until", until, "--filter", "container=nobody")
}

func TestSystem(t *testing.T) {
	c := start(t)
	c.prints(`(?s)Client:.*\nServer:.*\n Engine:\n  Version: +\S+\n  API version: +1\.56 \(minimum version 1\.24\)\n  Go version: +go1\.\S+\n.*  OS/Arch: +linux/\w+\n.*`, "version")
	c.prints("1.56 linux\n", "version", "--format", "{{.Server.APIVersion}} {{.Server.Os}}")
	c.prints(`(?s)Client:.*\nServer:\n Containers: 0\n  Running: 0\n  Paused: 0\n  Stopped: 0\n Images: 1\n Server Version: \S+\n Storage Driver: overlay\n.* Swarm: inactive\n.* Default Runtime: runc\n.* Operating System: .+\n OSType: linux\n.*`, "info")
	var info map[string]any
	if err := json.Unmarshal([]byte(c.ok("info", "--format", "json")), &info); err != nil || info["NCPU"] == float64(0) || info["MemTotal"] == float64(0) || info["DockerRootDir"] != c.Dir+"/state" {
		t.Errorf("got %v, %v", info, err)
	}
	c.prints(`TYPE +TOTAL +ACTIVE +SIZE +RECLAIMABLE\nImages +1 +0 +[\d.]+MB +[\d.]+MB \(100%\)\nContainers +0 +0 +0B +0B\nLocal Volumes +0 +0 +0B +0B\nBuild Cache +0 +0 +0B +0B\n`, "system", "df")
	c.fails(1, `(?s).*This node is not a swarm manager\..*`, "node", "ls")
	c.fails(1, `(?s).*Strake does not copy files into or out of containers yet.*|(?s).*No such container.*`, "cp", "web:/etc/passwd", "-")
	c.prints(`ID +NAME +DESCRIPTION +ENABLED\n`, "plugin", "ls")
}

func TestLogin(t *testing.T) {
	c := start(t)
	// The registry takes anybody; one that does not is in the bad-input table.
	c.prints(`(?s).*Login Succeeded\n`, "login", "-u", "me", "--password", "secret", c.Registry)
	if strings.Contains(c.Log(), "secret") {
		t.Error("the password is in the daemon's log")
	}
	c.prints("Removing login credentials for "+c.Registry+"\n", "logout", c.Registry)
}
