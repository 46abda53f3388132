package gitstore

import (
	"strconv"
	"strings"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// nextSuperseded is the first free ref for an earlier tag of v.
func nextSuperseded(heads repo.Refs, v dm.Version) string {
	highest := 0
	for name := range heads {
		if text, ok := strings.CutPrefix(name, repo.SupersededPrefix+v.String()+"/"); ok {
			if n, err := strconv.Atoi(text); err == nil {
				highest = max(highest, n)
			}
		}
	}
	return repo.Superseded(v, highest+1)
}
