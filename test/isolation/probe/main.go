// The Go runtime would open the cgroup's limits and keep them open.
//
//go:debug containermaxprocs=0
//go:debug updatemaxprocs=0

// Command probe looks at a container from within: what its process holds, which
// system calls are answered, what can be opened, written, made, seen and
// reached. It prints one JSON object of texts, so that two engines' containers
// are compared key by key. It changes nothing that outlives the container.
//
// `probe forge ADDRESS NAME` sends frames in another container's name instead, and
// `probe listen` prints those that arrive.
//
// It stands alone (standard library and x/sys) and is built without cgo, so that
// it runs in any image as a bound file.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
)

// report maps what was looked at to what was found.
type report map[string]string

func main() {
	if len(os.Args) == 3 && os.Args[1] == "try" {
		os.Exit(try(os.Args[2]))
	}
	if len(os.Args) > 1 && (os.Args[1] == "forge" || os.Args[1] == "listen") {
		os.Exit(frames(os.Args[1:]))
	}
	r := report{}
	// Descriptors first: every other section opens some.
	for _, section := range []func(report){
		descriptors, process, limits, namespaces, mounts, cgroups, devices, files, keyrings, processes, sockets, systemCalls, attempts,
	} {
		section(r)
	}
	out, err := json.Marshal(r)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Fprintln(os.Stdout, string(out))
}

// frames sends or receives what is forged.
func frames(args []string) int {
	err := errors.New("usage: probe forge ADDRESS NAME | probe listen")
	switch {
	case len(args) == 3:
		err = forge(args[1], args[2])
	case args[0] == "listen":
		err = listen()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// words sorts and joins.
func words(list []string) string {
	slices.Sort(list)
	return strings.Join(slices.Compact(list), " ")
}

// read is a file's trimmed content, or the error in words.
func read(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return answer(err)
	}
	return strings.TrimSpace(string(b))
}
