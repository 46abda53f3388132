package plugins_test

import (
	"encoding/json"
	"strings"
	"testing"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/plugins"
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
