package plugins

import (
	"fmt"
	"io/fs"
	"strings"
)

// listed names the first entries of a directory, directories with a slash, so
// that a person sees which one is too many.
func listed(entries []fs.DirEntry) string {
	const most = 10
	var names []string
	for _, e := range entries[:min(len(entries), most)] {
		name := fmt.Sprintf("%.80q", e.Name())
		if e.IsDir() {
			name = strings.TrimSuffix(name, `"`) + `/"`
		}
		names = append(names, name)
	}
	if more := len(entries) - most; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(names, ", "), more)
	}
	return strings.Join(names, ", ")
}
