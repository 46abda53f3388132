package plugins

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	dm "github.com/pndaproject/deployment-manager"
)

// The files of a component that the planner itself reads.
const (
	propertiesFile  = "properties.json"
	applicationFile = "application.properties"
	hbaseFile       = "hbase.json"
	hdfsFile        = "hdfs.json"
	opentsdbFile    = "opentsdb.json"
)

// maxProperties is how many bytes all properties.json of a package may have
// together: they are held in memory as the package's defaults.
const maxProperties = 8 << 20

// maxPropertyKeys is how many properties all components of a package may have
// together: a short one takes many times its bytes.
const maxPropertyKeys = 4 * dm.MaxJSONKeys

// surveyor goes through the structure of one package.
type surveyor struct {
	registry   *Registry
	files      fs.FS
	left       int // bytes of properties that may still be read
	keys       int // properties that may still come
	components []dm.PackageComponent
	findings   []dm.Finding
	litter     []string // what is passed over, because no author meant it as content
	notes      []string // of the plugins
}

// survey lists the components of a package by type, then name, in byte order,
// with everything that is wrong with them. Files directly below the package or
// below a type belong to no component and are passed over, as PNDA does; so is
// what tools leave behind, so that it never counts as a component.
func (p *Planner) survey(files fs.FS) (*surveyor, error) {
	s := &surveyor{registry: p.registry, files: files, left: maxProperties, keys: maxPropertyKeys}
	types, err := s.directories(".")
	if err != nil {
		return nil, err
	}
	for _, t := range types {
		if err := s.visitType(dm.ComponentType(t)); err != nil {
			return nil, err
		}
	}
	if len(s.components) == 0 {
		message := "the package has no component; at least one component is required, as <type>/<name>/<files>"
		if len(s.litter) > 0 {
			message += " (" + s.passedOver() + ")"
		}
		s.findings = append(s.findings, dm.Finding{Message: message})
	}
	// Two spellings of one type are one list.
	slices.SortStableFunc(s.components, func(a, b dm.PackageComponent) int {
		return cmp.Or(cmp.Compare(p.registry.Canonical(a.Type), p.registry.Canonical(b.Type)), cmp.Compare(a.Name, b.Name))
	})
	s.findings = append(s.findings, p.registry.repeated(s.components)...)
	return s, nil
}

func (s *surveyor) passedOver() string {
	return "skipped, not content: " + some(s.litter)
}

// remarks are the notes on the package as a whole.
func (s *surveyor) remarks() []string {
	if len(s.litter) == 0 {
		return s.notes
	}
	return append([]string{s.passedOver()}, s.notes...)
}

func (s *surveyor) visitType(t dm.ComponentType) error {
	names, err := s.directories(string(t))
	if err != nil {
		return err
	}
	plugin, known := s.registry.Get(t)
	before := len(s.components)
	for _, name := range names {
		dir, err := fs.Sub(s.files, string(t)+"/"+name)
		if err != nil {
			return err
		}
		dir, litter, files, err := clean(dir)
		if err != nil {
			return err
		}
		for _, path := range litter {
			s.litter = append(s.litter, string(t)+"/"+name+"/"+path)
		}
		entries, err := fs.ReadDir(dir, ".")
		if err != nil {
			return err
		}
		if len(entries) == 0 || files == 0 && len(litter) > 0 {
			continue // an empty directory is not a component
		}
		c := dm.PackageComponent{Type: t, Name: dm.ComponentName(name), Files: dir}
		var fault string
		if c.Properties, fault, err = s.properties(dir, entries); err != nil {
			return err
		}
		if fault != "" {
			s.findings = append(s.findings, dm.Finding{Type: t, Component: c.Name, Path: propertiesFile, Message: "parsing failed: " + fault})
		}
		s.findings = append(s.findings, placed(c, checkSecretRefs(c.Properties))...)
		if known {
			s.findings = append(s.findings, placed(c, plugin.Validate(c))...)
			if err := s.remark(plugin, c); err != nil {
				return err
			}
		}
		s.components = append(s.components, c)
	}
	if !known && len(s.components) > before {
		s.findings = append(s.findings, dm.Finding{Type: t, Message: fmt.Sprintf("unknown component type %q, this server knows %s", t, s.known())})
	}
	return nil
}

// remark asks the plugin for its notes on a component.
func (s *surveyor) remark(plugin dm.Plugin, c dm.PackageComponent) error {
	able, ok := plugin.(dm.Remarker)
	if !ok {
		return nil
	}
	notes, err := able.Remarks(c)
	s.notes = append(s.notes, notes...)
	return err
}

// properties reads the component's properties.json; without one they are empty.
// fault says why it could not be used.
func (s *surveyor) properties(dir fs.FS, entries []fs.DirEntry) (p dm.Properties, fault string, err error) {
	p = dm.Properties{}
	i := slices.IndexFunc(entries, func(e fs.DirEntry) bool { return e.Name() == propertiesFile })
	if i < 0 {
		return p, "", nil
	}
	if entries[i].IsDir() {
		return p, "it is a directory", nil
	}
	data, err := readAtMost(dir, propertiesFile, min(dm.MaxJSONBytes, s.left))
	switch {
	case errors.Is(err, errFull):
		return p, fmt.Sprintf("at most %d bytes are allowed for one and %d for all of a package", dm.MaxJSONBytes, maxProperties), nil
	case errors.Is(err, errors.ErrUnsupported): // a sketch holds so many
		return p, fmt.Sprintf("at most %d bytes are allowed for all of a package", maxProperties), nil
	case err != nil:
		return p, "", err
	}
	s.left -= len(data)
	parsed, err := dm.ParseProperties(data)
	if err != nil {
		return p, dm.Public(err), nil
	}
	if s.keys -= len(parsed); s.keys < 0 {
		return p, fmt.Sprintf("at most %d keys are allowed for all of a package", maxPropertyKeys), nil
	}
	return parsed, "", nil
}

func (s *surveyor) known() string {
	var names []string
	for _, t := range s.registry.Types() {
		names = append(names, string(t))
	}
	return strings.Join(names, ", ")
}

// repeated finds components that two spellings of one type hold: they would be
// delivered to one place.
func (r *Registry) repeated(components []dm.PackageComponent) []dm.Finding {
	var findings []dm.Finding
	for i := 1; i < len(components); i++ {
		a, b := components[i-1], components[i]
		if a.Name == b.Name && r.Canonical(a.Type) == r.Canonical(b.Type) {
			findings = append(findings, dm.Finding{Type: b.Type, Component: b.Name,
				Message: fmt.Sprintf("duplicate component, since %s and %s are one type", a.Type, b.Type)})
		}
	}
	return findings
}

// placed fills in the component where a plugin left it out.
func placed(c dm.PackageComponent, findings []dm.Finding) []dm.Finding {
	for i := range findings {
		findings[i].Type = cmp.Or(findings[i].Type, c.Type)
		findings[i].Component = cmp.Or(findings[i].Component, c.Name)
	}
	return findings
}

// directories returns the names of the directories in dir that may be types or
// components, in byte order, and collects what is passed over.
func (s *surveyor) directories(dir string) ([]string, error) {
	entries, err := fs.ReadDir(s.files, dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		switch {
		case dm.Beside(e.Name(), e.IsDir()):
			litter := path.Join(dir, e.Name())
			if e.IsDir() {
				litter += "/"
			}
			s.litter = append(s.litter, litter)
		case e.IsDir():
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	return names, nil
}

// readAtMost reads a whole file of at most limit bytes, else errFull. The size
// that the file tells is believed only to read less.
func readAtMost(files fs.FS, path string, limit int) ([]byte, error) {
	f, err := files.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() > int64(limit) {
		return nil, errFull
	}
	data := bytes.NewBuffer(make([]byte, 0, info.Size()+bytes.MinRead))
	if _, err := data.ReadFrom(io.LimitReader(f, int64(limit)+1)); err != nil {
		return nil, err
	}
	if data.Len() > limit {
		return nil, errFull
	}
	return data.Bytes(), nil
}
