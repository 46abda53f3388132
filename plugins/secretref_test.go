package plugins_test

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/fstest"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/plugins"
	"github.com/pndaproject/deployment-manager/plugins/plugintest"
)

func TestSecretRef(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		value string
		want  plugins.SecretReference
		is    bool
		fault string
	}{
		{value: `"db/password"`},
		{value: `{"host": "db"}`},
		{value: `3`},
		{value: `{"secretRef": "db/password"}`, want: plugins.SecretReference{Name: "db", Key: "password"}, is: true},
		{value: `{"secretRef": "a.b-c/tls.key"}`, want: plugins.SecretReference{Name: "a.b-c", Key: "tls.key"}, is: true},
		{value: `{"secretRef": "db"}`, is: true, fault: `the secretRef "db" must be`},
		{value: `{"secretRef": "DB/password"}`, is: true, fault: "must be"},
		{value: `{"secretRef": "../db/password"}`, is: true, fault: "must be"},
		{value: `{"secretRef": "db/a/b"}`, is: true, fault: "must be"},
		{value: `{"secretRef": "db/.."}`, is: true, fault: "must be"},
		{value: `{"secretRef": 3}`, is: true, fault: "and nothing else"},
		{value: `{"secretRef": "db/password", "default": "x"}`, is: true, fault: "and nothing else"},
	} {
		got, is, err := plugins.SecretRef(json.RawMessage(c.value))
		if got != c.want || is != c.is || (err != nil) != (c.fault != "") || !strings.Contains(dm.Public(orNone(err)), c.fault) {
			t.Errorf("SecretRef(%s) = %v, %v, %v; want %v, %v, an error with %q", c.value, got, is, err, c.want, c.is, c.fault)
		}
	}
}

func orNone(err error) error {
	if err == nil {
		return dm.Errorf(dm.Invalid, "", "")
	}
	return err
}

func TestSecretEnvIsAVariable(t *testing.T) {
	t.Parallel()
	for property, want := range map[string]string{"db_password": "SECRET_DB_PASSWORD", "a.b-c é": "SECRET_A_B_C__", "9": "SECRET_9"} {
		if got := plugins.SecretEnv(property); got != want {
			t.Errorf("SecretEnv(%q) = %q, want %q", property, got, want)
		}
	}
}

// inPods is an engine whose pods are given secrets.
type inPods struct{ *plugintest.FakeEngine }

func (inPods) FileRules() dm.FileRules {
	return dm.FileRules{Fill: []string{"application.properties"}, Listed: true}
}

func TestSecretsStandInNoFile(t *testing.T) {
	t.Parallel()
	const properties = `{"main_py": "job.py", "password": {"secretRef": "db/password"}, "host": "db"}`
	files := func(application string) fstest.MapFS {
		return tree("sparkStreaming/count/application.properties", application, "sparkStreaming/count/job.txt", "", "sparkStreaming/count/properties.json", properties)
	}
	registry, err := plugins.New(inPods{plugintest.NewFakeEngine("sparkStreaming")})
	if err != nil {
		t.Fatal(err)
	}
	planner, err := plugins.NewPlanner(plugins.Config{Registry: registry})
	if err != nil {
		t.Fatal(err)
	}
	p, findings, err := planner.Plan(ref, spec(nil), files("at=${component_host}\nescaped=$${component_password}\n"), nil)
	if err != nil || len(findings) > 0 {
		t.Fatalf("Plan: %v, %v", findings, err)
	}
	got := listing(p.Components[0])
	if file := got["application.properties"]; strings.Contains(file, "component.password") || !strings.HasPrefix(file, "at=db\nescaped=${component_password}\n") {
		t.Errorf("application.properties = %q, want no line for the secret, and the escape resolved", file)
	}
	if !strings.Contains(got["properties.json"], `"secretRef": "db/password"`) {
		t.Errorf("properties.json = %q, want the reference in it", got["properties.json"])
	}
	if notes := strings.Join(p.Notes, "\n"); !strings.Contains(notes, "sparkStreaming/count/application.properties leaves out password") || !strings.Contains(notes, "SECRET_PASSWORD") {
		t.Errorf("notes = %q, want one that names the property and its environment variable", notes)
	}

	_, findings, err = planner.Plan(ref, spec(nil), files("a=${component_password}\nb=$component_password ${component_host}\n"), nil)
	if err != nil || len(findings) != 1 || !strings.Contains(findings[0].String(), "application.properties") || !strings.Contains(findings[0].String(), "${component_password}") {
		t.Errorf("findings = %v, %v; want one that names the file and ${component_password}", findings, err)
	}
}

func TestSecretReferencesAreJudged(t *testing.T) {
	t.Parallel()
	bad := tree("jupyter/report/x.ipynb", "{}", "jupyter/report/properties.json", `{"a": {"secretRef": "NO"}, "b": {"secretRef": 1}}`)
	v, err := newPlanner(t).Validate(ref, ref.String(), bad)
	if err != nil || len(v.Findings) != 2 {
		t.Errorf("Validate: %v, %v; want a finding for each malformed reference", v.Findings, err)
	}
	for name, c := range map[string]struct {
		files fstest.MapFS
		want  string
	}{
		"jupyter": {tree("jupyter/report/x.ipynb", "{}"), "a notebook can't be given a secret"},
		"flink":   {tree("flink/report/application.properties", "", "flink/report/job.py", "", "flink/report/properties.json", `{"main_py": "job.py"}`), "no Flink engine"},
		"oozie":   {tree("oozie/report/workflow.xml", ""), "no Oozie engine"},
	} {
		s := spec(overrides(t, `{"`+name+`": {"report": {"key": {"secretRef": "db/key"}}}}`))
		_, findings, err := newPlanner(t).Plan(ref, s, c.files, nil)
		if err != nil || len(findings) != 1 || !strings.Contains(findings[0].Message, "key: ") || !strings.Contains(findings[0].Message, c.want) {
			t.Errorf("%s: findings = %v, %v; want one with %q", name, findings, err, c.want)
		}
	}
	s := spec(overrides(t, `{"jupyter": {"report": {"key": {"secretRef": "db"}}}}`))
	if _, findings, _ := newPlanner(t).Plan(ref, s, tree("jupyter/report/x.ipynb", "{}"), nil); len(findings) == 0 || !strings.Contains(findings[0].Message, `the secretRef "db" must be`) {
		t.Errorf("findings = %v, want the malformed override among them", findings)
	}
}
