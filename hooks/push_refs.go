package hooks

import (
	"errors"
	"strings"

	dm "github.com/pndaproject/deployment-manager"
)

// Bounds of what one push may ask.
const (
	maxRefs     = 10
	maxOptions  = 8
	maxCommands = 8 << 20 // bytes of all commands and options
)

const zeroID = "0000000000000000000000000000000000000000"

// command is what git hands to the hook of each ref: from old to new, "" for no
// object.
type command struct {
	old, new dm.Revision
	name     string
}

// pushOptions are the -o of a push, understood.
type pushOptions struct {
	dry    bool
	faulty bool // accept-faults
	reason string
}

// parseOptions understands the push options and returns every fault.
func parseOptions(list []string) (o pushOptions, faults []error) {
	const op = "parse push options"
	refuse := func(format string, args ...any) {
		faults = append(faults, dm.Errorf(dm.Invalid, op, format, args...).WithHint("the push options are dry-run, accept-faults and reason=<text>"))
	}
	if len(list) > maxOptions {
		refuse("there are more than %d push options", maxOptions)
		list = list[:maxOptions]
	}
	reasons := 0
	for _, text := range list {
		reason, isReason := strings.CutPrefix(text, "reason=")
		switch {
		case text == "dry-run" && o.dry:
			refuse("duplicate push option dry-run")
		case text == "dry-run":
			o.dry = true
		case text == "accept-faults" && o.faulty:
			refuse("duplicate push option accept-faults")
		case text == "accept-faults":
			o.faulty = true
		case isReason && reasons > 0:
			refuse("duplicate push option reason")
		case isReason:
			reasons++
			var err error
			if o.reason, err = dm.ParseReason(reason); err != nil {
				faults = append(faults, err)
			}
		default:
			refuse("unknown push option %s", quoted(text))
		}
	}
	return o, faults
}

// parseCommand understands one command. The name is whatever is left: git lets
// nearly every byte through.
func parseCommand(text string) (c command, ok bool) {
	parts := strings.SplitN(text, " ", 3)
	if len(parts) != 3 {
		return c, false
	}
	from, errFrom := parseID(parts[0])
	to, errTo := parseID(parts[1])
	return command{from, to, parts[2]}, errors.Join(errFrom, errTo) == nil
}

func parseID(s string) (dm.Revision, error) {
	if s == zeroID {
		return "", nil
	}
	return dm.ParseRevision(s)
}

// refFault is why one ref can't be taken.
type refFault struct {
	name string
	error
}

func (f refFault) Unwrap() error { return f.error }

// understand is the policy of names: which refs of a push to r may be judged at
// all. It returns those, and a sentence for each other, or one for all.
func understand(r dm.Repository, commands []command) (refs []dm.PushedRef, faults []error) {
	const op = "hooks.understand"
	if r.Kind != dm.PackageRepository && r.Kind != dm.ApplicationRepository {
		return nil, []error{dm.Errorf(dm.Forbidden, op, "the server alone writes this repository: it syncs it from the applications").
			WithHint("push to the application or the package that the files come from")}
	}
	if n := len(commands); n > maxRefs {
		return nil, []error{dm.Errorf(dm.TooLarge, op, "the push has %d refs, at most %d are allowed", n, maxRefs).
			WithHint("push them in groups")}
	}
	seen := map[string]string{} // what a ref stands for → the name that came first
	for _, c := range commands {
		ref, err := understandOne(r.Kind, c)
		if err != nil {
			faults = append(faults, refFault{c.name, err})
			continue
		}
		key := c.name
		if ref.Version != nil {
			key = ref.Version.String()
		}
		if first, twice := seen[key]; twice {
			faults = append(faults, refFault{c.name, dm.Errorf(dm.Invalid, op, "%s and %s are the same version", quoted(first), quoted(c.name)).WithHint("push one of them")})
			continue
		}
		seen[key] = c.name
		refs = append(refs, ref)
	}
	return refs, faults
}

// understandOne judges one name. The order of the checks is that of what helps
// most: what is refused everywhere comes before what this repository takes.
func understandOne(kind dm.RepositoryKind, c command) (ref dm.PushedRef, err error) {
	refuse := func(sentence, hint string) (dm.PushedRef, error) {
		return dm.PushedRef{}, dm.Errorf(dm.Invalid, "hooks.understand", "%s %s", quoted(c.name), sentence).WithHint("%s", hint)
	}
	hint := "push a tag named for the version, such as 1.2.3 or v1.2.3"
	if kind == dm.ApplicationRepository {
		hint = "push to main"
	}
	switch {
	case !strings.HasPrefix(c.name, "refs/"):
		return refuse("is not the full name of a ref", hint)
	case under(c.name, "refs/replace"):
		return refuse("is a replace ref, which is not accepted", hint)
	case serverOwned(kind, c.name):
		return refuse("is read-only", hint)
	case c.new == "" && kind == dm.PackageRepository:
		return refuse("cannot be deleted by a push", "withdraw a version with DELETE of its archive")
	case c.new == "":
		return refuse("cannot be deleted by a push", "destroy the application with DELETE")
	case kind == dm.ApplicationRepository && c.name == "refs/heads/main":
		return dm.PushedRef{Name: c.name, Old: c.old, New: c.new}, nil
	case kind == dm.ApplicationRepository:
		return refuse("is not accepted: an application has only the branch main", hint)
	}
	tag, ok := strings.CutPrefix(c.name, "refs/tags/")
	if !ok {
		return refuse("is not accepted: a package has only tags of versions", hint)
	}
	version, err := dm.ParseVersion(strings.TrimPrefix(tag, "v"))
	if err != nil {
		return refuse("is not a version tag", "a version is three numbers without leading zeros, such as 1.2.3 or v1.2.3")
	}
	if c.old != "" {
		return refuse("already exists, and versions are immutable", "publish the new content under a new version number")
	}
	return dm.PushedRef{Name: c.name, Old: c.old, New: c.new, Version: &version}, nil
}

// serverOwned tells whether the server writes the ref. The names of both kinds
// are its own in either.
func serverOwned(kind dm.RepositoryKind, name string) bool {
	for _, folder := range []string{
		"refs/deployed", "refs/archives", "refs/superseded", "refs/deployments", "refs/observed", "refs/heads/apps",
	} {
		if under(name, folder) {
			return true
		}
	}
	return kind == dm.PackageRepository && under(name, "refs/heads/main")
}

// under tells whether a ref is in folder, or would stand in its place. Letter
// case does not help to get around it.
func under(name, folder string) bool {
	name = strings.ToLower(name)
	return name == folder || strings.HasPrefix(name, folder+"/")
}
