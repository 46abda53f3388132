"""A Hub for tests that makes pods, configured as zero-to-jupyterhub's chart, 4.x,
would configure it from values.yaml: its defaults and the way from values to
options, as far as a user's pod shows them."""

import copy
import os

import yaml
from kubernetes_asyncio.client import ApiClient

c = get_config()  # noqa: F821
run = os.environ["DM_TEST_RUN"]

defaults = {
    "hub": {"config": {}, "extraConfig": {}},
    "singleuser": {
        "extraLabels": {"hub.jupyter.org/network-access-hub": "true"},
        "extraEnv": {},
        "lifecycleHooks": {},
        "uid": 1000,
        "fsGid": 100,
        "serviceAccountName": None,
        "allowPrivilegeEscalation": False,
        "cloudMetadata": {"blockWithIptables": True},
        "memory": {"guarantee": "1G"},
        "cmd": "jupyterhub-singleuser",
        "image": {"name": "quay.io/jupyterhub/k8s-singleuser-sample", "tag": "4.3.3"},
        "storage": {
            "capacity": "10Gi",
            "homeMountPath": "/home/jovyan",
            "dynamic": {"volumeNameTemplate": "volume-{user_server}"},
            "extraVolumes": [],
            "extraVolumeMounts": [],
        },
    },
}


def merge(under, over):
    """What helm does with two values: dictionaries join, all else is replaced."""
    if not isinstance(under, dict) or not isinstance(over, dict):
        return copy.deepcopy(over)
    return {key: merge(under[key], over[key]) if key in under and key in over else copy.deepcopy({**under, **over}[key]) for key in {**under, **over}}


with open(os.environ["DM_TEST_FILE"]) as file:
    values = merge(defaults, yaml.safe_load(file))
user = values["singleuser"]
storage = user["storage"]

c.JupyterHub.spawner_class = "kubespawner.KubeSpawner"
c.JupyterHub.services = []
c.JupyterHub.load_roles = [{"name": "jupyterhub-idle-culler", "scopes": ["list:users"]}]
pods = c.KubeSpawner
pods.namespace = os.environ["DM_TEST_NAMESPACE"]
pods.common_labels = {"app": "jupyterhub", "release": "jupyterhub"}
pods.image = user["image"]["name"] + ":" + user["image"]["tag"]
pods.allow_privilege_escalation = user["allowPrivilegeEscalation"]
for option, value in {
    "extra_labels": user["extraLabels"],
    "uid": user["uid"],
    "fs_gid": user["fsGid"],
    "service_account": user["serviceAccountName"],
    "lifecycle_hooks": user["lifecycleHooks"],
    "mem_guarantee": user["memory"]["guarantee"],
    "environment": user["extraEnv"],
}.items():
    if value is not None:
        pods[option] = value
pods.storage_pvc_ensure = True
pods.storage_capacity = storage["capacity"]
pods.storage_access_modes = ["ReadWriteOnce"]
home = storage["dynamic"]["volumeNameTemplate"]
pods.volumes = [{"name": home, "persistentVolumeClaim": {"claimName": "{pvc_name}"}}, *storage["extraVolumes"]]
pods.volume_mounts = [{"mountPath": storage["homeMountPath"], "name": home}, *storage["extraVolumeMounts"]]
c.Spawner.cmd = user["cmd"]
if user["cloudMetadata"]["blockWithIptables"]:
    pods.init_containers = [{"name": "block-cloud-metadata", "image": "network-tools", "securityContext": {"privileged": True}}]
for section, options in values["hub"]["config"].items():
    c[section].update(options)
for _, text in sorted(values["hub"]["extraConfig"].items()):
    exec(text)

# From here on it is the test's own: addresses, sign-in, and no proxy, because no
# browser comes and no server ever answers.
c.JupyterHub.bind_url = "http://127.0.0.1:" + os.environ["DM_TEST_PORT"]
c.JupyterHub.hub_bind_url = "http://127.0.0.1:" + os.environ["DM_TEST_HUB_PORT"]
# Pods are told the chart's Service; the proxy here would not find it.
c.Spawner.hub_connect_url = "http://hub:8081"
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:" + os.environ["DM_TEST_PROXY_PORT"]
c.ConfigurableHTTPProxy.auth_token = "token-of-the-test-proxy"
c.ConfigurableHTTPProxy.pid_file = f"{run}/proxy.pid"
env = os.environ["DM_TEST_ENVIRONMENT"]
c.ConfigurableHTTPProxy.command = [
    f"{env}/node/bin/node",
    f"{env}/proxy/node_modules/configurable-http-proxy/bin/configurable-http-proxy",
]
c.JupyterHub.cookie_secret_file = f"{run}/cookie_secret"
c.JupyterHub.db_url = f"sqlite:///{run}/jupyterhub.sqlite"
c.JupyterHub.authenticator_class = "shared-password"
c.SharedPasswordAuthenticator.user_password = "one password for this test"
c.Authenticator.allow_all = True
c.JupyterHub.services.append({"name": "test", "api_token": "5e41ce7e57ab4d0c9a11fee1f00d5afe"})
c.JupyterHub.load_roles.append(
    {"name": "test-service", "services": ["test"], "scopes": ["admin:users", "admin:servers", "list:users", "list:services", "tokens"]}
)
c.JupyterHub.cleanup_servers = False
# The Hub answers before the server does, and looks for the server on loopback,
# where none is: no request may leave for the addresses that kwok makes up.
c.JupyterHub.tornado_settings = {"slow_spawn_timeout": 0}
c.Spawner.http_timeout = c.Spawner.start_timeout = 300
# A busy machine takes its time; the test itself gives up.
pods.k8s_api_request_timeout = 60
pods.k8s_api_request_retry_timeout = 300
pods.pod_connect_ip = "127.255.255.254"
# kwok ends pods that are not to be restarted always, as the Hub's are.
pods.extra_annotations = {"test/forever": ""}


def write(spawner, pod):
    """Writes the pod as KubeSpawner hands it to the API server."""
    with open(f"{run}/pod-{spawner.user.name}.yaml", "w") as file:
        yaml.safe_dump(ApiClient().sanitize_for_serialization(pod), file)
    return pod


pods.modify_pod_hook = write
