"""A Hub for tests: users are believed with one password and their servers are
processes on this machine. What is under test is the file that it loads."""

import os
import random
import socket

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
# A busy machine takes its time; the test itself gives up.
c.Spawner.start_timeout = c.Spawner.http_timeout = 240
c.Spawner.environment = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull, "DM_SYNC_SECONDS": "150"}


def choose_port(spawner):
    """Chooses a port as the tests do: one that no client's connection gets
    between this moment and the server's own. The Hub's choice may be such."""
    with open("/proc/sys/net/ipv4/ip_local_port_range") as file:
        first = int(file.read().split()[0])
    for port in random.sample(range(12000, max(first, 13000)), 100):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        spawner.port = port
        return


c.Spawner.pre_spawn_hook = choose_port

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
