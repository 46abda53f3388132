package githttp

import (
	"net/url"
	"strings"
	"testing"

	dm "github.com/pndaproject/deployment-manager"
)

// FuzzRepositoryOf holds that an accepted segment names one repository by a valid
// name, and that the canonical spelling of the name leads to the same one.
func FuzzRepositoryOf(f *testing.F) {
	for _, segment := range []string{
		"ana", "ana.git", "jos%C3%A9%20a", "a%252e", "%2e%2e%2fx", "p.v1.git", "..", "a_b.git", "a%00", "%70", "p%2egit",
	} {
		f.Add(segment)
	}
	f.Fuzz(func(t *testing.T, segment string) {
		for _, kind := range kinds {
			got, err := repositoryOf(kind, segment)
			if err != nil {
				continue
			}
			name := got.Name
			if strings.ContainsAny(name, "/\\\x00\r\n") || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "-") {
				t.Errorf("%q was read as %q", segment, name)
			}
			canonical := name + ".git"
			if kind == dm.WorkspaceRepository {
				canonical = url.PathEscape(name) + ".git"
			}
			if again, err := repositoryOf(kind, canonical); err != nil || again != got {
				t.Errorf("%q is %v, its canonical form %q is %v, %v", segment, got, canonical, again, err)
			}
		}
	})
}
