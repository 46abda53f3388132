package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"sigs.k8s.io/yaml"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/apihandlers/auth"
)

// configFlag and configVariable name the file itself, which is therefore no
// option of the table.
const (
	configFlag     = "config"
	configVariable = "DM_CONFIG"
)

// given keeps a flag's text until all sources are known.
type given struct {
	text     string
	typeName string
	isBool   bool
}

func (g *given) Type() string       { return g.typeName }
func (g *given) String() string     { return g.text }
func (g *given) Set(s string) error { g.text = s; return nil }
func (g *given) IsBoolFlag() bool   { return g.isBool }

// declareFlags makes a flag of every option, or of those that are named. A
// command that has a few reads the file and the variables all the same, so that
// one configuration serves all commands.
func declareFlags(flags *pflag.FlagSet, named ...string) {
	flags.SortFlags = false // the table has them in the order in which people ask
	flags.String(configFlag, "", "YAML `FILE` to read; its keys are on the page docs/configuration.md")
	for _, o := range options() {
		if len(named) > 0 && !slices.Contains(named, o.flag()) {
			continue
		}
		kind := o.field(&config{})
		_, isBool := kind.(*boolValue)
		f := flags.VarPF(&given{text: o.preset, typeName: kind.Type(), isBool: isBool}, o.flag(), "", o.help)
		if isBool {
			f.NoOptDefVal = "true"
		}
	}
}

// load fills a config: flags win over variables, variables over the file, the
// file over the defaults.
func load(flags *pflag.FlagSet, environ []string) (config, error) {
	var c config
	table := options()
	variables := lookup(environ)
	path := flags.Lookup(configFlag).Value.String()
	if path == "" {
		path = variables[configVariable]
	}
	file, err := readFile(path, table)
	if err != nil {
		return c, err
	}
	for _, o := range table {
		source, text := "the default of "+o.key, o.preset
		if value, ok := file[o.key]; ok {
			source, text = o.key+" in "+path, value
		}
		if value, ok := variables[o.variable()]; ok {
			source, text = o.variable(), value
		}
		if f := flags.Lookup(o.flag()); f != nil && f.Changed {
			source, text = "--"+o.flag(), f.Value.String()
		}
		if err := o.field(&c).Set(text); err != nil {
			return c, dm.Errorf(dm.Invalid, "load configuration", "%s: %v", source, err)
		}
	}
	return c, nil
}

func lookup(environ []string) map[string]string {
	m := make(map[string]string, len(environ))
	for _, pair := range environ {
		if name, value, ok := strings.Cut(pair, "="); ok {
			m[name] = value
		}
	}
	return m
}

// readFile returns the texts of the file by key. An unknown key is an error:
// a misspelt option that is silently ignored is worse than none.
func readFile(path string, table []option) (map[string]string, error) {
	const op = "read configuration"
	if path == "" {
		return nil, nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, dm.Errorf(dm.Invalid, op, "the configuration file %s %s", path, fileTrouble(err)).Because(err)
	}
	tree := map[string]json.RawMessage{}
	if err := yaml.UnmarshalStrict(data, &tree); err != nil {
		return nil, dm.Errorf(dm.Invalid, op, "the configuration file %s is not a YAML map: %s", path, yamlTrouble(err)).Because(err)
	}
	out := map[string]string{}
	if err := flatten(out, "", tree, table); err != nil {
		return nil, dm.Errorf(dm.Invalid, op, "the configuration file %s %v", path, err)
	}
	return out, nil
}

func fileTrouble(err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "does not exist"
	case errors.Is(err, fs.ErrPermission):
		return "cannot be read: permission denied"
	}
	return "cannot be read"
}

func yamlTrouble(err error) string {
	text := err.Error()
	for _, noise := range []string{"error converting YAML to JSON: ", "error unmarshaling JSON: ", "while decoding JSON: ", "yaml: ", "unmarshal errors:"} {
		text = strings.ReplaceAll(text, noise, "")
	}
	return strings.Join(strings.Fields(text), " ")
}

func flatten(out map[string]string, prefix string, tree map[string]json.RawMessage, table []option) error {
	for name, raw := range tree {
		key := prefix + name
		known := slices.ContainsFunc(table, func(o option) bool { return o.key == key })
		section := slices.ContainsFunc(table, func(o option) bool { return strings.HasPrefix(o.key, key+".") })
		switch {
		case known:
			text, scalar := scalarText(raw)
			if !scalar {
				text = string(raw)
			}
			out[key] = text
		case section:
			inner := map[string]json.RawMessage{}
			if err := json.Unmarshal(raw, &inner); err != nil {
				return fmt.Errorf("must have a map at %q", key)
			}
			if err := flatten(out, key+".", inner, table); err != nil {
				return err
			}
		default:
			return fmt.Errorf("has the unknown key %q", key)
		}
	}
	return nil
}

// checkSafety refuses combinations that would let in everybody or nobody.
func (c config) checkSafety() error {
	const op = "check configuration"
	if c.Auth != dm.InsecurePNDA && c.Htpasswd == "" && c.Tokens == "" && c.HubURL == "" {
		return dm.Errorf(dm.Invalid, op, "auth is %s, but nobody could sign in", c.Auth).
			WithHint("name a file of users with --htpasswd, of tokens with --tokens, or a JupyterHub with --hub-url, or try the server out with --auth insecure-pnda")
	}
	if (c.TLSCert == "") != (c.TLSKey == "") {
		return dm.Errorf(dm.Invalid, op, "tls.cert and tls.key must be set together")
	}
	if err := c.Engines.check(); err != nil {
		return err
	}
	return auth.CheckBind(c.Auth, []string{c.ListenPackages, c.ListenManager, c.ListenGit}, c.InsecureAnywhere)
}
