package gitstore_test

import (
	"strings"
	"testing"

	dm "github.com/pndaproject/deployment-manager"
)

// TestWhoLeftGetsNothingThatCame since, not even in the history of what they had: a
// group is left when a sign-in says so, and from the ask before on.
func TestWhoLeftGetsNothingThatCame(t *testing.T) {
	t.Parallel()
	for name, later := range map[string]dm.Reader{"a sign-in": {Proved: true, Known: true}, "the configuration": {Known: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := open(t, t.TempDir())
			one, two := h.deployed("teacher", "flow-1.0.0", "first"), h.deployed("teacher", "flow-2.0.0", "second")
			check(t, h.Create(ctx, as("teacher"), dm.Spec{Name: "course", Package: one, Audience: []dm.Subject{"group:class"}}))
			h.settle("course")
			member := later
			member.Groups = []string{"class"}
			dir, before, err := h.Workspaces().Bring(ctx, "zed", member)
			check(t, err)
			check(t, h.Change(ctx, as("teacher"), "course", dm.Edit{Package: &two}))
			h.settle("course")
			_, after, err := h.Workspaces().Bring(ctx, "zed", later)
			check(t, err)
			if got := git(t, dir, "log", "--format=%s", before.String()+".."+after.String()); got != "Remove course" {
				t.Errorf("since they left zed got %q", got)
			}
			if got := git(t, dir, "cat-file", "--batch-all-objects", "--batch"); strings.Contains(got, "second") {
				t.Error("zed has what came after they left")
			}
			h.sound()
		})
	}
}
