// Package pack writes git packs and their indexes while bytes arrive, reads back
// what it stored whole, and moves objects from pack to pack as they are.
//
// # What it owns
//
// The files pack-*.pack, pack-*.idx and pack-*.keep of a repository's
// objects/pack folder that a Writer or Link makes, and the temporary files
// tmp_pack_*, tmp_idx_* and tmp_blob_* beside them. It knows nothing of refs,
// trees or packages.
//
// # What it promises
//
// Objects never exist loose. Until Commit nothing of a Writer can be seen by
// git; after it everything is, and is on disk. A crash in between leaves only
// files that git ignores and Clean removes. Memory is bounded whatever the
// size of a blob; a Reader holds indexes, 28 bytes for each object. Names
// of objects are computed with collision detection.
//
// # What it may import
//
// The root package, durable, go-git's plumbing for names and types, klauspost/compress
// and sha1cd.
package pack
