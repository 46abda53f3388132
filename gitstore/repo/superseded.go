package repo

import (
	"strconv"
	"strings"

	dm "github.com/pndaproject/deployment-manager"
)

// NextSuperseded is the first free ref for an earlier tag of v.
func NextSuperseded(heads Refs, v dm.Version) string {
	highest := 0
	for name := range heads {
		if text, ok := strings.CutPrefix(name, SupersededPrefix+v.String()+"/"); ok {
			if n, err := strconv.Atoi(text); err == nil {
				highest = max(highest, n)
			}
		}
	}
	return Superseded(v, highest+1)
}
