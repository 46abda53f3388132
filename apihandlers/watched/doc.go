// Package watched keeps what was read from files, and reads them again when
// they have changed, so that passwords, tokens and certificates are replaced
// without a restart.
//
// It promises that what was good stays in force until something good replaces
// it, that a fault is logged once and not at every look, and that no content of
// a file is logged. It may import dm.
package watched
