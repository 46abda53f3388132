package receive

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/archive"
	"github.com/pndaproject/deployment-manager/gitstore/form"
)

// judgeProposal tells whether propose would accept the push of main.
func (p *push) judgeProposal(ctx context.Context, ref dm.PushedRef) (dm.PushOutcome, error) {
	spec, _, err := p.readProposal(ctx, ref)
	if err != nil {
		return dm.PushOutcome{}, err
	}
	return p.Record.Decide(ctx, p.by(ref), ref, spec)
}

// propose makes the change that a pushed application.json asks for, and only
// that: everything else in the pushed tree is the server's to write.
func (p *push) propose(ctx context.Context, ref dm.PushedRef) (dm.PushOutcome, error) {
	spec, brought, err := p.readProposal(ctx, ref)
	if err != nil {
		return dm.PushOutcome{}, err
	}
	return p.Record.Propose(ctx, p.by(ref), ref, spec, brought.copyTo(ctx, p.objects))
}

// readProposal judges what the push would add to the record and reads the
// application.json of its commit.
func (p *push) readProposal(ctx context.Context, ref dm.PushedRef) (dm.Spec, *brought, error) {
	const op = "receive.push"
	app := dm.ApplicationName(p.repository.Name)
	main, from := p.Record.Main(app), p.objects
	switch {
	case string(ref.New) == main.String():
		return dm.Spec{}, nil, dm.Errorf(dm.Invalid, op, "everything up-to-date: main of %s is already at this commit", app)
	case plumbing.NewHash(string(ref.Old)) != main:
		// git would fail over a name that no object has.
		return dm.Spec{}, nil, Behind(op, app)
	}
	commit, err := from.peel(ctx, string(ref.New))
	if err != nil {
		return dm.Spec{}, nil, err
	}
	if commit.id != string(ref.New) {
		return dm.Spec{}, nil, dm.Errorf(dm.Invalid, op, "main must be a commit, not a tag")
	}
	if ref.Old != "" {
		ok, err := from.git.IsAncestor(ctx, from.dir, string(ref.Old), string(ref.New))
		if err != nil {
			return dm.Spec{}, nil, err
		}
		if !ok {
			return dm.Spec{}, nil, dm.Errorf(dm.Conflict, op, "rejected: your main does not contain the server's; pull first").
				WithHint("git pull, then push without --force")
		}
	}
	brought, err := from.gather(ctx, commit.id, plumbing.NewHash(string(ref.Old)))
	if err != nil {
		return dm.Spec{}, nil, err
	}
	if err := brought.check(ctx, from, archive.Limits{File: maxProposedBytes, Unpacked: 1 << 40, Entries: p.Limits.Entries}); err != nil {
		return dm.Spec{}, nil, err
	}
	file, err := from.file(ctx, commit.tree, form.SpecFile, dm.MaxJSONBytes)
	if errors.Is(err, errNotFound) {
		return dm.Spec{}, nil, dm.Errorf(dm.Invalid, op, "the pushed commit has no %s in its root folder", form.SpecFile).
			WithHint(`it must hold at least {"package": "<name>-<version>"}`)
	}
	if err != nil {
		return dm.Spec{}, nil, err
	}
	spec, err := parseSpec(app, file)
	return spec, brought, err
}

// parseSpec reads a pushed application.json. What it leaves out is zero. All
// findings come back at once.
func parseSpec(app dm.ApplicationName, file []byte) (dm.Spec, error) {
	spec := dm.Spec{Name: app}
	properties, err := dm.ParseProperties(file)
	if err != nil {
		return spec, unreadable(app, dm.Finding{Path: form.SpecFile, Message: dm.Public(err)})
	}
	var findings []dm.Finding
	for _, key := range slices.Sorted(maps.Keys(properties)) {
		if err := parseSpecKey(&spec, key, properties[key]); err != nil {
			findings = append(findings, dm.Finding{Path: form.SpecFile, Message: dm.Public(err)})
		}
	}
	if len(findings) > 0 {
		return spec, unreadable(app, findings...)
	}
	return spec, nil
}

func unreadable(app dm.ApplicationName, findings ...dm.Finding) error {
	return dm.Refuse("receive.push", fmt.Sprintf("the application %s cannot be read", app), findings)
}

func parseSpecKey(spec *dm.Spec, key string, raw json.RawMessage) (err error) {
	const op = "receive.push"
	text := ""
	switch key {
	case "name", "package", "owner", "team", "state":
		if json.Unmarshal(raw, &text) != nil || text == "" {
			return dm.Errorf(dm.Invalid, op, "%s must be a non-empty string", key)
		}
	}
	switch key {
	case "name":
		if text != string(spec.Name) {
			err = dm.Errorf(dm.Invalid, op, "name is %.200q, but the repository is that of %q", text, spec.Name)
		}
	case "package":
		spec.Package, err = dm.ParsePackageRef(text)
	case "owner":
		spec.Owner, err = dm.ParseUserName(text)
	case "team":
		spec.Team = text
	case "state":
		spec.State = dm.WantedState(text)
		if !slices.Contains([]dm.WantedState{dm.WantCreated, dm.WantStarted, dm.WantDestroyed}, spec.State) {
			err = dm.Errorf(dm.Invalid, op, "state is %.200q, must be created, started or destroyed", text)
		}
	case "overrides":
		var properties dm.Properties
		if properties, err = dm.ParseProperties(raw); err != nil {
			return dm.Errorf(dm.Invalid, op, "overrides must be an object of component types")
		}
		if spec.Overrides, err = dm.ParseOverrides(properties); err != nil {
			return err
		}
		// The pushed commit stays, so leaving them out would be too late.
		if _, secrets := spec.Overrides.WithoutSecrets(); len(secrets) > 0 {
			err = dm.Errorf(dm.Invalid, op, "overrides have secrets, which are not stored: %s", strings.Join(dm.Few(secrets), ", "))
		}
	case "audience":
		var texts []string
		if json.Unmarshal(raw, &texts) != nil {
			return dm.Errorf(dm.Invalid, op, "audience must be a list of strings, such as [\"user:ana\", \"group:class-7\"]")
		}
		spec.Audience, err = dm.ParseAudience(texts)
	default:
		err = dm.Errorf(dm.Invalid, op, "unknown key %.200q, known keys are package, overrides, audience, state, name, owner and team", key)
	}
	return err
}

// Behind refuses a push that does not start from where main is.
func Behind(op string, app dm.ApplicationName) error {
	return dm.Errorf(dm.Stale, op, "rejected: main of %s has changed since your last fetch", app).WithHint("git pull, then push again")
}
