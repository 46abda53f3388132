package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestMain lets the test binary be the peers, as the program is in a run.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 {
		if serve, ok := peers[os.Args[1]]; ok {
			os.Exit(report(serve(os.Args[2])))
		}
	}
	os.Exit(m.Run())
}

// small is a run of a few seconds. Its figures mean nothing.
var small = sizes{
	archives:  []archiveSize{{"1 MB", megabyte, 2}},
	downloads: 2, moves: 2, clones: 2, syncs: 1, cloneContent: 200_000, bigArchive: 2 * megabyte,
	others: 6, hoard: 4, owners: 3, creates: 2, bursts: 1, burst: 4,
	gits: []gitSize{{label: "1 KB", name: "small", raw: 1_000, goal: 0.5,
		pushes: []burst{{2, 2, 1}}, clones: []burst{{2, 2, 2}}, looks: []burst{{1, 2, 1}}}},
	scale: 9, scaleEach: 3, starts: 1,
	changes: 2, changeContent: 100_000, sameVersions: 2,
	names: 3, versionsEach: 2, listRequests: 2, fillers: 3, burstOfClient: 2,
	audience: 4, byGit: 2, fetchRounds: 2, manyApps: 5, fewApps: 2, fewChanges: 1, heads: 20,
}

func TestEverySectionMeasures(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	program := filepath.Join(t.TempDir(), "deployment-manager")
	build := exec.Command("go", "build", "-buildvcs=false", "-o", filepath.Dir(program)+"/", "./cmd/...")
	build.Dir = filepath.Join("..", "..")
	if said, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, said)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var stdout, stderr bytes.Buffer
	if err := measure(ctx, program, small, sections, &stdout, &stderr); err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	for _, want := range []string{
		"upload of 1 MB", "gzip -dc", "download of 1 MB", "durable move of a ref", "create until 202", "create until CREATED",
		"creates per second", "of the same user", "GET /applications with 6", "GET /applications with 9", "start until ready with 9", "GET /packages of the repository with 6 versions",
		"2 changes of overrides", "2 versions with the same files",
		"processor time of a clone", "sync of a user's folder", "memory during the upload", "cores",
		"clone of 1 KB, 2 at once", "push of 1 KB, 2 at once", "fetch of nothing new from 1 KB, 1 at once", "gitkit",
		"an update to 4 users", "4 users who never asked", "a user who fetched once", "first fetch after an update", "4 users fetch",
		"a user with 5 applications", "2 changes, each fetched", "GET /head",
	} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, stdout.String())
		}
	}
	if left, err := filepath.Glob(filepath.Join(os.Getenv("TMPDIR"), "deployment-manager-bench-*")); err != nil || len(left) > 0 {
		t.Errorf("the run left %v (%v)", left, err)
	}
}
