package main

// sizes is how much of everything a run measures. The smoke test runs the same
// code with tiny ones.
type sizes struct {
	archives      []archiveSize // uploaded and downloaded
	downloads     int           // rounds of each archive
	moves         int           // of a ref, on each side
	clones        int           // of a user's repository, on each side
	cloneContent  int64         // bytes of notebooks and csv in each version of the cloned application
	bigArchive    int64         // raw bytes of the package whose upload's memory is watched
	others        int           // applications that are there already
	owners        int           // users they belong to
	creates       int           // one after the other, on each server
	bursts        int           // rounds of creates by several clients at once
	burst         int           // creates in each
	names         int           // packages of the long list
	versionsEach  int           // versions of each
	listRequests  int
	fillers       int // clients that fill a server at once
	burstOfClient int // clients of a burst
}

// archiveSize is one generated package. The compressed archive has about 56 %
// of raw.
type archiveSize struct {
	label  string
	raw    int64
	rounds int // of uploads
}

const megabyte = 1_000_000

// full is what make bench runs.
var full = sizes{
	archives: []archiveSize{
		{"20 MB", 36 * megabyte, 5},
		{"200 MB", 357 * megabyte, 3},
	},
	downloads:     7,
	moves:         150,
	clones:        16,
	cloneContent:  5 * megabyte,
	bigArchive:    893 * megabyte,
	others:        2000,
	owners:        100,
	creates:       40,
	bursts:        3,
	burst:         48,
	names:         250,
	versionsEach:  20,
	listRequests:  100,
	fillers:       8,
	burstOfClient: 8,
}
