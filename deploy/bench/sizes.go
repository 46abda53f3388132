package main

// sizes is how much of everything a run measures. The smoke test runs the same
// code with tiny ones.
type sizes struct {
	archives      []archiveSize // uploaded and downloaded
	downloads     int           // rounds of each archive
	download      bool          // programs that are missing, from Debian's archive
	gits          []gitSize     // pushed, cloned and fetched
	moves         int           // of a ref, on each side
	clones        int           // of a user's repository, on each side
	syncs         int           // rounds of a user's start hooks, on each side
	cloneContent  int64         // bytes of notebooks and csv in each version of the cloned application
	bigArchive    int64         // raw bytes of the package whose upload's memory is watched
	others        int           // applications that are there already
	hoard         int           // the same, all of one user
	owners        int           // users they belong to
	creates       int           // one after the other, on each server
	bursts        int           // rounds of creates by several clients at once
	burst         int           // creates in each
	scale         int           // applications of the very large server
	scaleEach     int           // of each user of it
	starts        int           // of that server
	names         int           // packages of the long list
	versionsEach  int           // versions of each
	listRequests  int
	changes       int   // of one application's overrides
	changeContent int64 // raw bytes of its package, and of the versions
	sameVersions  int   // of a package, with the same files
	fillers       int   // clients that fill a server at once
	burstOfClient int   // clients of a burst
	audience      int   // users whom one application is for
	byGit         int   // of them are brought up by plain git, beside
	fetchRounds   int   // of fetches after a change, on each side
	manyApps      int   // applications of one user, beside fewApps
	fewApps       int   // of another
	fewChanges    int   // beside changes
	heads         int   // requests for a user's unchanged head
}

// gitSize is one package as a repository, and what is done with it.
type gitSize struct {
	label, name           string
	raw                   int64
	goal                  float64 // bound of a push's processor time, as a part of gitkit's; 0 is none
	pushes, clones, looks []burst
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
	download: true,
	syncs:    9,
	gits: []gitSize{
		{label: "8 KB", name: "small", raw: 8_000,
			pushes: []burst{{1, 8, 2}, {16, 32, 1}, {64, 64, 1}},
			clones: []burst{{1, 10, 3}, {16, 64, 2}, {64, 128, 2}},
			looks:  []burst{{1, 10, 3}, {16, 64, 2}, {64, 128, 2}}},
		{label: "20 MB", name: "large", raw: 36 * megabyte, goal: 0.75,
			pushes: []burst{{1, 1, 3}, {16, 16, 1}, {64, 64, 1}},
			clones: []burst{{1, 4, 3}, {16, 16, 2}, {64, 64, 1}},
			looks:  []burst{{1, 10, 3}, {16, 64, 2}, {64, 128, 2}}},
	},
	downloads:     7,
	moves:         150,
	clones:        16,
	cloneContent:  5 * megabyte,
	bigArchive:    893 * megabyte,
	others:        2000,
	hoard:         500,
	owners:        100,
	creates:       40,
	bursts:        3,
	burst:         48,
	scale:         10_000,
	scaleEach:     20,
	starts:        2,
	names:         250,
	versionsEach:  20,
	listRequests:  100,
	changes:       300,
	changeContent: 5_300_000, // packed 1.9 MB
	sameVersions:  200,
	fillers:       8,
	burstOfClient: 8,
	audience:      1000,
	byGit:         20,
	fetchRounds:   16,
	manyApps:      1000,
	fewApps:       10,
	fewChanges:    10,
	heads:         5000,
}
