package main

import (
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/index"
)

// config is everything that a person can set. Its fields are filled by load.
type config struct {
	Data                          string
	UpgradeFormat                 bool
	ListenPackages, ListenManager string
	ListenGit, PublicManager      string
	Hosts                         []string
	Auth                          dm.AuthMode
	InsecureAnywhere              bool
	Htpasswd, Tokens              string
	HubURL, HubService, HubCA     string
	HubReserved                   []string
	Impersonators                 []string
	ImpersonateAdmins             bool
	TLSCert, TLSKey               string
	Users                         []string
	Groups                        map[string][]string
	TrustedProxies                []string
	RequireReason                 bool
	Versions, Publish             string
	LimitWire, LimitUnpacked      int64
	LimitFile                     int64
	LimitEntries                  int
	LimitConnections              int // 0: by the files that the process may open
	LimitPerAddress               int // 0: a quarter of those
	LimitFilled, LimitFilling     int64
	Bounds                        index.Bounds
	LimitFetches, LimitPushes     int
	LimitGitMemory                int64
	LimitUploads, LimitDownloads  int
	LimitReceiving                int
	Environment                   map[string]any // texts, or objects of texts
	PackageCallback, AppCallback  string
	Origins                       []string
	DeployerThreads               int
	OozieSparkVersion             string
	Engines                       engineConfig
	GitPath                       string
	Maintenance                   time.Duration
	SweepAfter                    time.Duration
	LogLevel                      slog.Level
	LogFormat                     string
}

// option declares one setting. The flag and the variable follow from the key:
// "limits.wire" is --limits-wire and DM_LIMITS_WIRE.
type option struct {
	key     string
	section string // heading on the configuration page; "" continues the one above
	preset  string // the default, as one would type it
	help    string // one sentence without a full stop; `word` names the value
	field   func(*config) pflag.Value
}

func (o option) flag() string { return strings.NewReplacer(".", "-", "_", "-").Replace(o.key) }

func (o option) variable() string {
	return "DM_" + strings.ToUpper(strings.NewReplacer(".", "_", "-", "_").Replace(o.key))
}

const (
	versionsImmutable = "immutable"
	versionsReplace   = "replace"
	formatText        = "text"
	formatJSON        = "json"
)

// options is the one declaration of every setting; flags, variables, the YAML
// file and docs/configuration.md are made from it.
func options() []option {
	bounds := index.DefaultBounds()
	return append([]option{
		{key: "data", section: "Where", preset: "./data", help: "`FOLDER` that holds the record; made when missing, used by one server at a time",
			field: func(c *config) pflag.Value { return &textValue{to: &c.Data, check: notEmpty} }},
		{key: "upgrade_format", preset: "false", help: "upgrade a data folder of an earlier format, once; older servers cannot open it afterwards, so take a snapshot of it first. Without this option such a folder is refused",
			field: func(c *config) pflag.Value { return &boolValue{&c.UpgradeFormat} }},
		{key: "listen.packages", preset: "127.0.0.1:8888", help: "`HOST:PORT` of the package repository",
			field: func(c *config) pflag.Value { return &textValue{to: &c.ListenPackages, check: hostPort} }},
		{key: "listen.manager", preset: "127.0.0.1:5000", help: "`HOST:PORT` of the deployment manager",
			field: func(c *config) pflag.Value { return &textValue{to: &c.ListenManager, check: hostPort} }},
		{key: "listen.git", preset: "127.0.0.1:8099", help: "`HOST:PORT` of git over HTTP",
			field: func(c *config) pflag.Value { return &textValue{to: &c.ListenGit, check: hostPort} }},
		{key: "public.manager", help: "`URL` at which people reach the deployment manager, as messages name it; empty means the address it listens on",
			field: func(c *config) pflag.Value { return &textValue{to: &c.PublicManager, check: optionalURL} }},
		{key: "hosts", help: "`NAMES` by which clients reach the server beside localhost, its addresses and public.manager, such as those of a proxy; in insecure-pnda, and in public-read without a credential, a request to another name is 421",
			field: func(c *config) pflag.Value { return &listValue{&c.Hosts} }},
		{key: "limits.connections", help: "most connections open at once on all ports, a `NUMBER`; empty means half of the files that the process may have open, at most 4096",
			field: func(c *config) pflag.Value { return &optionalCount{&c.LimitConnections} }},
		{key: "limits.connections_per_address", help: "most of them from one address, a `NUMBER`; not of this machine and of trusted_proxies; empty means a quarter",
			field: func(c *config) pflag.Value { return &optionalCount{&c.LimitPerAddress} }},
		{key: "git", help: "git program, as a `PATH`; empty means the first git in PATH",
			field: func(c *config) pflag.Value { return &textValue{to: &c.GitPath} }},
		{key: "tls.cert", help: "`FILE` of the certificate and its chain in PEM, for all three ports; read again when it changes; empty means plain HTTP",
			field: func(c *config) pflag.Value { return &textValue{to: &c.TLSCert} }},
		{key: "tls.key", help: "`FILE` of the certificate's private key in PEM",
			field: func(c *config) pflag.Value { return &textValue{to: &c.TLSKey} }},
		{key: "maintenance", preset: "24h", help: "`TIME` from one pass to the next that packs refs and repacks and prunes repositories",
			field: func(c *config) pflag.Value { return &timeValue{&c.Maintenance} }},
		{key: "sweep.after", preset: "0", help: "`TIME` after which maintenance removes the repository of a user in which nothing lies any more; it is made again when it is asked for; 0 means never",
			field: func(c *config) pflag.Value { return &pauseValue{timeValue{&c.SweepAfter}} }},

		{key: "auth", section: "Who", preset: string(dm.Strict), help: "how callers are known: `MODE` is strict, public-read or insecure-pnda",
			field: func(c *config) pflag.Value { return &modeValue{&c.Auth} }},
		{key: "insecure_anywhere", preset: "false", help: "let insecure-pnda listen on addresses that other machines can reach",
			field: func(c *config) pflag.Value { return &boolValue{&c.InsecureAnywhere} }},
		{key: "htpasswd", help: "`FILE` of users and bcrypt passwords (htpasswd -B), for strict and public-read; read again when it changes",
			field: func(c *config) pflag.Value { return &textValue{to: &c.Htpasswd} }},
		{key: "tokens", help: "`FILE` of API tokens, made by the command token, for strict and public-read; read again when it changes",
			field: func(c *config) pflag.Value { return &textValue{to: &c.Tokens} }},
		{key: "hub.url", help: "`URL` of JupyterHub's API, for example http://hub:8081/hub/api, whose users' tokens sign in in strict and public-read; empty means none",
			field: func(c *config) pflag.Value { return &textValue{to: &c.HubURL, check: optionalURL} }},
		{key: "hub.service", preset: "deployment-manager", help: "`NAME` of this server among JupyterHub's services; a token must have the scope access:services!service=NAME",
			field: func(c *config) pflag.Value { return &textValue{to: &c.HubService, check: notEmpty} }},
		{key: "hub.ca", help: "`FILE` of the authority's certificates in PEM that JupyterHub's certificate is checked with; empty means the system's",
			field: func(c *config) pflag.Value { return &textValue{to: &c.HubCA} }},
		{key: "hub.reserved", help: "`NAMES` that JupyterHub's users may not have here, because they stand in groups or in the htpasswd file and are somebody else",
			field: func(c *config) pflag.Value { return &listValue{&c.HubReserved} }},
		{key: "impersonators", help: "`NAMES` of services, such as a console, that may act as the person whom user.name tells; not over git",
			field: func(c *config) pflag.Value { return &listValue{&c.Impersonators} }},
		{key: "impersonate_admins", preset: "false", help: "let impersonators act as admins with the rights of admins",
			field: func(c *config) pflag.Value { return &boolValue{&c.ImpersonateAdmins} }},
		{key: "users", help: "`NAMES` of everyone who may come; empty means no list: those who can sign in, and in insecure-pnda or with a JupyterHub every well-formed name",
			field: func(c *config) pflag.Value { return &listValue{&c.Users} }},
		{key: "groups", preset: "{}", help: "`GROUPS` and their members, for example {admin: [ana], publisher: [ben]}",
			field: func(c *config) pflag.Value { return &groupsValue{&c.Groups} }},
		{key: "trusted_proxies", help: "`ADDRESSES` and ranges of proxies, such as an Ingress, whose X-Forwarded-For tells the client's address; limits of wrong passwords and of requests count by it",
			field: func(c *config) pflag.Value { return &listValue{&c.TrustedProxies} }},
		{key: "require_reason", preset: "false", help: "refuse changes that do not say why",
			field: func(c *config) pflag.Value { return &boolValue{&c.RequireReason} }},

		{key: "packages.versions", section: "Packages", preset: versionsImmutable, help: "what uploading other bytes under a published version does: `RULE` immutable refuses, replace supersedes as PNDA did",
			field: func(c *config) pflag.Value {
				return &choiceValue{&c.Versions, []string{versionsImmutable, versionsReplace}}
			}},
		{key: "packages.publish", preset: string(dm.PublishByMode), help: "who may publish more versions of a package, and withdraw them, beside those who may always: `RULE` owner is who published the first version, anyone is as PNDA did, default is anyone in insecure-pnda and owner elsewhere",
			field: func(c *config) pflag.Value {
				return &choiceValue{&c.Publish, []string{string(dm.PublishByMode), string(dm.PublishByOwner), string(dm.PublishByAnyone)}}
			}},
		{key: "limits.wire", preset: "1GiB", help: "largest upload, as a `SIZE`",
			field: func(c *config) pflag.Value { return &sizeValue{&c.LimitWire} }},
		{key: "limits.unpacked", preset: "4GiB", help: "largest package when unpacked, as a `SIZE`",
			field: func(c *config) pflag.Value { return &sizeValue{&c.LimitUnpacked} }},
		{key: "limits.file", preset: "1GiB", help: "largest single file in a package, as a `SIZE`",
			field: func(c *config) pflag.Value { return &sizeValue{&c.LimitFile} }},
		{key: "limits.entries", preset: "20000", help: "most files and folders in a package, a `NUMBER`",
			field: func(c *config) pflag.Value { return &countValue{&c.LimitEntries} }},
		{key: "limits.filled", preset: "64MiB", help: "most bytes that the files of one application may have in which variables are filled, as a `SIZE`; they are counted before they are made",
			field: func(c *config) pflag.Value { return &sizeValue{&c.LimitFilled} }},
		{key: "limits.filling", preset: "256MiB", help: "memory for all creates and changes that are filled at once, as a `SIZE`; those beyond wait, and many beyond are answered 503",
			field: func(c *config) pflag.Value { return &sizeValue{&c.LimitFilling} }},
		{key: "limits.failures", preset: strconv.Itoa(bounds.Failures), help: "most failed deploys of versions that were never published that the record keeps, a `NUMBER`; further ones are told as well, but forgotten at the next start",
			field: func(c *config) pflag.Value { return &countValue{&c.Bounds.Failures} }},
		{key: "limits.failures_each", preset: strconv.Itoa(bounds.FailuresOf), help: "the same of one user, a `NUMBER`",
			field: func(c *config) pflag.Value { return &countValue{&c.Bounds.FailuresOf} }},
		{key: "limits.uploads", preset: "16", help: "most uploads at a time, a `NUMBER`; of one client a quarter of them; those beyond wait a minute, then they are answered 503",
			field: func(c *config) pflag.Value { return &countValue{&c.LimitUploads} }},
		{key: "limits.downloads", preset: "128", help: "most downloads of archives at a time, a `NUMBER`; those beyond wait as uploads do",
			field: func(c *config) pflag.Value { return &countValue{&c.LimitDownloads} }},
		{key: "limits.fetches", preset: "16", help: "most clones and fetches at a time, a `NUMBER`; those beyond wait five minutes, then they are answered 503. An eighth as many differences are read at a time",
			field: func(c *config) pflag.Value { return &countValue{&c.LimitFetches} }},
		{key: "limits.pushes", preset: "2", help: "most pushes at a time that have arrived and are worked on, a `NUMBER`; those beyond wait as clones do",
			field: func(c *config) pflag.Value { return &countValue{&c.LimitPushes} }},
		{key: "limits.receiving", preset: "32", help: "most pushes at a time that arrive or wait to be worked on, a `NUMBER`; of one client a quarter of them; each is kept on the disk until git has read it. Those beyond wait as clones do",
			field: func(c *config) pflag.Value { return &countValue{&c.LimitReceiving} }},
		{key: "limits.git_memory", preset: "64MiB", help: "most memory of its own for a git process that serves a clone, as a `SIZE`; one that compares or maintains may have twice as much, one of a push eight times",
			field: func(c *config) pflag.Value { return &sizeValue{&c.LimitGitMemory} }},

		{key: "limits.applications", section: "Applications", preset: strconv.Itoa(bounds.Applications), help: "most names of applications, those of destroyed ones included, a `NUMBER`; an old name can be used again",
			field: func(c *config) pflag.Value { return &countValue{&c.Bounds.Applications} }},
		{key: "limits.applications_each", preset: strconv.Itoa(bounds.ApplicationsOf), help: "the same of one owner, a `NUMBER`",
			field: func(c *config) pflag.Value { return &countValue{&c.Bounds.ApplicationsOf} }},
		{key: "limits.specs", preset: "256MiB", help: "most bytes that the overrides and audiences of all applications have together, as a `SIZE`, since they are kept in memory; a quarter of it for one owner",
			field: func(c *config) pflag.Value { return &sizeValue{&c.Bounds.Specs} }},
		{key: "limits.users", preset: strconv.Itoa(bounds.Workspaces), help: "most users who have a repository of notebooks, a `NUMBER`; who asks for a first one beyond is answered 409",
			field: func(c *config) pflag.Value { return &countValue{&c.Bounds.Workspaces} }},
		{key: "environment", preset: "{}", help: "`VARIABLES` that packages read as ${environment_<key>}, also shown by /environment/endpoints; what is a secret by its key (password, token, apiKey, credential, …) or as a text (a URL with a password, a private key) is left out of both",
			field: func(c *config) pflag.Value { return &environmentValue{&c.Environment} }},
		{key: "oozie_spark_version", preset: "2", help: "Spark `VERSION` that oozie components may ask for, 1 or 2",
			field: func(c *config) pflag.Value { return &choiceValue{&c.OozieSparkVersion, []string{"1", "2"}} }},
		{key: "deployer_thread_limit", preset: "100", help: "most applications that change at once, a `NUMBER`",
			field: func(c *config) pflag.Value { return &countValue{&c.DeployerThreads} }},

		{key: "package_callback", section: "Other programs", help: "`URL` that is told of every change of a package; empty means none",
			field: func(c *config) pflag.Value { return &textValue{to: &c.PackageCallback, check: optionalURL} }},
		{key: "application_callback", help: "`URL` that is told of every change of an application; empty means none",
			field: func(c *config) pflag.Value { return &textValue{to: &c.AppCallback, check: optionalURL} }},
		{key: "cors.origins", help: "`ORIGINS`, such as https://console.example.org, whose pages may read and change here, on all ports and never with credentials of the browser's; empty means none",
			field: func(c *config) pflag.Value { return &listValue{&c.Origins} }},
		{key: "log.level", preset: "info", help: "least important `LEVEL` that is logged: debug, info, warn or error",
			field: func(c *config) pflag.Value { return &levelValue{&c.LogLevel} }},
		{key: "log.format", preset: formatText, help: "`FORMAT` of the log on standard error: text or json",
			field: func(c *config) pflag.Value { return &choiceValue{&c.LogFormat, []string{formatText, formatJSON}} }},
	}, engineOptions()...)
}
