// Package archive reads a package archive, a tar with or without gzip, from an
// untrusted body, and writes the archive of a package that was pushed.
//
// # What it owns
//
// The rules of what a package may hold and how large it may be, for archives
// and for pushed trees (Judge), and the form of generated archives. It has a tar
// reader of its own because the standard one hides what must be judged here:
// repeated PAX keys, a PAX size beside another one in the header, what stands
// behind the end of the archive, how long an extended header is. Tests compare
// it with the standard reader on everything that it accepts.
// The members of a gzip are read as one stream, as gzip does, but nothing except
// zero bytes may stand behind the last one.
//
// # What it promises
//
// Nothing is ever written to disk; memory is bounded whatever the input.
// A Sink is only handed paths that dm.CheckPath accepts, each once, and none
// that collides with another; what it was handed counts only once Read has
// returned nil, because the last byte of an archive can make it invalid.
//
// # What it may import
//
// The root package and klauspost/compress.
package archive
