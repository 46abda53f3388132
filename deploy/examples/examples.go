package examples

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"embed"
	"io/fs"
	"slices"

	dm "github.com/pndaproject/deployment-manager"
)

//go:embed flow-report-1.0.0 flow-report-1.1.0 spark-count-1.0.0 sparkstreaming-notebook-example-0.1.0
var sources embed.FS

// WalkThrough is the package that PNDA's users know from its walk-through: a
// notebook that writes measurements and one that reads them as a stream.
const WalkThrough = "sparkstreaming-notebook-example-0.1.0"

// SparkCount is a job for Spark, in Python: it counts words and ends.
const SparkCount = "spark-count-1.0.0"

// Names returns the package ids of the examples, older versions of one package
// first.
func Names() []string {
	return []string{"flow-report-1.0.0", "flow-report-1.1.0", SparkCount, WalkThrough}
}

// File is the name under which an example is written and uploaded. The one of
// the walk-through has there the suffix that PNDA's page gives it.
func File(id string) string {
	if id == WalkThrough {
		return id + ".tgz"
	}
	return id + ".tar.gz"
}

// Files returns the tree of one example, without its outer directory.
func Files(id string) (fs.FS, error) {
	if !slices.Contains(Names(), id) {
		return nil, dm.Errorf(dm.NotFound, "examples.Files", "there is no example package %q", id)
	}
	return fs.Sub(sources, id)
}

// Archive makes the .tar.gz of one example with the outer directory <id>/. The
// same id always gives the same bytes.
func Archive(id string) ([]byte, error) {
	const op = "examples.Archive"
	files, err := Files(id)
	if err != nil {
		return nil, err
	}
	var archive bytes.Buffer
	zip := gzip.NewWriter(&archive)
	out := tar.NewWriter(zip)
	err = fs.WalkDir(files, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := fs.ReadFile(files, path)
		if err != nil {
			return err
		}
		header := tar.Header{Typeflag: tar.TypeReg, Name: id + "/" + path, Mode: 0o644, Size: int64(len(data)), Format: tar.FormatUSTAR}
		if err := out.WriteHeader(&header); err != nil {
			return err
		}
		_, err = out.Write(data)
		return err
	})
	if err != nil {
		return nil, dm.Wrap(op, err)
	}
	if err := out.Close(); err != nil {
		return nil, dm.Wrap(op, err)
	}
	if err := zip.Close(); err != nil {
		return nil, dm.Wrap(op, err)
	}
	return archive.Bytes(), nil
}
