package main

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// lessons is a class's package whose overrides fill one notebook.
var lessons = append([]kind{{"report-%03d.ipynb", 0.02, 40_000, func(s source, size int64) []byte {
	return []byte(strings.ReplaceAll(string(s.notebook(size)), "${component_application}", "${component_topic}"))
}}}, notebooksOnly...)

// storage measures what stays on the disk of many changes of one application,
// and of many versions of one package that have the same files.
func storage(ctx context.Context, b *bench) ([]line, error) {
	s, err := b.serve(ctx, "storage")
	if err != nil {
		return nil, err
	}
	defer s.stop()
	raw := b.sizes.changeContent
	path := filepath.Join(b.folder, "storage.tar.gz")
	upload := func(id string) error {
		if err := archiveFile(path, archiveOf{id: id, kinds: lessons, raw: raw, level: gzip.DefaultCompression}); err != nil {
			return err
		}
		return s.uploadFile(ctx, id, path)
	}
	const changed = "changed-1.0.0"
	if err := errors.Join(upload(changed), s.deploy(ctx, changed)); err != nil {
		return nil, err
	}
	packaged, err := onDisk(s.data)
	if err != nil {
		return nil, err
	}
	if _, err := s.sendText(ctx, "PUT", s.manager+"/applications/lesson?user.name=pnda", `{"package": "`+changed+`"}`, 202); err != nil {
		return nil, err
	}
	if err := s.settle(ctx, s.manager+"/applications/lesson/status", "CREATED"); err != nil {
		return nil, err
	}
	for n := range b.sizes.changes {
		if _, err := s.ask(ctx, "pnda"); err != nil {
			return nil, err
		}
		if _, err := s.change(ctx, "lesson", "pnda", topic(n)); err != nil {
			return nil, err
		}
	}
	if _, err := s.ask(ctx, "pnda"); err != nil {
		return nil, err
	}
	all, err := onDisk(s.data)
	if err != nil {
		return nil, err
	}
	took := float64(all-packaged) / megabyte
	lines := []line{{
		what: fmt.Sprintf("%d changes of overrides, package of %s raw: application and workspace on disk", b.sizes.changes, significant(float64(raw)/megabyte)+" MB"),
		ours: significant(took) + " MB", value: took, goal: goal{atMost, 12, " MB"},
	}}

	var one int64
	const same = "same"
	repository := filepath.Join(s.data, "packages", same+".git")
	for n := range b.sizes.sameVersions {
		if err := upload(fmt.Sprintf("%s-1.0.%d", same, n)); err != nil {
			return lines, err
		}
		if n == 0 {
			if one, err = besideArchives(repository); err != nil {
				return lines, err
			}
		}
	}
	many, err := besideArchives(repository)
	if err != nil {
		return lines, err
	}
	return append(lines, line{
		what: fmt.Sprintf("objects of %d versions with the same files on disk, beside one; without archives", b.sizes.sameVersions),
		ours: significant(float64(many)/megabyte) + " MB", beside: significant(float64(one)/megabyte) + " MB",
		value: float64(many) / float64(one), goal: goal{atMost, 1.3, "×"},
	}), nil
}

// topic is the n-th change of overrides of what lessons is the package of, and of
// flow-report.
func topic(n int) string {
	return fmt.Sprintf(`{"overrides": {"jupyter": {"report": {"topic": "topic-%d"}}}}`, n)
}

// onDisk is what the files below a folder take of the disk, in bytes. A file
// with several names counts once.
func onDisk(folder string) (int64, error) { return blocks(folder, func(string) bool { return true }) }

// besideArchives is what the packs of a package take, but for those of archives.
func besideArchives(repository string) (int64, error) {
	return blocks(filepath.Join(repository, "objects"), func(path string) bool {
		base, _, _ := strings.Cut(filepath.Base(path), ".")
		why, _ := os.ReadFile(filepath.Join(filepath.Dir(path), base+".keep"))
		return !strings.HasPrefix(string(why), "archive of ")
	})
}

func blocks(folder string, counts func(path string) bool) (n int64, err error) {
	seen := map[uint64]bool{}
	err = filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // brought together with others since the folder was read
		}
		if err != nil || !counts(path) {
			return err
		}
		var st syscall.Stat_t
		if err := syscall.Lstat(path, &st); err == nil && !seen[st.Ino] {
			seen[st.Ino] = true
			n += st.Blocks * 512
		}
		return nil
	})
	return n, err
}
