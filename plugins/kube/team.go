package kube

import (
	"fmt"
	"slices"
	"strings"

	dm "github.com/pndaproject/deployment-manager"
)

// Team is for whom work runs: the members of a group. Its namespace, its service
// account and the quota there bound what its applications can do and use.
type Team struct {
	Name           string   // of the group
	Namespace      string   // in which all of the team's objects are made
	ServiceAccount string   // of drivers, which start executors
	Images         []string // that may run: exactly, or all that begin so where one ends in "*"
	PullSecrets    []string // names of Secrets in the namespace, with which images are pulled
}

// Allows tells whether the team may run an image.
func (t Team) Allows(image string) bool {
	return slices.ContainsFunc(t.Images, func(pattern string) bool {
		front, open := strings.CutSuffix(pattern, "*")
		return image == pattern || open && strings.HasPrefix(image, front)
	})
}

// Team finds a team by its name.
func (c *Cluster) Team(name string) (Team, error) {
	for _, t := range c.cfg.Teams {
		if t.Name == name && name != "" {
			return t, nil
		}
	}
	if name == "" {
		return Team{}, dm.Errorf(dm.Invalid, "kube.Team", "who created this application is in no team that may run work on the cluster").
			WithHint("the groups in kubernetes.teams may: %s", strings.Join(c.teamNames(), ", "))
	}
	return Team{}, dm.Errorf(dm.Invalid, "kube.Team", "no such team in kubernetes.teams: %q", name)
}

func (c *Cluster) teamNames() []string {
	var names []string
	for _, t := range c.cfg.Teams {
		names = append(names, t.Name)
	}
	return names
}

// namespaces are those of all teams, once each.
func (c *Cluster) namespaces() []string {
	var names []string
	for _, t := range c.cfg.Teams {
		names = append(names, t.Namespace)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func checkTeams(teams []Team) error {
	seen := map[string]bool{}
	for _, t := range teams {
		switch {
		case t.Name == "":
			return fmt.Errorf("kube: a team without a group")
		case seen[t.Name]:
			return fmt.Errorf("kube: duplicate team %q", t.Name)
		case t.Namespace == "":
			return fmt.Errorf("kube: the team %q has no namespace", t.Name)
		case t.ServiceAccount == "":
			return fmt.Errorf("kube: the team %q has no service account", t.Name)
		}
		seen[t.Name] = true
	}
	if len(teams) == 0 {
		return fmt.Errorf("kube: no team is configured")
	}
	return nil
}
