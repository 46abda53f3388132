#!/bin/sh
# Stands here until the script of plugins/jupyter/sync is copied; it does nothing.
exit 0
