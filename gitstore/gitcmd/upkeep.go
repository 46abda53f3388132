package gitcmd

import (
	"context"
	"path/filepath"

	"github.com/pndaproject/deployment-manager/gitstore/durable"
)

// grace is how long an object that no ref leads to is kept at least. git has no
// other protection for what is being written while it prunes.
const grace = "2.weeks.ago"

// PackRefs brings all refs of the repository dir into one file. The caller
// holds the repository's lock: beside a change, git can lose that change.
func (g *Git) PackRefs(ctx context.Context, dir string) error {
	// git removes the loose refs right after it renamed the new file, and
	// fsyncs neither folder. So the first pass removes nothing, and when the
	// second one does, a file with all refs is on the disk.
	for _, prune := range []string{"--no-prune", "--prune"} {
		if err := g.run(ctx, command{class: Upkeep, dir: dir, args: []string{"pack-refs", "--all", prune}, writes: true}); err != nil {
			return err
		}
		if err := durable.Sync(dir); err != nil {
			return err
		}
	}
	return nil
}

// Prune brings all objects of the repository dir that refs lead to together
// into one pack and sets the others aside in a cruft pack, from which they go
// when they are older than grace. Packs with a .keep file stay as they are. The
// caller holds the repository's lock.
func (g *Git) Prune(ctx context.Context, dir string) error {
	c := command{
		class: Upkeep, dir: dir, options: []string{"-c", "repack.writeBitmaps=false"}, writes: true,
		args: []string{"repack", "-q", "-n", "-a", "-d", "--cruft", "--cruft-expiration=" + grace, "--write-midx"},
	}
	if err := g.run(ctx, c); err != nil {
		return err
	}
	return durable.Sync(filepath.Join(dir, "objects", "pack"))
}

// Gather is Prune for a repository in which little is going to happen: it leaves
// one pack beside those with a .keep file, and nothing that speeds up readers.
func (g *Git) Gather(ctx context.Context, dir string) error {
	c := command{
		class: Upkeep, dir: dir, options: []string{"-c", "repack.writeBitmaps=false"}, writes: true,
		args: []string{"repack", "-q", "-n", "-a", "-d", "--cruft", "--cruft-expiration=" + grace},
	}
	if err := g.run(ctx, c); err != nil {
		return err
	}
	return durable.Sync(filepath.Join(dir, "objects", "pack"))
}
