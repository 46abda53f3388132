package gitstore

import (
	"iter"
	"strings"
)

// placer gives the files of an archive their places in the package's tree,
// which has no single outer directory. What a tool left beside that directory
// keeps its path, unless something in the package begins with the same name:
// then the archive alone holds it.
type placer struct {
	top   string          // "" when the archive has no single outer directory
	inner map[string]bool // first names in it, in lower case
}

func newPlacer(top string, paths iter.Seq[string]) placer {
	p := placer{top, map[string]bool{}}
	for path := range paths {
		if inner, ok := strings.CutPrefix(path, top+"/"); ok && top != "" {
			p.inner[firstName(inner)] = true
		}
	}
	return p
}

// place returns ok = false for a file that the tree does not hold.
func (p placer) place(path string) (inner string, ok bool) {
	if p.top == "" {
		return path, true
	}
	if inner, ok := strings.CutPrefix(path, p.top+"/"); ok {
		return inner, true
	}
	return path, !p.inner[firstName(path)]
}

func firstName(path string) string {
	name, _, _ := strings.Cut(path, "/")
	return strings.ToLower(name)
}
