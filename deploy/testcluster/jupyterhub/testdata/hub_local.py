"""A Hub for tests: users are believed with one password and their servers are
processes on this machine. What is under test is the file that it loads."""

import os

c = get_config()  # noqa: F821
env = os.environ["DM_TEST_ENVIRONMENT"]
run = os.environ["DM_TEST_RUN"]

c.JupyterHub.bind_url = "http://127.0.0.1:" + os.environ["DM_TEST_PORT"]
c.JupyterHub.hub_bind_url = "http://127.0.0.1:" + os.environ["DM_TEST_HUB_PORT"]
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:" + os.environ["DM_TEST_PROXY_PORT"]
c.ConfigurableHTTPProxy.auth_token = "token-of-the-test-proxy"
c.ConfigurableHTTPProxy.pid_file = f"{run}/proxy.pid"
c.ConfigurableHTTPProxy.command = [
    f"{env}/node/bin/node",
    f"{env}/proxy/node_modules/configurable-http-proxy/bin/configurable-http-proxy",
]
# Servers outlive the Hub, as pods do.
c.JupyterHub.cleanup_servers = False
c.JupyterHub.cleanup_proxy = True
c.JupyterHub.cookie_secret_file = f"{run}/cookie_secret"
c.JupyterHub.db_url = f"sqlite:///{run}/jupyterhub.sqlite"

if "DM_TEST_DATA" in os.environ:
    c.JupyterHub.data_files_path = os.environ["DM_TEST_DATA"]

c.JupyterHub.authenticator_class = "shared-password"
c.SharedPasswordAuthenticator.user_password = "one password for this test"
c.Authenticator.allow_all = True

c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.home_dir_template = run + "/home/{username}"
c.Spawner.cmd = [f"{env}/bin/python", "-m", "jupyterhub.singleuser"]
c.Spawner.args = ["--allow-root"]
c.Spawner.ip = "127.0.0.1"
c.Spawner.default_url = "/lab"
c.Spawner.environment = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull}

# A role and a service that somebody had before: they must survive. The service
# has all that opens our server to a user, and the form of a user's token.
c.JupyterHub.services = [{"name": "test", "api_token": "5e41ce7e57ab4d0c9a11fee1f00d5afe"}]
c.JupyterHub.load_roles = [
    {
        "name": "test-service",
        "services": ["test"],
        "scopes": ["admin:users", "admin:servers", "list:users", "list:services", "read:roles", "tokens", "access:servers", "access:services"],
    }
]

with open(os.environ["DM_TEST_FILE"]) as file:
    exec(file.read())
