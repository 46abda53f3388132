// Command deployment-manager-sync brings the notebooks that are deployed for a user
// into the user's folder. JupyterHub's start hook runs it by way of sync.sh. It
// promises to be small and static, and imports plugins/jupyter/sync and nothing
// else of the house.
package main
