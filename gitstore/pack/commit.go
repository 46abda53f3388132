package pack

import (
	"crypto/sha1"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/durable"
)

// Pack tells of a committed pack. The zero Pack is that of an empty Writer.
type Pack struct {
	Name    plumbing.Hash // the trailer; the files are called pack-<Name>.*
	Objects int
	Size    int64
}

// IsZero tells whether nothing was written.
func (p Pack) IsZero() bool { return p.Objects == 0 }

// Path is the file of the pack called name in an objects/pack folder.
func Path(dir string, name plumbing.Hash) string {
	return filepath.Join(dir, "pack-"+name.String()+".pack")
}

// Commit makes the pack part of the repository: on return its files are
// durable under their final names. With keep a .keep file of that text
// protects the pack from gc. An empty Writer commits to nothing.
func (w *Writer) Commit(keep string) (Pack, error) {
	const op = "pack.Commit"
	if err := w.Flush(); err != nil {
		return Pack{}, dm.Wrap(op, err)
	}
	w.stop()
	if len(w.objects) == 0 {
		w.Abort()
		return Pack{}, nil
	}
	p, err := w.commit(keep)
	if err != nil {
		return Pack{}, dm.Wrap(op, w.fail(err))
	}
	return p, nil
}

func (w *Writer) commit(keep string) (Pack, error) {
	name, err := w.finish()
	if err != nil {
		return Pack{}, err
	}
	p := Pack{Name: name, Objects: len(w.objects), Size: w.offset}
	w.step("pack-written")
	index, err := w.writeIndex(name)
	if err != nil {
		return Pack{}, err
	}
	defer func() { _ = os.Remove(index) }() // gone under this name once all went well
	if err := seal(w.file); err != nil {
		return Pack{}, fmt.Errorf("sync pack: %w", err)
	}
	base := strings.TrimSuffix(Path(w.cfg.Dir, name), ".pack")
	if keep != "" {
		if err := writeKeep(base+".keep", keep); err != nil {
			return Pack{}, err
		}
	}
	w.step("pack-synced")
	return p, w.publish(base, index)
}

// publish gives the files their final names, the index last: git looks for
// indexes and expects their packs.
func (w *Writer) publish(base, index string) error {
	temporary := w.file.Name()
	if err := w.file.Close(); err != nil {
		return fmt.Errorf("close pack: %w", err)
	}
	if err := os.Rename(temporary, base+".pack"); err != nil {
		return err
	}
	w.step("pack-renamed")
	if err := os.Rename(index, base+".idx"); err != nil {
		return err
	}
	w.step("index-renamed")
	if err := durable.Sync(w.cfg.Dir); err != nil {
		return err
	}
	w.file, w.done = nil, true
	return nil
}

// finish patches the count and appends the trailer, which it returns.
func (w *Writer) finish() (plumbing.Hash, error) {
	var name plumbing.Hash
	if err := w.buffered.Flush(); err != nil {
		return name, fmt.Errorf("write pack: %w", err)
	}
	sum := w.single
	if sum == nil {
		header := packHeader(len(w.objects))
		if _, err := w.file.WriteAt(header[:], 0); err != nil {
			return name, fmt.Errorf("write pack: %w", err)
		}
		sum = sha1.New()
		all := io.NewSectionReader(w.file, 0, w.offset)
		if _, err := io.CopyBuffer(sum, struct{ io.Reader }{all}, make([]byte, chunkSize)); err != nil {
			return name, fmt.Errorf("read pack back: %w", err)
		}
	}
	sum.Sum(name[:0])
	if _, err := w.file.WriteAt(name[:], w.offset); err != nil {
		return name, fmt.Errorf("write pack: %w", err)
	}
	w.offset += TrailerSize
	return name, nil
}

// seal makes a finished file read-only and durable.
func seal(f *os.File) error {
	if err := f.Chmod(0o444); err != nil {
		return err
	}
	return f.Sync()
}

// writeKeep writes the .keep file of a pack; one that is there stays.
func writeKeep(path, text string) error {
	if _, err := os.Lstat(path); err == nil {
		return nil
	}
	return durable.WriteWhole(path, []byte(strings.TrimSuffix(text, "\n")+"\n"))
}

// Clean removes what a crash left in an objects/pack folder: temporary files
// of this package and of git (its repack calls them .tmp-<pid>-pack-…), and
// what belongs to no whole pack. git's repack removes the pack of what it
// replaced before the index, which would then name objects that are not there;
// an index whose pack was to be kept stays, because it tells what was lost. A
// whole pack without an index is returned: what was not written to its end is
// removed, the index of others can be made again. No Writer may be at work there.
func Clean(dir string) (unindexed []string, err error) {
	const op = "pack.Clean"
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, dm.Wrap(op, err)
	}
	there := map[string]bool{}
	for _, e := range entries {
		there[e.Name()] = true
	}
	removed, judged := false, map[string]bool{}
	for _, e := range entries {
		goes, err := litter(dir, e.Name(), there, judged)
		if err == nil && goes {
			err = os.Remove(filepath.Join(dir, e.Name()))
			removed = true
		}
		if err != nil {
			return nil, dm.Wrap(op, err)
		}
		if base, isPack := strings.CutSuffix(e.Name(), ".pack"); isPack && !goes && !there[base+".idx"] {
			unindexed = append(unindexed, filepath.Join(dir, e.Name()))
		}
	}
	if removed {
		return unindexed, dm.Wrap(op, durable.Sync(dir))
	}
	return unindexed, nil
}

// litter tells whether a file is of no use to anybody; judged remembers it of
// all files of a pack.
func litter(dir, name string, there, judged map[string]bool) (goes bool, err error) {
	if strings.HasPrefix(name, "tmp_") || strings.HasPrefix(name, ".tmp-") || strings.Contains(name, ".keep-") {
		return true, nil
	}
	base, _, _ := strings.Cut(name, ".")
	if !strings.HasPrefix(base, "pack-") || there[base+".pack"] && there[base+".idx"] {
		return false, nil
	}
	if goes, ok := judged[base]; ok {
		return goes, nil
	}
	switch {
	case there[base+".pack"]:
		_, err = checkPack(filepath.Join(dir, base+".pack"))
	case there[base+".idx"] && there[base+".keep"]:
		_, err = checkIndex(filepath.Join(dir, base+".idx"))
	default:
		goes = true
	}
	goes = goes || IsBroken(err)
	judged[base] = goes
	if goes {
		err = nil
	}
	return goes, err
}
