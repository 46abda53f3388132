"""JupyterHub's side of the deployment manager.

Each user's server may ask the deployment manager for its user's notebooks with
the token that the Hub gives it, and fetches them when it starts. Run this file
at the end of jupyterhub_config.py:

    exec(open("/etc/jupyterhub/deployment_manager.py").read())

Not with load_subconfig: that starts from an empty configuration, so what is
added here would replace the lists that are there.

values.yaml beside this file carries the same text for zero-to-jupyterhub.
Variables of the Hub's own environment change what is said below, without
editing the file.
"""

import os

# The deployment manager as users' servers reach it. With the Hub in another
# namespace: http://deployment-manager-git.<namespace>:8099.
DM_GIT_URL = os.environ.get("DM_GIT_URL", "http://deployment-manager-git:8099")
# Its name at the Hub: the deployment manager's option hub.service.
DM_SERVICE = os.environ.get("DM_HUB_SERVICE", "deployment-manager")
# The script that fetches, where users' servers find it, and in Kubernetes the
# ConfigMap in the users' namespace that holds it. The chart makes that map.
DM_SYNC_SCRIPT = os.environ.get("DM_SYNC_SCRIPT", "/etc/deployment-manager/sync.sh")
DM_SYNC_CONFIGMAP = os.environ.get("DM_SYNC_CONFIGMAP", "deployment-manager-sync")
# Where users' servers find the program that the script starts. Without one there
# the script gets it from the deployment manager, or works with plain git.
DM_SYNC_MOUNT = os.environ.get("DM_SYNC_MOUNT", "/opt/deployment-manager")
# The deployment manager's image, from which the program comes to DM_SYNC_MOUNT.
# Not by default: Kubernetes starts no pod that names an image it can't pull.
DM_SYNC_IMAGE = os.environ.get("DM_SYNC_IMAGE", "")
# How: "init-container", or "image-volume" where the cluster has these volumes.
DM_SYNC_DELIVERY = os.environ.get("DM_SYNC_DELIVERY", "init-container" if DM_SYNC_IMAGE else "")

# What happens at a start. No failure may keep a user from working: without the
# script nothing is done, and what the script returns is not looked at. It
# bounds its own time.
DM_HOOK = f"if [ -r '{DM_SYNC_SCRIPT}' ]; then sh '{DM_SYNC_SCRIPT}'; fi; "


def dm_add(section, name, key, item):
    """Adds to what other files have set: a list, a dictionary or nothing."""
    value = section[name]
    if isinstance(value, dict):
        value[key] = item
    else:
        value.append(item)


def dm_permit(c):
    """Lets the tokens of users' servers be used at the deployment manager."""
    scope = f"access:services!service={DM_SERVICE}"
    # A user must hold a scope for a server's token to get it. A role may be
    # defined once only, and a definition replaces the Hub's own.
    roles = c.JupyterHub.setdefault("load_roles", [])
    user = next((role for role in roles if role["name"] == "user"), None)
    if user is None:
        user = {"name": "user", "scopes": ["self", *c.JupyterHub.pop("extra_user_scopes", ())]}
        roles.append(user)
    user.setdefault("scopes", ["self"]).append(scope)

    # Without a list the token has what the Hub's role "server" gives; a list
    # replaces that, so its two scopes stand here too.
    tokens = c.Spawner.get("server_token_scopes") or ["users:activity!user", "access:servers!server"]
    if callable(tokens):
        c.Spawner.server_token_scopes = lambda spawner: [*tokens(spawner), scope]
    else:
        c.Spawner.server_token_scopes = [*tokens, scope]

    # So that the Hub's pages and lists name the service. The deployment manager
    # asks with the users' tokens and so needs none of its own.
    services = c.JupyterHub.setdefault("services", [])
    if not any(service["name"] == DM_SERVICE for service in services):
        services.append({"name": DM_SERVICE})


def dm_environment(section):
    """Gives servers what the script reads, beside what the Hub gives them."""
    kept = {name: os.environ[name] for name in ("DM_SYNC_MOUNT", "DM_SYNC_SHA256") if name in os.environ}
    section.environment.update({"DM_GIT_URL": DM_GIT_URL, **kept})


def dm_image_kubernetes(c):
    """Has the kubelet bring the program from the deployment manager's image. Both
    ways pass Pod Security "restricted"."""
    name = "deployment-manager-program"
    mount = {"name": name, "mountPath": DM_SYNC_MOUNT}
    if DM_SYNC_DELIVERY == "image-volume":
        volume = {"name": name, "image": {"reference": DM_SYNC_IMAGE, "pullPolicy": "IfNotPresent"}}
    else:
        volume = {"name": name, "emptyDir": {"sizeLimit": "64Mi"}}
        size = {"cpu": "100m", "memory": "64Mi"}
        dm_add(c.KubeSpawner, "init_containers", name, {
            "name": name,
            "image": DM_SYNC_IMAGE,
            "imagePullPolicy": "IfNotPresent",
            # An image without the program keeps nobody from working.
            "command": ["sh", "-c", f"cp /usr/local/bin/deployment-manager-sync-* '{DM_SYNC_MOUNT}'; exit 0"],
            "resources": {"requests": size, "limits": size},
            "securityContext": {
                "runAsUser": 10001,
                "runAsNonRoot": True,
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "volumeMounts": [mount],
        })
    dm_add(c.KubeSpawner, "volumes", name, volume)
    dm_add(c.KubeSpawner, "volume_mounts", name, {**mount, "readOnly": True})


def dm_hook_kubernetes(c):
    """Has the kubelet run the hook in each user's pod."""
    hooks = c.KubeSpawner.setdefault("lifecycle_hooks", {})
    if "postStart" in hooks or "postStart" in c.Spawner.get("lifecycle_hooks", {}):
        raise ValueError(
            "two settings of the life-cycle hook postStart: deployment_manager.py sets it, and something else did"
            " before; remove PNDA's hook, or write one hook for both and do not load this file"
        )
    hooks["postStart"] = {"exec": {"command": ["sh", "-c", DM_HOOK + "exit 0"]}}
    # Optional: pods start also where the deployment manager is not installed.
    dm_add(c.KubeSpawner, "volumes", "deployment-manager-sync", {
        "name": "deployment-manager-sync",
        "configMap": {"name": DM_SYNC_CONFIGMAP, "optional": True},
    })
    dm_add(c.KubeSpawner, "volume_mounts", "deployment-manager-sync", {
        "name": "deployment-manager-sync",
        "mountPath": os.path.dirname(DM_SYNC_SCRIPT),
        "readOnly": True,
    })
    dm_environment(c.KubeSpawner)


def dm_hook_process(c):
    """Runs the hook in front of the server's own command, as the user and with
    the server's environment, for spawners that have no life-cycle hooks."""
    command = c.Spawner.get("cmd") or ["jupyterhub-singleuser"]
    if isinstance(command, str):
        command = [command]
    c.Spawner.cmd = ["sh", "-c", DM_HOOK + 'exec "$@"', "sh", *command]
    dm_environment(c.Spawner)


if os.path.basename(globals().get("__file__", "")) == "deployment_manager.py":
    raise RuntimeError("load deployment_manager.py with exec(open(...).read()), as its first lines say")
if DM_SYNC_DELIVERY not in (("init-container", "image-volume") if DM_SYNC_IMAGE else ("",)):
    raise ValueError("DM_SYNC_DELIVERY is init-container or image-volume, and DM_SYNC_IMAGE names the deployment manager's image")
dm_permit(c)  # noqa: F821
if "kube" in str(c.JupyterHub.get("spawner_class", "")).lower():  # noqa: F821
    dm_hook_kubernetes(c)  # noqa: F821
    if DM_SYNC_IMAGE:
        dm_image_kubernetes(c)  # noqa: F821
elif DM_SYNC_IMAGE:
    raise ValueError("DM_SYNC_IMAGE is for KubeSpawner; put the program into DM_SYNC_MOUNT where servers run")
else:
    dm_hook_process(c)  # noqa: F821
