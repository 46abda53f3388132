package spark

import (
	"crypto/sha256"
	"io"
	"io/fs"
	"strings"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/plugins"
)

// addresses are where a job's pods fetch it: again at each start of a driver. They
// are the same as long as the files are, so that a change of something else does not
// run a job again.
type addresses struct {
	main                           string
	jars, files, pyFiles, archives []string
}

// locate makes the addresses of what j needs of its component.
func (p *Plugin) locate(r dm.ApplyRequest, component dm.ComponentName, files fs.FS, j *job) (addresses, error) {
	if p.cfg.Files == nil {
		return addresses{}, dm.Errorf(dm.Invalid, "spark.locate", "this server has no address under which pods can fetch files").
			WithHint("set kubernetes.files_url")
	}
	l := locating{p.cfg.Files, dm.DeliveredFile{Application: r.Application, Type: kind, Component: component}, files, p.cfg.Spool()}
	var a addresses
	var err error
	if a.main, err = l.address(j.main, !j.python); err != nil {
		return a, err
	}
	if a.files, err = l.all(append([]string{propertiesName, j.log4j}, j.data...), j.remote); err != nil {
		return a, err
	}
	if a.pyFiles, err = l.all(j.pyFiles, j.remotePy); err != nil {
		return a, err
	}
	if a.jars, err = l.all(nil, j.jars); err != nil {
		return a, err
	}
	a.archives, err = l.all(nil, j.archives)
	return a, err
}

// locating makes addresses of the files of one component.
type locating struct {
	by    dm.FileAddresses
	of    dm.DeliveredFile
	files fs.FS
	spool string
}

// all are the addresses of files of the component, and of those that are named by
// addresses already.
func (l locating) all(paths, named []string) ([]string, error) {
	var list []string
	for _, path := range paths {
		if path == "" {
			continue
		}
		address, err := l.address(path, false)
		if err != nil {
			return nil, err
		}
		list = append(list, address)
	}
	for _, one := range named {
		path, own := strings.CutPrefix(one, componentScheme)
		if own {
			address, err := l.address(path, false)
			if err != nil {
				return nil, err
			}
			one = address
		}
		list = append(list, one)
	}
	return list, nil
}

// address is that of one file. A jar is filled with the component's properties.
func (l locating) address(path string, filled bool) (string, error) {
	const op = "spark.address"
	content, err := l.files.Open(path)
	if err != nil {
		return "", dm.Wrap(op, err)
	}
	defer content.Close()
	digest := sha256.New()
	if filled {
		properties, err := fs.ReadFile(l.files, propertiesName)
		if err != nil {
			return "", dm.Wrap(op, err)
		}
		jar, size, err := plugins.Spool(l.spool, content)
		if err != nil {
			return "", err
		}
		defer jar.Close()
		if err := plugins.FilledJar(digest, jar, size, properties); err != nil {
			return "", dm.Wrap(op, err)
		}
	} else if _, err := io.Copy(digest, content); err != nil {
		return "", dm.Wrap(op, err)
	}
	file := l.of
	file.Path, file.Filled = path, filled
	return l.by.Address(file, [32]byte(digest.Sum(nil))), nil
}
