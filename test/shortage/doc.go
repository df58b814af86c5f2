// Package shortage takes from a daemon what it needs (answers of its drivers,
// disk, descriptors, processes, ports, addresses, rules, memory) by real means,
// and checks that it says so in clear words, that nothing is lost, and that it
// goes on by itself when the shortage ends.
package shortage
