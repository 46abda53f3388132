package main

import (
	"strconv"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

const (
	repository = "pnda/deployment-manager"
	registry   = "docker.io/" // what a name without a registry means everywhere
	program    = "/usr/local/bin/deployment-manager"
	hook       = "/usr/local/bin/deployment-manager-hook"  // beside it, for pushes
	podProgram = "/usr/local/bin/deployment-manager-sync-" // beside it, for pods of each type of processors
	dataFolder = "/data"
	user       = "deployment-manager" // also the name of its group
	userID     = 10001                // also the group's; a number, so that Kubernetes can see that it is not root
)

// processors are the types that pods may have, in Go's words.
func processors() []string { return []string{"amd64", "arm64"} }

// packages are what the system has besides the server: git and its certificates,
// and what a person expects of a shell in the container. tar is for kubectl cp.
func packages() []string {
	return []string{"base-files", "ca-certificates", "coreutils", "dash", "findutils", "git", "grep", "gzip", "libc-bin", "sed", "tar"}
}

// without are what those ask for and the server does not need: git's few
// commands in Perl, manuals, and the programs that installations would have run.
func without() []string {
	return []string{"debconf", "debianutils", "dpkg", "git-man", "liberror-perl", "openssl", "perl"}
}

// unneeded are folders of packages that are left out, as patterns of path.Match.
// Notices of copyright stay.
func unneeded() []string {
	return []string{
		"etc/alternatives", "etc/bash_completion.d", "etc/cron.daily", "etc/logrotate.d", "etc/systemd", "etc/update-motd.d",
		"usr/share/bash-completion", "usr/share/bug", "usr/share/doc-base", "usr/share/gitweb", "usr/share/info", "usr/share/lintian",
		"usr/share/locale", "usr/share/man", "usr/share/perl5", "usr/share/zsh", "usr/lib/*/perl5",
		"usr/lib/git-core/mergetools", "usr/share/git-core/contrib", "usr/lib/systemd",
	}
}

// runConfig is how the image is run.
func runConfig(b build) v1.Config {
	id := strconv.Itoa(userID)
	return v1.Config{
		User:       id + ":" + id,
		Entrypoint: []string{program},
		Cmd:        []string{"serve"},
		WorkingDir: "/",
		Env: []string{
			"PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
			"DM_DATA=" + dataFolder,
			"DM_LISTEN_PACKAGES=:8888",
			"DM_LISTEN_MANAGER=:5000",
			"DM_LISTEN_GIT=:8099",
		},
		ExposedPorts: map[string]struct{}{"8888/tcp": {}, "5000/tcp": {}, "8099/tcp": {}},
		Volumes:      map[string]struct{}{dataFolder: {}},
		Labels: map[string]string{
			"org.opencontainers.image.title":       "PNDA deployment manager",
			"org.opencontainers.image.description": "Package repository and deployment manager in which git is the system of record",
			"org.opencontainers.image.licenses":    "Apache-2.0",
			"org.opencontainers.image.source":      "https://github.com/pndaproject/deployment-manager",
			"org.opencontainers.image.version":     b.version,
			"org.opencontainers.image.revision":    b.commit,
		},
	}
}
