package plugins

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"unicode/utf8"

	dm "github.com/pndaproject/deployment-manager"
)

const (
	fillChunk     = 256 << 10 // larger files are looked through in pieces
	notebookEnd   = ".ipynb"
	descriptorMax = dm.MaxJSONBytes
)

// rules are those of the plugin of t.
func (r *Registry) rules(t dm.ComponentType) dm.FileRules {
	plugin, _ := r.Get(t)
	if able, ok := plugin.(dm.FileRuler); ok {
		return able.FileRules()
	}
	return dm.FileRules{}
}

// fills tells whether references in the file are replaced.
func fills(r dm.FileRules, file string) bool {
	return r.FillAll || isDescriptor(file) || slices.Contains(r.Fill, file)
}

func isDescriptor(file string) bool {
	return file == hbaseFile || file == hdfsFile || file == opentsdbFile
}

// planning fills the components of one plan.
type planning struct {
	registry    *Registry
	environment map[string]string
	spec        dm.Spec
	buf         []byte
	count       count
	building    bool // false: only count
	notes       []string
	foreign     []string // files that name variables and are not UTF-8
}

func (p *Planner) newPlanning(spec dm.Spec) *planning {
	return &planning{registry: p.registry, environment: p.environment, spec: spec, buf: make([]byte, fillChunk), count: count{limits: p.limits, changed: map[string]bool{}}}
}

// texts are the values of one component.
type texts struct {
	base values // before hdfspath_* exist
	all  values
	auto []byte // lines for application.properties, nil when there shall be none
}

// of returns the values that file is filled with.
func (t texts) of(file string) values {
	if file == hbaseFile || file == hdfsFile {
		return t.base
	}
	return t.all
}

// component makes the delivered files of c: those of the package, references
// filled, and the properties.json that tells all of its properties. Unless d
// builds, it only counts them.
func (d *planning) component(c dm.PackageComponent, effective dm.Properties) (dm.Component, []dm.Finding, error) {
	rules := d.registry.rules(c.Type)
	planned := dm.Component{Type: d.registry.Canonical(c.Type), Name: c.Name, Workspace: rules.Workspace}
	vars := newVariables(d.environment, d.spec, c.Name, effective)
	var t texts
	t.base = newValues(vars)
	findings, err := addHDFSPaths(vars, t.base, c.Files)
	if err != nil {
		return planned, nil, err
	}
	t.all = t.base
	if len(vars) > len(t.base.byName) { // hdfspath_* came
		t.all = newValues(vars)
	}
	if _, off := effective["no_auto_props"]; rules.Listed && !off {
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
		source := componentKey(c, file)
		switch {
		case !fills(rules, file):
		case d.building && d.count.changed[source]:
			err = d.fill(&delivered, c.Files, t)
		case !d.building:
			findings = append(findings, d.secretsIn(c, file, t)...)
			d.count.changed[source], err = d.measure(c, file, t)
		}
		if full := (*fullError)(nil); errors.As(err, &full) {
			findings = append(findings, dm.Finding{Path: file, Message: full.message})
			return nil
		}
		if err != nil || !d.building {
			return err
		}
		if delivered.Content == nil {
			delivered.Source = source
		}
		planned.Files = append(planned.Files, delivered)
		d.note(c, file)
		if file == applicationFile && t.auto != nil {
			d.noteSecrets(c, effective)
		}
		return nil
	})
	if !d.building {
		if full := (*fullError)(nil); errors.As(d.count.take(indentedSize(vars.ofComponent(), 0), 0), &full) {
			findings = append(findings, dm.Finding{Path: propertiesFile, Message: full.message})
		}
		return planned, findings, err
	}
	planned.Files = append(planned.Files, dm.File{Path: propertiesFile, Content: vars.properties()})
	slices.SortFunc(planned.Files, byPath)
	return planned, findings, err
}

// note says that a descriptor only is delivered, so that nobody waits for a
// table that is never made.
func (d *planning) note(c dm.PackageComponent, file string) {
	if isDescriptor(file) {
		d.notes = append(d.notes, fmt.Sprintf("%s/%s/%s is not carried out: this server has no HBase, HDFS or OpenTSDB configured", c.Type, c.Name, file))
	}
}

// remarks are the notes of all components.
func (d *planning) remarks() []string {
	if len(d.foreign) == 0 {
		return d.notes
	}
	return append(d.notes, fmt.Sprintf("variables are not filled in %s: the text is not UTF-8 and stays as it is", some(d.foreign)))
}

// some lists the first few places, and how many more there are.
func some(places []string) string {
	const most = 5
	if len(places) <= most {
		return strings.Join(places, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(places[:most], ", "), len(places)-most)
}

// fill sets the content of f, which filling may change.
func (d *planning) fill(f *dm.File, files fs.FS, t texts) error {
	content, err := readAtMost(files, f.Path, d.count.limits.file)
	if err != nil {
		return err
	}
	if utf8.Valid(content) {
		filling := filling{content, t.of(f.Path), formatOf(f.Path, content)}
		if f.Content, err = filling.fill(d.count.limits.file); err != nil {
			return err
		}
	}
	if f.Path == applicationFile && t.auto != nil {
		if f.Content == nil {
			f.Content = content
		}
		f.Content = appendLines(f.Content, t.auto) // the lines that PNDA appends
	}
	return nil
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
	if utf8.Valid(data) {
		out, err := filling{data, base, formatOf(hdfsFile, data)}.fill(descriptorMax)
		if err != nil {
			return fault("filled, it has more than %d bytes", descriptorMax)
		}
		if out != nil {
			data = out
		}
	}
	var entries []struct{ Name, Path string }
	data = dm.WithoutMark(data)
	if err := dm.CheckJSON(data); err != nil {
		return fault("%s", dm.Public(err))
	}
	if err := json.Unmarshal(data, &entries); err != nil {
		return fault("it must be a list of objects, each with the strings name and path")
	}
	for i, e := range entries {
		if e.Name == "" || e.Path == "" {
			return fault("entry %d needs a name and a path", i+1)
		}
		vars.setText("hdfspath_"+e.Name, e.Path)
	}
	return nil, nil
}
