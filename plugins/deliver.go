package plugins

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"unicode/utf8"

	dm "github.com/pndaproject/deployment-manager"
)

// limits of filling, in bytes. What is filled is held in memory until the plan
// is recorded, and a short reference may stand for a long value many times.
type limits struct {
	file int // one filled file, before and after
	plan int // all filled files of one plan
}

const (
	fillChunk     = 256 << 10 // larger files are looked through in pieces
	notebookEnd   = ".ipynb"
	log4jFile     = "log4j.properties"
	descriptorMax = dm.MaxJSONBytes
)

// rule is how the files of one component type are delivered, from the
// contract's table of which files are filled.
type rule struct {
	workspace bool // the files go into users' repositories
	all       bool // every file is filled
	filled    []string
	autoProps bool // application.properties gets a line per variable
}

func ruleOf(t dm.ComponentType) rule {
	switch t.Canonical() {
	case "jupyter":
		return rule{workspace: true, all: true, autoProps: true}
	case "sparkStreaming":
		return rule{filled: []string{applicationFile, log4jFile}, autoProps: true}
	case "flink":
		return rule{filled: []string{applicationFile}, autoProps: true}
	}
	return rule{} // Oozie resolves ${…} itself
}

// fills tells whether references in the file are replaced. The descriptors are
// filled whatever the type.
func (r rule) fills(file string) bool {
	return r.all || isDescriptor(file) || slices.Contains(r.filled, file)
}

func isDescriptor(file string) bool {
	return file == hbaseFile || file == hdfsFile || file == opentsdbFile
}

// delivery fills the components of one plan.
type delivery struct {
	environment map[string]string
	spec        dm.Spec
	buf         []byte
	limits      limits
	left        int // of limits.plan
	notes       []string
}

func (p *Planner) newDelivery(spec dm.Spec) *delivery {
	return &delivery{environment: p.environment, spec: spec, buf: make([]byte, fillChunk), limits: p.limits, left: p.limits.plan}
}

// texts are the values of one component in the forms that files need.
type texts struct {
	base     values // before hdfspath_* exist
	raw      values
	notebook values // escaped as JSON string content
	auto     []byte // lines for application.properties, nil when there shall be none
}

// component makes the delivered files of c: those of the package, references
// filled, and the properties.json that tells all of its properties.
func (d *delivery) component(c dm.PackageComponent, effective dm.Properties) (dm.Component, []dm.Finding, error) {
	kind := ruleOf(c.Type)
	planned := dm.Component{Type: c.Type.Canonical(), Name: c.Name, Workspace: kind.workspace}
	vars := newVariables(d.environment, d.spec, c.Name, effective)
	var t texts
	t.base = newValues(vars, nil)
	findings, err := addHDFSPaths(vars, t.base, c.Files)
	if err != nil {
		return planned, nil, err
	}
	t.raw, t.notebook = newValues(vars, nil), newValues(vars, jsonContent)
	if _, off := effective["no_auto_props"]; kind.autoProps && !off {
		t.auto = vars.autoProperties()
	}
	err = fs.WalkDir(c.Files, ".", func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || file == propertiesFile {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		delivered := dm.File{Path: file, Executable: info.Mode()&0o111 != 0}
		if kind.fills(file) {
			err = d.fill(&delivered, c.Files, t)
		}
		switch {
		case errors.Is(err, errFull):
			findings = append(findings, dm.Finding{Path: file, Message: fmt.Sprintf(
				"the file refers to variables and is too large to fill: at most %d MiB in one file and %d MiB in all can be filled", d.limits.file>>20, d.limits.plan>>20)})
			return nil
		case err != nil:
			return err
		}
		if delivered.Content == nil {
			delivered.Source = path.Join(string(c.Type), string(c.Name), file)
		}
		planned.Files = append(planned.Files, delivered)
		d.note(c, file)
		return nil
	})
	planned.Files = append(planned.Files, dm.File{Path: propertiesFile, Content: vars.properties()})
	slices.SortFunc(planned.Files, byPath)
	return planned, findings, err
}

// note says that a descriptor only is delivered, so that nobody waits for a
// table that is never made.
func (d *delivery) note(c dm.PackageComponent, file string) {
	if isDescriptor(file) {
		d.notes = append(d.notes, fmt.Sprintf("%s/%s/%s is not carried out: this server has no HBase, HDFS or OpenTSDB configured", c.Type, c.Name, file))
	}
}

// fill sets the content of f when it differs from the package's file. Most
// files differ in nothing, so they are looked through before they are held.
func (d *delivery) fill(f *dm.File, files fs.FS, t texts) error {
	if f.Path == applicationFile && t.auto != nil {
		return d.fillApplication(f, files, t)
	}
	v := t.raw
	switch {
	case path.Ext(f.Path) == notebookEnd:
		v = t.notebook
	case f.Path == hbaseFile || f.Path == hdfsFile:
		v = t.base
	}
	content, err := d.read(f.Path, files, v)
	if err != nil {
		return err
	}
	out, changed, err := fill(content, v, d.limit())
	if err == nil && changed {
		f.Content = out
		d.left -= len(out)
	}
	return err
}

// fillApplication fills application.properties and appends the lines that PNDA
// appends.
func (d *delivery) fillApplication(f *dm.File, files fs.FS, t texts) error {
	content, err := readAtMost(files, f.Path, d.limit())
	if err != nil {
		return err
	}
	out, changed, err := fill(content, t.raw, d.limit())
	if err != nil {
		return err
	}
	if !changed {
		out = content
	}
	if len(out)+len(t.auto) > d.limit() {
		return errFull
	}
	f.Content = appendLines(out, t.auto)
	d.left -= len(f.Content)
	return nil
}

// limit is how large the next filled file may be.
func (d *delivery) limit() int { return max(0, min(d.limits.file, d.left)) }

// read returns the whole of a file that is small or refers to a variable, and
// nil for any other. The small ones are only lent until the next call.
func (d *delivery) read(file string, files fs.FS, v values) ([]byte, error) {
	f, err := files.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	n, err := io.ReadFull(f, d.buf)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return d.buf[:n], nil
	}
	if err != nil {
		return nil, err
	}
	found, err := refers(f, v, d.buf, n)
	if err != nil || !found {
		return nil, err
	}
	return readAtMost(files, file, d.limit())
}

// appendLines adds lines behind an empty line.
func appendLines(content, lines []byte) []byte {
	if len(content) > 0 && content[len(content)-1] != '\n' {
		content = append(content, '\n')
	}
	return append(append(content, '\n'), lines...)
}

// addHDFSPaths defines hdfspath_<name> for each entry of hdfs.json, which is
// itself filled first.
func addHDFSPaths(vars variables, base values, files fs.FS) ([]dm.Finding, error) {
	fault := func(format string, args ...any) ([]dm.Finding, error) {
		return []dm.Finding{{Path: hdfsFile, Message: "parsing failed: " + fmt.Sprintf(format, args...)}}, nil
	}
	info, err := fs.Stat(files, hdfsFile)
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.IsDir() {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	data, err := readAtMost(files, hdfsFile, descriptorMax)
	switch {
	case errors.Is(err, errFull):
		return fault("it has more than %d bytes", descriptorMax)
	case err != nil:
		return nil, err
	}
	out, changed, err := fill(data, base, descriptorMax)
	if err != nil {
		return fault("filled, it has more than %d bytes", descriptorMax)
	}
	if changed {
		data = out
	}
	var entries []struct{ Name, Path string }
	if !utf8.Valid(data) {
		return fault("it is not UTF-8")
	}
	if err := json.Unmarshal(data, &entries); err != nil {
		return fault("%v", err)
	}
	for i, e := range entries {
		if e.Name == "" || e.Path == "" {
			return fault("entry %d needs a name and a path", i+1)
		}
		vars.setText("hdfspath_"+e.Name, e.Path)
	}
	return nil, nil
}
