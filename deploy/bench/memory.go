package main

import (
	"compress/gzip"
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// memory watches a fresh server while it takes a large package.
func memory(ctx context.Context, b *bench) ([]line, error) {
	s, err := b.serve(ctx, "memory")
	if err != nil {
		return nil, err
	}
	defer s.stop()
	path := filepath.Join(b.folder, "large.tar.gz")
	b.progress("  makes the large package")
	if err := archiveFile(path, archiveOf{id: "large", kinds: mixed, raw: b.sizes.bigArchive, level: gzip.BestSpeed}); err != nil {
		return nil, err
	}
	defer os.Remove(path)
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	b.progress("  uploads it")
	idle := kilobytes(s.pid(), "VmRSS")
	if err := resetPeak(s.pid()); err != nil {
		return nil, err
	}
	children := watchChildren(ctx, s.pid())
	err = s.uploadFile(ctx, "large-1.0.0", path)
	gits := children()
	if err != nil {
		return nil, err
	}
	peak := kilobytes(s.pid(), "VmHWM")
	above := float64(peak-idle+gits) / 1024
	return []line{{
		what:   fmt.Sprintf("memory during the upload of %s, above idle", bytesText(info.Size())),
		ours:   fmt.Sprintf("%d + %d MiB of git", peak>>10, gits>>10),
		beside: fmt.Sprintf("%d MiB idle", idle>>10),
		value:  above, goal: goal{atMost, 128, " MiB"},
	}}, nil
}
