package main

import (
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	dm "github.com/pndaproject/deployment-manager"
)

const someTeam = `kubernetes: {enabled: true, files_url: "http://dm:5000", teams: {data: {namespace: pnda-data, serviceAccount: driver, images: ["spark:*"]}}}
spark: {images: {"4.0.4": "spark:4.0.4"}}
`

// TestFaultsOfEngines: what is wrong is refused at the start, by the name of the option.
func TestFaultsOfEngines(t *testing.T) {
	t.Parallel()
	team := func(text string) string { return "kubernetes: {teams: {" + text + "}}" }
	for _, tt := range []struct{ name, file, want string }{
		{"teams as a list", "kubernetes: {teams: [data]}", "kubernetes.teams in "},
		{"a name that is no team", team("data: pnda"), "is not a map from group to team"},
		{"unknown key of a team", team("data: {namespace: a, quota: {}}"), `unknown field "quota"`},
		{"group", team(`"": {}`), `"", which is no name of a group`},
		{"no namespace", team("data: {}"), `has no namespace for the team "data"`},
		{"namespace", team("data: {namespace: PNDA}"), `the namespace "PNDA" for the team "data"`},
		{"no account", team("data: {namespace: a}"), `has no serviceAccount for the team "data"`},
		{"account", team("data: {namespace: a, serviceAccount: a_b}"), `the serviceAccount "a_b" for the team "data"`},
		{"no images", team("data: {namespace: a, serviceAccount: b}"), `has no images that the team "data" may run`},
		{"image without a name", team(`data: {namespace: a, serviceAccount: b, images: [""]}`), `has no images that the team "data" may run`},
		{"pull secret", team(`data: {namespace: a, serviceAccount: b, images: [c], pullSecrets: [D]}`), `"D" among the pullSecrets of the team "data"`},
		{"address for files", "kubernetes: {files_url: dm}", "kubernetes.files_url in "},
		{"engine", "spark: {engine: yarn}", `"yarn" is not auto or operator or native`},
		{"images as a list", "spark: {images: [a]}", "spark.images in "},
		{"version", "spark: {images: {newest: a}}", `versions such as 4.0.4, not "newest"`},
		{"tail", "logs: {tail: much}", "logs.tail in "},

		{"nobody", "kubernetes: {enabled: true}", "kubernetes.teams names nobody"},
		{"no address for files", strings.Replace(someTeam, `files_url: "http://dm:5000", `, "", 1), "kubernetes.files_url does not say"},
		{"no image", strings.SplitAfter(someTeam, "\n")[0], "spark.images names no image"},
		{"version without an image", strings.Replace(someTeam, "{images", `{version: "3.5.1", images`, 1), `spark.version "3.5.1" is not among spark.images`},
		{"nothing is wrong", someTeam, ""},
		{"nothing that is used is wrong", "spark: {version: \"3.5.1\"}", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, err := loadFrom(t, tt.file, nil, nil)
			if err == nil {
				err = c.Engines.check()
			}
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("want %q, got %v", tt.want, err)
			}
			if err != nil && exitCode(err) != exitUsage {
				t.Errorf("want exit code %d, got %d", exitUsage, exitCode(err))
			}
		})
	}
}

func TestClusterAccess(t *testing.T) {
	t.Parallel()
	broken := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(broken, []byte("clusters: 1"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, file, want string }{
		{"missing", filepath.Join(t.TempDir(), "none"), "can't be used"},
		{"broken", broken, "can't be used"},
		{"not in a pod", "", "is not in a pod"},
	} {
		_, err := clusterAccess(tt.file)
		if err == nil || dm.KindOf(err) != dm.Invalid || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), tt.file) {
			t.Errorf("%s: want %q and the file's name, got %v", tt.name, tt.want, err)
		}
	}
}

// TestTeamOfActor: the first by name of the teams whose group an actor is in.
func TestTeamOfActor(t *testing.T) {
	t.Parallel()
	cfg := config{Engines: engineConfig{Teams: map[string]teamConfig{"ops": {}, "data": {}, "Lab": {}}}}
	e := &engines{teams: cfg.Engines.teams()}
	for _, tt := range []struct {
		groups []string
		want   string
	}{
		{nil, ""}, {[]string{"admin"}, ""}, {[]string{"ops"}, "ops"}, {[]string{"ops", "data"}, "data"}, {[]string{"data", "Lab"}, "Lab"},
	} {
		if got, err := e.team(dm.Actor{Groups: tt.groups}); got != tt.want || err != nil {
			t.Errorf("team of %v = %q, %v, want %q", tt.groups, got, err, tt.want)
		}
	}
	none, err := buildEngines(config{}, slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := none.team(dm.Actor{Groups: []string{"data"}}); got != "" || err != nil || none.rights() != nil {
		t.Errorf("without a cluster: team %q, %v, want none, and no rights to ask for", got, err)
	}
}
