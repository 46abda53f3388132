package gitcmd

import (
	"context"
	"os"
	"path/filepath"
	"strings"

	"github.com/pndaproject/deployment-manager/gitstore/durable"
)

// IndexPack makes the index of a pack of the repository dir anew, durably. git
// reads every object of the pack for that. The caller holds the repository's
// lock.
func (g *Git) IndexPack(ctx context.Context, dir, packPath string) error {
	index := strings.TrimSuffix(packPath, ".pack") + ".idx"
	between := filepath.Join(filepath.Dir(packPath), "tmp_mend_"+filepath.Base(index))
	c := command{class: Upkeep, dir: dir, args: []string{"index-pack", "--no-rev-index", "-o", between, packPath}, writes: true}
	if err := g.run(ctx, c); err != nil {
		_ = os.Remove(between) // it may not have come so far
		return err
	}
	if err := os.Rename(between, index); err != nil {
		return err
	}
	return durable.Sync(filepath.Dir(packPath))
}
