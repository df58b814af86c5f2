// Package arch holds the tests that guard the tree's architecture: who may
// import whom, how much a third party's driver links, and that every package
// says what it is for.
package arch
