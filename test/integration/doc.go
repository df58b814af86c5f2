// Package integration runs the whole product on real parts: the daemon and its
// four drivers, a registry, runc and crun, overlay mounts, a bridge, firewall
// rules and nginx, in a network namespace per test.
package integration
