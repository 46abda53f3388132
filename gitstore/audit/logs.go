package audit

import (
	"path"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/pndaproject/deployment-manager/gitstore/form"
)

// logs checks what an outcome keeps of what components wrote, against the outcome
// before it, and returns it.
func (v *Verifier) logs(d told, tree plumbing.Hash, before map[string]plumbing.Hash) map[string]plumbing.Hash {
	files, err := form.Logs(v.objects, tree)
	if err != nil {
		v.problem("%s: %v", d.what, err)
		return before
	}
	of := map[string]int{}
	for file, blob := range files {
		if was, there := before[file]; there && was != blob {
			v.problem("%s has another %s/%s than the outcome before", d.what, form.LogsTree, file)
		}
		of[path.Dir(file)]++
	}
	for component, n := range of {
		if n > form.LogsOfOne {
			v.problem("%s keeps %d logs of %s, the server keeps %d", d.what, n, component, form.LogsOfOne)
		}
	}
	if len(files) > form.LogsOfAll {
		v.problem("%s keeps %d logs, the server keeps %d", d.what, len(files), form.LogsOfAll)
	}
	return files
}
