package jupyterhub

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestConfiguration: the Python file adds to what a Hub's administrator has, and
// refuses what would go wrong without a word.
func TestConfiguration(t *testing.T) {
	t.Parallel()
	python, file := filepath.Join(environment(t), "bin/python"), absolute(t, configFile)
	const (
		own     = `"access:services!service=deployment-manager"`
		include = "exec(open(file).read())\n"
		image   = "os.environ['DM_SYNC_IMAGE'] = 'pnda/deployment-manager:1'\n"
		pods    = "c.JupyterHub.spawner_class = 'kubespawner.KubeSpawner'\n"
	)
	for _, test := range []struct {
		name, before, after string
		want                string // in what is printed
	}{
		{"a user role of one's own is kept", `c.JupyterHub.load_roles = [{"name": "user", "scopes": ["self", "list:users"]}]`,
			include + `print(json.dumps(c.JupyterHub.load_roles))`, `[{"name": "user", "scopes": ["self", "list:users", ` + own + `]}]`},
		{"scopes that users have beyond the default are kept", `c.JupyterHub.extra_user_scopes = {"list:groups"}`,
			include + `print(json.dumps(c.JupyterHub.load_roles))`, `[{"name": "user", "scopes": ["self", "list:groups", ` + own + `]}]`},
		{"scopes of servers are kept", `c.Spawner.server_token_scopes = ["self"]`,
			include + `print(json.dumps(c.Spawner.server_token_scopes))`, `["self", ` + own + `]`},
		{"scopes of servers that are computed are kept", `c.Spawner.server_token_scopes = lambda spawner: [spawner]`,
			include + `print(json.dumps(c.Spawner.server_token_scopes("self")))`, `["self", ` + own + `]`},
		{"the Hub's own scopes of servers are kept", ``,
			include + `print(json.dumps(c.Spawner.server_token_scopes))`, `["users:activity!user", "access:servers!server", ` + own + `]`},
		{"the service is there once", `c.JupyterHub.services = [{"name": "deployment-manager", "url": "http://elsewhere"}]`,
			include + `print(json.dumps(c.JupyterHub.services))`, `[{"name": "deployment-manager", "url": "http://elsewhere"}]`},
		{"volumes in a list", pods + `c.KubeSpawner.volumes = [{"name": "home"}]`,
			include + `print([v["name"] for v in c.KubeSpawner.volumes])`, `['home', 'deployment-manager-sync']`},
		{"volumes in a dictionary", pods + `c.KubeSpawner.volumes = {"a": {"name": "home"}}`,
			include + `print([v["name"] for v in c.KubeSpawner.volumes.values()])`, `['home', 'deployment-manager-sync']`},
		{"other hooks are kept", pods + `c.KubeSpawner.lifecycle_hooks = {"preStop": {}}`,
			include + `print(sorted(c.KubeSpawner.lifecycle_hooks))`, `['postStart', 'preStop']`},
		{"a command that is one text", `c.Spawner.cmd = "my-server"`, include + `print(c.Spawner.cmd[-2:])`, `['sh', 'my-server']`},
		{"PNDA's hook is refused", pods + `c.KubeSpawner.lifecycle_hooks = {"postStart": {"exec": {"command": ["rm"]}}}`, include, "remove PNDA's hook"},
		{"PNDA's hook is refused where PNDA set it", pods + `c.Spawner.lifecycle_hooks = {"postStart": {"exec": {"command": ["rm"]}}}`, include, "remove PNDA's hook"},
		{"init containers are kept", pods + image + `c.KubeSpawner.init_containers = [{"name": "own"}]`,
			include + `print([i["name"] for i in c.KubeSpawner.init_containers])`, `['own', 'deployment-manager-program']`},
		{"an image comes as an init container", pods + image,
			include + `print([list(v)[1] for v in c.KubeSpawner.volumes.to_dict()["extend"]])`, `['configMap', 'emptyDir']`},
		{"or as a volume", pods + image + `os.environ["DM_SYNC_DELIVERY"] = "image-volume"`,
			include + `print([list(v)[1] for v in c.KubeSpawner.volumes.to_dict()["extend"]], "init_containers" in c.KubeSpawner)`, `['configMap', 'image'] False`},
		{"no image unless it is asked for", pods, include + `print("init_containers" in c.KubeSpawner, os.environ.get("DM_SYNC_IMAGE"))`, `False None`},
		{"the sums for servers that mount no ConfigMap", `os.environ["DM_SYNC_SHA256"] = "0a"`, include + `print(c.Spawner.environment.to_dict())`, `'DM_SYNC_SHA256': '0a'`},
		{"a delivery that is none is refused", pods + image + `os.environ["DM_SYNC_DELIVERY"] = "mail"`, include, "DM_SYNC_DELIVERY is init-container or image-volume"},
		{"a delivery without an image is refused", pods + `os.environ["DM_SYNC_DELIVERY"] = "image-volume"`, include, "DM_SYNC_IMAGE names the deployment manager's image"},
		{"an image for processes is refused", image, include, "DM_SYNC_IMAGE is for KubeSpawner"},
		{"load_subconfig is refused", ``, `load_subconfig(file)`, "load deployment_manager.py with exec"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			script := filepath.Join(t.TempDir(), "jupyterhub_config.py")
			source := "import json, os\nfile = '" + file + "'\n" + test.before + "\n" + test.after + "\n"
			if err := os.WriteFile(script, []byte(source), 0o600); err != nil {
				t.Fatal(err)
			}
			load := exec.Command(python, "-c", "import sys; from traitlets.config import PyFileConfigLoader; PyFileConfigLoader(sys.argv[1]).load_config()", script)
			load.Env = bareEnvironment(t.TempDir())
			output, _ := load.CombinedOutput() // a refusal is an error, and tells itself
			if !strings.Contains(string(output), test.want) {
				t.Errorf("want %s, got:\n%s", test.want, output)
			}
		})
	}
}
