package plugins

import (
	"strings"

	dm "github.com/pndaproject/deployment-manager"
)

// maxLook is how many bytes of a package's files the notes of plugins may be
// made from, before it is recorded.
const maxLook = 8 << 20

// Look implements dm.Planner.
func (p *Planner) Look() func(path string, size int64) int64 {
	properties, rest := int64(maxProperties), int64(maxLook)
	return func(path string, size int64) int64 {
		parts := strings.Split(path, "/")
		if len(parts) < 3 {
			return 0
		}
		if len(parts) == 3 && parts[2] == propertiesFile {
			return within(&properties, size, dm.MaxJSONBytes)
		}
		if strings.HasPrefix(parts[len(parts)-1], "._") {
			return min(size, dm.AppleDoubleHead)
		}
		plugin, _ := p.registry.Get(dm.ComponentType(parts[0]))
		if able, ok := plugin.(dm.Remarker); ok {
			return within(&rest, able.Looks(path, size), maxLook)
		}
		return 0
	}
}

// within takes n bytes of left, or none when there are not as many or when
// they are more than most.
func within(left *int64, n, most int64) int64 {
	if n > min(*left, most) {
		return 0
	}
	*left -= n
	return n
}
