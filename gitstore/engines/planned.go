package engines

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/treefs"
)

// Planned shows what components would deliver as dm.Work.Open will: <type>/<name>/….
// files are those of their package. It is good as long as the plan is held.
func Planned(components []dm.Component, files fs.FS) (fs.FS, error) {
	var list []treefs.Sketched
	for _, c := range components {
		for _, f := range c.Files {
			s := treefs.Sketched{
				Path: string(c.Type) + "/" + string(c.Name) + "/" + f.Path, Executable: f.Executable, Size: int64(len(f.Content)),
				Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(f.Content)), nil },
			}
			if f.Source != "" {
				info, err := fs.Stat(files, f.Source)
				if err != nil {
					return nil, fmt.Errorf("%s: %w", s.Path, err)
				}
				s.Size, s.Open = info.Size(), func() (io.ReadCloser, error) { return files.Open(f.Source) }
			}
			list = append(list, s)
		}
	}
	return treefs.NewSketch(list), nil
}
