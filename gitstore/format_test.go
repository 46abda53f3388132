package gitstore_test

import (
	"os"
	"path/filepath"
	"testing"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore"
	"github.com/pndaproject/deployment-manager/gitstore/format"
)

func formatOf(t *testing.T, dir string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "format"))
	check(t, err)
	return string(b)
}

// TestNewerFormat: a server that is older than the folder leaves it as it is.
func TestNewerFormat(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, format, want string }{
		{"next", "4\n", "has format 4, which a newer server wrote; this server reads formats up to 3"},
		{"far", "99", "has format 99, which a newer server wrote"},
		{"none", "", `contains "", want the number of a format`},
		{"zero", "0\n", `contains "0", want the number of a format`},
		{"torn", "2\x00\n", `want the number of a format`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			write(t, filepath.Join(dir, "format"), c.format)
			wantKind(t, openError(t, dir), dm.Invalid, c.want)
			entries, err := os.ReadDir(dir)
			check(t, err)
			if len(entries) != 1 || formatOf(t, dir) != c.format {
				t.Errorf("the refused folder holds %v and format %q, want it as it was", entries, formatOf(t, dir))
			}
		})
	}
}

// upgrading accepts that servers before this one can't open the folder any more.
func upgrading(c *gitstore.Config) { c.Earlier = format.UpgradeEarlier }

// TestUpgrade: a folder of the first format, which is one of the present without
// pushes, waits for the word of a person.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	v := h.deployed("ana", "flow-1.0.0", "one")
	h.created("ana", "app", v)
	h.stop()
	if got := formatOf(t, h.dir); got != "3\n" {
		t.Errorf("a new folder has format %q, want 3", got)
	}
	write(t, filepath.Join(h.dir, "format"), "1\n")
	before := h.snapshot()
	wantKind(t, openError(t, h.dir), dm.Invalid, "has format 1, and this server writes format 3")
	if after := h.snapshot(); after != before || formatOf(t, h.dir) != "1\n" {
		t.Errorf("the folder that was refused holds\n%s\nwant\n%s", after, before)
	}
	h = open(t, h.dir, upgrading)
	if got := formatOf(t, h.dir); got != "3\n" {
		t.Errorf("after the upgrade the folder has format %q, want 3", got)
	}
	if _, ok, err := h.Application(ctx, "app"); !ok || err != nil {
		t.Errorf("the application is lost by the upgrade: %v %v", ok, err)
	}
	h.sound()
	h.stop()
	open(t, h.dir) // needs no word any more
}
