package plugins

import (
	"encoding/json"
	"fmt"
	"maps"
	"path"

	dm "github.com/pndaproject/deployment-manager"
)

// A short reference may stand for a long value many times, a list of overrides
// for as many lines as it has commas. So a plan is gone through twice, by the
// same code: first to count what it will hold, then to build it. What is over
// the limits is refused after the first, when nothing of it was held yet.

// limits of filling, in bytes. What is filled is held in memory until the plan
// is recorded.
type limits struct {
	file int // one filled file, before and after
	plan int // all filled files of one plan
}

// maxSpec is how many bytes application.json may have.
const maxSpec = 4 << 20

// count is what one plan will hold.
type count struct {
	limits  limits
	total   int64           // bytes of all filled files
	largest int64           // bytes of the largest file, before or after it is filled
	changed map[string]bool // of the files gone through, whether filling changes them
}

// fullError tells by how much a filled file is too large.
type fullError struct{ message string }

func (e *fullError) Error() string        { return e.message }
func (e *fullError) Is(target error) bool { return target == errFull }

// take adds a file that has size bytes when it is filled and had before bytes.
func (c *count) take(size, before int64) error {
	file, plan := int64(c.limits.file), int64(c.limits.plan)
	switch {
	case max(size, before) > file:
		return &fullError{fmt.Sprintf("with its variables filled in the file has up to %d bytes, at most %d are allowed", max(size, before), file)}
	case c.total+size > plan:
		return &fullError{fmt.Sprintf("with its variables filled in the file has up to %d bytes, and with those before it %d; at most %d are allowed for all filled files of an application",
			size, c.total+size, plan)}
	}
	c.total += size
	c.largest = max(c.largest, size, before)
	return nil
}

// cost is how many bytes of memory a plan needs: what it holds, what is read,
// filled and compressed of one file at a time, and what is known of the package
// and the spec.
func (c *count) cost(spec dm.Spec, components []dm.PackageComponent) int64 {
	n := c.total + 3*c.largest + 3*indentedSpec(spec)
	for _, component := range components {
		n += propertiesCost(component.Properties)
	}
	return n
}

// propertiesCost is about what parsed properties take in memory.
func propertiesCost(p dm.Properties) int64 {
	const perKey = 200
	n := int64(0)
	for key, value := range p {
		n += int64(len(key)+len(value)) + perKey
	}
	return n
}

// measure counts one file and tells whether filling may change it.
func (d *planning) measure(c dm.PackageComponent, file string, t texts) (changed bool, err error) {
	f, err := c.Files.Open(file)
	if err != nil {
		return false, err
	}
	defer f.Close()
	g, err := glanceAt(f, t.of(file), d.buf)
	if err != nil {
		return false, err
	}
	if g.foreign {
		d.foreign = append(d.foreign, componentKey(c, file))
	}
	if file == applicationFile && t.auto != nil {
		info, err := f.Stat() // the glance may not have gone to the end
		if err != nil {
			return false, err
		}
		return true, d.count.take(max(g.most, info.Size())+int64(len("\n\n")+len(t.auto)), info.Size())
	}
	if !g.named {
		return false, nil
	}
	return true, d.count.take(g.most, g.size)
}

// specTooLarge refuses what makes application.json, which every start and stop
// writes again, too large.
func specTooLarge(spec dm.Spec) []dm.Finding {
	size := indentedSpec(spec)
	if size <= maxSpec {
		return nil
	}
	return []dm.Finding{{Message: fmt.Sprintf("overrides and audience take up to %d bytes in application.json, at most %d are allowed", size, maxSpec)}}
}

// indentedSpec is at least what a spec takes in application.json.
func indentedSpec(spec dm.Spec) int64 {
	const line = 100
	n := int64(10 * line)
	for t, components := range spec.Overrides {
		n += int64(6*len(t)) + line
		for name, properties := range components {
			n += int64(6*len(name)) + line + indentedSize(properties, 3)
		}
	}
	for _, s := range spec.Audience {
		n += int64(6*len(s)) + line
	}
	return n
}

// indentedSize is at least how many bytes properties take when they are written
// as JSON with two spaces for each level, from the level they stand at.
func indentedSize[M ~map[string]json.RawMessage](properties M, level int) int64 {
	n := int64(len("{\n}\n") + 2*level)
	for key, value := range properties {
		n += int64(6*len(key)+len(`"": ,`+"\n")+2*(level+1)) + indentedValue(value, level+1)
	}
	return n
}

// indentedValue walks one JSON value: each comma and each bracket begins a line.
func indentedValue(value []byte, level int) int64 {
	n := int64(len(value))
	inText, escaped := false, false
	for _, c := range value {
		switch {
		case escaped:
			escaped = false
		case inText:
			escaped, inText = c == '\\', c != '"'
		case c == '"':
			inText = true
		case c == '{' || c == '[':
			level++
			n += int64(1 + 2*level)
		case c == '}' || c == ']':
			level--
			n += int64(1 + 2*level)
		case c == ',':
			n += int64(1 + 2*level)
		case c == ':':
			n++
		}
	}
	return n
}

// componentKey names a file of a package in count.changed.
func componentKey(c dm.PackageComponent, file string) string {
	return path.Join(string(c.Type), string(c.Name), file)
}

// ofComponent are the variables that properties.json tells.
func (v variables) ofComponent() variables {
	own := maps.Clone(v)
	maps.DeleteFunc(own, func(name string, _ json.RawMessage) bool { return !isComponentVariable(name) })
	return own
}

func isComponentVariable(name string) bool {
	return len(name) >= len(componentPrefix) && name[:len(componentPrefix)] == componentPrefix
}
