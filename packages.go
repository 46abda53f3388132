package dm

import (
	"io"
	"time"
)

// PackageListing is one package name with its versions, newest first.
type PackageListing struct {
	Name     PackageName
	Versions []PackageFile
}

// Published is the answer to an upload.
type Published struct {
	File    PackageFile
	Tag     Revision // object name of the annotated tag, the authority for the version
	Commit  Revision
	Digest  string // SHA-256 of the archive, 64 hexadecimal digits
	Already bool   // the same bytes were there before; nothing changed
	// Findings are why the version can't be deployed, Notes what is odd in it;
	// both are few and short. Notes are told when it is published, and not again.
	Findings, Notes []string
}

// Archive is an uploaded archive opened for reading. The caller closes it.
type Archive struct {
	File     PackageFile
	Size     int64  // bytes
	Digest   string // SHA-256, 64 hexadecimal digits
	Uploaded time.Time
	io.ReadSeekCloser
}

// PackageStatus is what the deployment manager tells of one package id.
type PackageStatus struct {
	Name, Version string // as SplitPackageID cuts the id
	Phase         Phase
	Owner         UserName // user of the successful deploy; "" when there is none
	Defaults      Defaults // nil unless deployed and idle
	Information   string   // may be empty
}
