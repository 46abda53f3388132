// Package debian brings Debian packages, with all that they depend on, into a
// folder or an image without installing anything.
//
// It asks the machine's own apt, which resolves, downloads and checks
// signatures and hashes, but in folders of its own: the machine's sources, keys
// and proxy settings are read, nothing of the system is changed, and no root is
// needed. Maintainer scripts are not run; who needs what they would have made
// (users, bundles of certificates) makes it.
//
// It may import the standard library only.
package debian
