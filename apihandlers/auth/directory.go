package auth

import (
	"maps"
	"slices"

	dm "github.com/pndaproject/deployment-manager"
)

// DirectoryConfig is what the configuration file says about people.
type DirectoryConfig struct {
	// Users is the list of all users. Empty means that the server keeps no
	// list: then those are known who can sign in or are in a group, and with
	// TrustAny every well-formed name.
	Users  []dm.UserName
	Groups map[string][]dm.UserName
	// SignIn names those who can sign in, for example Htpasswd.Users; nil
	// means nobody.
	SignIn func() []dm.UserName
	// TrustAny makes every well-formed name known where Users is empty: in
	// insecure-pnda, and where JupyterHub knows the people and cannot be asked for
	// their names.
	TrustAny bool
}

// Directory knows users and groups from the configuration. It never changes,
// except for those who can sign in.
type Directory struct {
	listed   []dm.UserName // sorted; empty means no list
	groups   map[string][]dm.UserName
	of       map[dm.UserName][]string
	signIn   func() []dm.UserName
	trustAny bool
}

var _ dm.Directory = (*Directory)(nil)

// NewDirectory checks the names.
func NewDirectory(cfg DirectoryConfig) (*Directory, error) {
	d := &Directory{groups: map[string][]dm.UserName{}, of: map[dm.UserName][]string{}, signIn: cfg.SignIn, trustAny: cfg.TrustAny}
	for _, u := range cfg.Users {
		if _, err := dm.ParseUserName(string(u)); err != nil {
			return nil, dm.Wrap("read users", err)
		}
		d.listed = append(d.listed, u)
	}
	d.listed = sorted(d.listed)
	for _, group := range slices.Sorted(maps.Keys(cfg.Groups)) {
		if _, err := dm.ParseUserName(group); err != nil {
			return nil, dm.Errorf(dm.Invalid, "read groups", "invalid group name %q: %s", group, dm.Public(err))
		}
		for _, u := range cfg.Groups[group] {
			if _, err := dm.ParseUserName(string(u)); err != nil {
				return nil, dm.Errorf(dm.Invalid, "read groups", "the group %s: %s", group, dm.Public(err))
			}
			if !slices.Contains(d.of[u], group) {
				d.of[u] = append(d.of[u], group)
			}
			d.groups[group] = append(d.groups[group], u)
		}
		d.groups[group] = sorted(d.groups[group])
	}
	return d, nil
}

func sorted(list []dm.UserName) []dm.UserName {
	slices.Sort(list)
	return slices.Compact(list)
}

// Known tells whether the user exists.
func (d *Directory) Known(u dm.UserName) bool {
	if d.trustAny && len(d.listed) == 0 {
		_, err := dm.ParseUserName(string(u))
		return err == nil
	}
	return d.names(u)
}

// names tells whether there is more of the user than a name that somebody may have made
// up.
func (d *Directory) names(u dm.UserName) bool {
	if len(d.listed) > 0 {
		_, found := slices.BinarySearch(d.listed, u)
		return found
	}
	return len(d.of[u]) > 0 || d.signIn != nil && slices.Contains(d.signIn(), u)
}

// knownWhenProven tells whether a user whose credential holds is let in: the
// list of users, where there is one, is also a list of who may come.
func (d *Directory) knownWhenProven(u dm.UserName) bool {
	return len(d.listed) == 0 || d.Known(u)
}

// Groups returns the groups of a user, in byte order.
func (d *Directory) Groups(u dm.UserName) []string { return slices.Clone(d.of[u]) }

// Members returns the members of a group, in byte order.
func (d *Directory) Members(group string) []dm.UserName { return slices.Clone(d.groups[group]) }
