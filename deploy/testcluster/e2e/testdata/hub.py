"""The Hub of package jupyterhub that makes pods from deploy/jupyterhub's values,
where pods reach it and with an image that the node has."""

import json
import os

c = get_config()  # noqa: F821
with open(os.environ["DM_TEST_KUBERNETES"]) as file:
    exec(file.read())
with open(os.path.join(os.environ["DM_TEST_RUN"], "told.json")) as file:
    told = json.load(file)

address = told["address"]
c.JupyterHub.bind_url = f"http://{address}:8000"
c.JupyterHub.hub_bind_url = c.Spawner.hub_connect_url = f"http://{address}:8081"
c.JupyterHub.tornado_settings = {}
pods = c.KubeSpawner
pods.image = told["image"]
# A web server stands for Jupyter's: any answer tells the Hub that it runs.
c.Spawner.cmd = ["busybox", "httpd", "-f", "-p", "8888"]
pods.pod_connect_ip = ""
pods.mem_guarantee = "64M"
# A busy machine takes its time.
pods.environment.update({"DM_SYNC_SECONDS": "150"})
pods.extra_pod_config = {"hostAliases": [{"ip": told["git"], "hostnames": ["deployment-manager-git"]}]}
