package gitstore_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore"
	"github.com/pndaproject/deployment-manager/gitstore/archive"
)

// TestRefusedFoldersStayAsTheyWere opens what is no data folder of a server.
func TestRefusedFoldersStayAsTheyWere(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, want string
		make       func(dir string)
	}{
		{"photos", "not empty", func(dir string) { write(t, filepath.Join(dir, "holiday.jpg"), "x") }},
		{"another program's", `contains "pcap"`, func(dir string) { write(t, filepath.Join(dir, "format"), "pcap\n") }},
		{"a folder as format", "format in the data folder is not a file", func(dir string) { write(t, filepath.Join(dir, "format", "x"), "x") }},
		{"a repository", "not empty", func(dir string) { write(t, filepath.Join(dir, "packages", "HEAD"), "x") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			c.make(dir)
			before := everyFile(t, dir)
			err := openError(t, dir)
			if c.name != "a folder as format" { // which no server can read either
				wantKind(t, err, dm.Invalid, c.want)
			}
			if after := everyFile(t, dir); after != before {
				t.Errorf("the refused folder holds\n%s\nwant\n%s", after, before)
			}
		})
	}
}

// everyFile lists all that is below dir, and where links lead.
func everyFile(t *testing.T, dir string) string {
	t.Helper()
	var lines []string
	check(t, filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if to, err := os.Readlink(path); err == nil {
			path += " -> " + to
		}
		lines = append(lines, path)
		return err
	}))
	return strings.Join(lines, "\n")
}

// TestLinksInTheDataFolder puts a link in the place of each thing that a server
// writes, empties or renames, to a folder that is somebody else's.
func TestLinksInTheDataFolder(t *testing.T) {
	t.Parallel()
	record := genuine(t)
	for _, name := range []string{"tmp", "hooks", "damaged", "damaged/packages", "packages", "applications", "users", "blank.git", "tools.git", "sweeps.git", "format", "lock", "known-refs"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			dir, elsewhere := filepath.Join(root, "data"), filepath.Join(root, "elsewhere")
			check(t, os.CopyFS(dir, os.DirFS(record)))
			path := filepath.Join(dir, name)
			if _, err := os.Lstat(path); err == nil {
				check(t, os.Rename(path, elsewhere))
			}
			if strings.Contains("format lock known-refs", name) {
				if name != "format" {
					write(t, elsewhere, "1")
				}
			} else {
				write(t, filepath.Join(elsewhere, "diary"), "x")
			}
			check(t, os.Symlink(elsewhere, path))
			before := everyFile(t, root)
			wantKind(t, openError(t, dir), dm.Invalid, name+" in the data folder is a symbolic link")
			if after := everyFile(t, root); after != before {
				t.Errorf("the start left\n%s\nwant\n%s", after, before)
			}
		})
	}
	t.Run("the folder itself", func(t *testing.T) {
		t.Parallel()
		root := t.TempDir()
		link := filepath.Join(root, "data")
		check(t, os.CopyFS(filepath.Join(root, "there"), os.DirFS(record)))
		check(t, os.Symlink("there", link))
		openStill(t, link).sound()
	})
	for _, inner := range []string{"objects", "objects/pack", "refs"} {
		t.Run("of a repository: "+inner, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			dir, elsewhere := filepath.Join(root, "data"), filepath.Join(root, "elsewhere")
			check(t, os.CopyFS(dir, os.DirFS(record)))
			path := filepath.Join(dir, "packages/flow.git", inner)
			check(t, os.Rename(path, elsewhere))
			write(t, filepath.Join(elsewhere, "tmp_pack_mine"), "x")
			check(t, os.MkdirAll(filepath.Join(elsewhere, "pack"), 0o750))
			write(t, filepath.Join(elsewhere, "pack", "tmp_pack_mine"), "x")
			write(t, filepath.Join(elsewhere, "mine.lock"), "x")
			check(t, os.Symlink(elsewhere, path))
			before := everyFile(t, elsewhere)
			h := openStill(t, dir)
			_, err := h.PackageStatus(ctx, "flow-1.0.0")
			wantKind(t, err, dm.Unavailable, "flow")
			if after := everyFile(t, elsewhere); after != before {
				t.Errorf("the start left\n%s\nwant\n%s", after, before)
			}
		})
	}
}

// TestVerifyKnowsNoLimitsOfUploads judges a record that was made under higher
// limits than those of today.
func TestVerifyKnowsNoLimitsOfUploads(t *testing.T) {
	t.Parallel()
	record := genuine(t)
	for name, limits := range map[string]archive.Limits{
		"wire": {Wire: 10}, "unpacked": {Unpacked: 10}, "file": {File: 1}, "entries": {Entries: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "data")
			check(t, os.CopyFS(dir, os.DirFS(record)))
			h, _ := build(t, dir, func(c *gitstore.Config) { c.Limits = limits })
			h.closeWith(func() {})
			h.sound()
		})
	}
}
