package main

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	dm "github.com/pndaproject/deployment-manager"
)

func loadFrom(t *testing.T, file string, environ, args []string) (config, error) {
	t.Helper()
	if file != "" {
		path := filepath.Join(t.TempDir(), "dm.yaml")
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		environ = append([]string{"DM_CONFIG=" + path}, environ...)
	}
	flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
	declareFlags(flags)
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	return load(flags, environ)
}

func TestPrecedence(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, file    string
		environ, args []string
		want          string
	}{
		{"default", "", nil, nil, "127.0.0.1:5000"},
		{"file", "listen: {manager: \"127.0.0.1:1\"}", nil, nil, "127.0.0.1:1"},
		{"variable over file", "listen: {manager: \"127.0.0.1:1\"}", []string{"DM_LISTEN_MANAGER=127.0.0.1:2"}, nil, "127.0.0.1:2"},
		{"flag over both", "listen: {manager: \"127.0.0.1:1\"}", []string{"DM_LISTEN_MANAGER=127.0.0.1:2"}, []string{"--listen-manager=127.0.0.1:3"}, "127.0.0.1:3"},
		{"flag that repeats the default", "listen: {manager: \"127.0.0.1:1\"}", nil, []string{"--listen-manager", "127.0.0.1:5000"}, "127.0.0.1:5000"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, err := loadFrom(t, tt.file, tt.environ, tt.args)
			if err != nil || c.ListenManager != tt.want {
				t.Errorf("want %s, got %s, %v", tt.want, c.ListenManager, err)
			}
		})
	}
}

func TestEveryOptionReadsItsDefaultFromEverySource(t *testing.T) {
	t.Parallel()
	for _, o := range options() {
		t.Run(o.key, func(t *testing.T) {
			t.Parallel()
			var want config
			if err := o.field(&want).Set(o.preset); err != nil {
				t.Fatalf("the default of %s does not hold: %v", o.key, err)
			}
			if text := o.field(&want).String(); text != o.preset {
				t.Errorf("want the default shown as %q, got %q", o.preset, text)
			}
			fromVariable, err := loadFrom(t, "", []string{o.variable() + "=" + o.preset}, nil)
			if err != nil {
				t.Fatal(err)
			}
			fromFlag, err := loadFrom(t, "", nil, []string{"--" + o.flag() + "=" + o.preset})
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(fromVariable, fromFlag) {
				t.Errorf("want the same from both, got %+v and %+v", fromVariable, fromFlag)
			}
		})
	}
}

func TestStructuredValues(t *testing.T) {
	t.Parallel()
	file := `
groups: {admin: [ana, ben]}
users: [ana, ben]
limits: {wire: 500MiB, entries: 7}
oozie_spark_version: 1
environment:
  port: 50070
  status_links: {cm: "http://cm"}
`
	c, err := loadFrom(t, file, []string{"DM_CORS_ORIGINS=http://a, http://b"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	checks := []struct {
		name      string
		got, want any
	}{
		{"groups", c.Groups, map[string][]string{"admin": {"ana", "ben"}}},
		{"users", c.Users, []string{"ana", "ben"}},
		{"wire", c.LimitWire, int64(500 << 20)},
		{"entries", c.LimitEntries, 7},
		{"spark", c.OozieSparkVersion, "1"},
		{"environment", c.Environment, map[string]any{"port": "50070", "status_links": map[string]string{"cm": "http://cm"}}},
		{"origins", c.Origins, []string{"http://a", "http://b"}},
	}
	for _, check := range checks {
		if !reflect.DeepEqual(check.got, check.want) {
			t.Errorf("%s: want %#v, got %#v", check.name, check.want, check.got)
		}
	}
}

func TestFaultsNameTheirSource(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, file    string
		environ, args []string
		want          string
	}{
		{"unknown key", "lissten: 1", nil, nil, `has the unknown key "lissten"`},
		{"unknown inner key", "limits: {wired: 1}", nil, nil, `has the unknown key "limits.wired"`},
		{"duplicate key", "auth: strict\nauth: strict", nil, nil, `already set`},
		{"not a map", "- 1", nil, nil, "is not a YAML map"},
		{"section that is no map", "limits: 5", nil, nil, `must have a map at "limits"`},
		{"file value", "limits: {wire: much}", nil, nil, `limits.wire in `},
		{"variable", "", []string{"DM_LIMITS_ENTRIES=0"}, nil, `DM_LIMITS_ENTRIES: "0" is not an integer from 1 to 1000000`},
		{"count too large", "", []string{"DM_DEPLOYER_THREAD_LIMIT=100000000"}, nil, `DM_DEPLOYER_THREAD_LIMIT: "100000000" is not an integer from 1 to 1000000`},
		{"pause", "sweep: {after: 10ms}", nil, nil, `"10ms" is not a time between 1s and 8760h, such as 90s or 24h, or 0`},
		{"flag", "", nil, []string{"--auth=open"}, `--auth: "open" is not strict, public-read or insecure-pnda`},
		{"address", "", nil, []string{"--listen-git=8099"}, `--listen-git: "8099" is not HOST:PORT`},
		{"port", "", nil, []string{"--listen-git=:70000"}, `does not end in a port number`},
		{"callback", "", nil, []string{"--package-callback=ftp://x"}, `"ftp://x" is not an http or https address`},
		{"size", "", nil, []string{"--limits-file=9999999999TiB"}, `is not a size`},
		{"environment", "environment: {a: [1]}", nil, nil, `the value of "a" must be a string or a map of strings`},
		{"missing file", "", []string{"DM_CONFIG=nowhere.yaml"}, nil, "the configuration file nowhere.yaml does not exist"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := loadFrom(t, tt.file, tt.environ, tt.args)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("want an error with %q, got %v", tt.want, err)
			}
			if exitCode(err) != exitUsage {
				t.Errorf("want exit code %d, got %d", exitUsage, exitCode(err))
			}
		})
	}
}

func TestSafetyOfModes(t *testing.T) {
	t.Parallel()
	loopback := config{ListenPackages: "127.0.0.1:1", ListenManager: "[::1]:2", ListenGit: "localhost:3"}
	tests := []struct {
		name string
		make func(config) config
		want string
	}{
		{"insecure on loopback", func(c config) config { c.Auth = dm.InsecurePNDA; return c }, ""},
		{"insecure elsewhere", func(c config) config { c.Auth = dm.InsecurePNDA; c.ListenGit = "0.0.0.0:3"; return c }, "listens on loopback only"},
		{"insecure on every address", func(c config) config { c.Auth = dm.InsecurePNDA; c.ListenGit = ":3"; return c }, "listens on loopback only"},
		{"insecure elsewhere, accepted", func(c config) config {
			c.Auth, c.ListenGit, c.InsecureAnywhere = dm.InsecurePNDA, ":3", true
			return c
		}, ""},
		{"strict without users", func(c config) config { c.Auth = dm.Strict; return c }, "nobody could sign in"},
		{"strict with tokens", func(c config) config { c.Auth, c.Tokens = dm.Strict, "tokens"; return c }, ""},
		{"strict with JupyterHub", func(c config) config { c.Auth, c.HubURL = dm.Strict, "http://hub:8081/hub/api"; return c }, ""},
		{"a certificate without its key", func(c config) config { c.Auth, c.TLSCert = dm.InsecurePNDA, "cert.pem"; return c }, "must be set together"},
		{"a key without its certificate", func(c config) config { c.Auth, c.TLSKey = dm.InsecurePNDA, "key.pem"; return c }, "must be set together"},
		{"public-read with users", func(c config) config { c.Auth, c.Htpasswd = dm.PublicRead, "users"; return c }, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			err := tt.make(loopback).checkSafety()
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("want %q, got %v", tt.want, err)
			}
		})
	}
}
