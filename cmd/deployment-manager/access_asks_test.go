package main

import (
	"fmt"
	"net/http"
	"strings"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/pushtest"
)

// accessAsks says how each route is asked, so that whoever may gets its success.
// Each changes something when it is allowed, so each puts in order what it needs.
var accessAsks = map[string]func(*accessWorld, caller) ask{
	"packages GET /packages":         at("/packages"),
	"packages GET /packages/{file}":  at("/packages/flow-1.0.0.tar.gz"),
	"packages HEAD /packages/{file}": at("/packages/flow-1.0.0.tar.gz"),
	"packages PUT /packages/{file}": func(w *accessWorld, _ caller) ask {
		id := fmt.Sprintf("flow-2.%d.0", w.next())
		return ask{path: "/packages/" + id + ".tar.gz", body: string(crashArchive(id, id))}
	},
	"packages DELETE /packages/{file}": func(w *accessWorld, _ caller) ask {
		return ask{path: "/packages/" + w.unused("packages DELETE", func() string {
			id := fmt.Sprintf("flow-3.%d.0", w.next())
			w.offer(id)
			return id
		}) + ".tar.gz"}
	},

	"manager GET /packages":                   at("/packages"),
	"manager GET /packages/{id}":              at("/packages/flow-1.0.0"),
	"manager GET /packages/{id}/status":       at("/packages/flow-1.0.0/status"),
	"manager GET /packages/{id}/applications": at("/packages/flow-1.0.0/applications"),
	"manager GET /repository/packages":        at("/repository/packages"),
	"manager GET /environment/endpoints":      at("/environment/endpoints"),
	"manager GET /selftest/all":               at("/selftest/all"),
	"manager PUT /packages/{id}": func(w *accessWorld, _ caller) ask {
		return ask{path: "/packages/" + w.unused("manager PUT", func() string {
			id := fmt.Sprintf("flow-4.%d.0", w.next())
			w.offer(id)
			return id
		})}
	},
	"manager DELETE /packages/{id}": func(w *accessWorld, _ caller) ask {
		return ask{path: "/packages/" + w.unused("manager DELETE", func() string {
			id := fmt.Sprintf("flow-5.%d.0", w.next())
			w.offer(id)
			w.deploy(id)
			return id
		})}
	},

	"manager GET /applications":                of("/applications", "", dm.Created),
	"manager GET /applications/{name}":         of("/applications/{name}", "", dm.Created),
	"manager GET /applications/{name}/status":  of("/applications/{name}/status", "", dm.Created),
	"manager GET /applications/{name}/detail":  of("/applications/{name}/detail", "", dm.Created),
	"manager GET /applications/{name}/summary": of("/applications/{name}/summary", "", dm.Created),
	"manager PUT /applications/{name}": func(w *accessWorld, _ caller) ask {
		return ask{path: fmt.Sprint("/applications/new-", w.next()), body: `{"package":"flow-1.0.0"}`}
	},
	"manager DELETE /applications/{name}":     of("/applications/{name}", "", dm.Created),
	"manager POST /applications/{name}/start": of("/applications/{name}/start", "", dm.Created),
	"manager POST /applications/{name}/stop":  of("/applications/{name}/stop", "", dm.Started),

	"manager GET /api/v1/applications/{name}":          of("/api/v1/applications/{name}", "", dm.Created),
	"manager GET /api/v1/applications/{name}/audience": of("/api/v1/applications/{name}/audience", "", dm.Created),
	"manager GET /api/v1/applications/{name}/logs":     of("/api/v1/applications/{name}/logs", "", dm.Created),
	"manager GET /api/v1/applications/{name}/history":  of("/api/v1/applications/{name}/history", "", dm.Created),
	"manager GET /api/v1/applications/{name}/diff": func(w *accessWorld, c caller) ask {
		w.ensure(c.app, dm.Created)
		_, newest, _ := w.state(c.app)
		return ask{path: fmt.Sprintf("/api/v1/applications/%s/diff?format=text&from=1&to=%d", c.app, newest)}
	},
	"manager GET /api/v1/packages/{name}/history":               at("/api/v1/packages/flow/history"),
	"manager GET /api/v1/packages/{name}/diff":                  at("/api/v1/packages/flow/diff?from=1.0.0&to=1.1.0"),
	"manager GET /api/v1/at":                                    at("/api/v1/at?time=2024-01-01T00:00:00Z"),
	"manager GET /api/v1/events":                                at("/api/v1/events?after=0&limit=1"),
	"manager PUT /api/v1/applications/{name}":                   changed,
	"manager PUT /api/v1/applications/{name}" + alone:           own(changed),
	"manager POST /api/v1/applications/{name}/rollback":         rolledBack,
	"manager POST /api/v1/applications/{name}/rollback" + alone: own(rolledBack),

	"manager GET /files/{address:.+}": func(w *accessWorld, c caller) ask {
		w.ensure(c.app, dm.Created)
		f := dm.DeliveredFile{Application: dm.ApplicationName(c.app), Type: "jupyter", Component: "report", Path: "report.ipynb"}
		content := w.bare("applications/"+c.app+".git", "show", "main:components/jupyter/report/report.ipynb")
		return ask{path: w.addressOf(f, content)}
	},

	"git GET /sync.sh": at("/sync.sh"),
	"git GET /tools.git/info/refs?service=git-upload-pack":                 at("/tools.git/info/refs?service=git-upload-pack"),
	"git GET /tools.git/info/refs?service=git-receive-pack":                at("/tools.git/info/refs?service=git-receive-pack"),
	"git GET /jupyter-{user}[.git]/head":                                   at("/jupyter-ana/head"),
	"git GET /jupyter-{user}[.git]/info/refs?service=git-upload-pack":      at("/jupyter-ana/info/refs?service=git-upload-pack"),
	"git GET /jupyter-{user}[.git]/info/refs?service=git-receive-pack":     at("/jupyter-ana/info/refs?service=git-receive-pack"),
	"git GET /packages/{name}[.git]/info/refs?service=git-upload-pack":     at("/packages/flow.git/info/refs?service=git-upload-pack"),
	"git GET /packages/{name}[.git]/info/refs?service=git-receive-pack":    at("/packages/flow.git/info/refs?service=git-receive-pack"),
	"git GET /applications/{app}[.git]/info/refs?service=git-upload-pack":  of("/applications/{name}.git/info/refs?service=git-upload-pack", "", dm.Created),
	"git GET /applications/{app}[.git]/info/refs?service=git-receive-pack": of("/applications/{name}.git/info/refs?service=git-receive-pack", "", dm.Created),
	"git POST /tools.git/git-upload-pack": func(w *accessWorld, _ caller) ask {
		return fetch("/tools.git", w.bare("tools.git", "rev-parse", "amd64"))
	},
	"git POST /tools.git/git-receive-pack": func(*accessWorld, caller) ask {
		return pushedFile("/tools.git", "refs/heads/amd64")
	},
	"git POST /jupyter-{user}[.git]/git-upload-pack": func(w *accessWorld, _ caller) ask {
		return fetch("/jupyter-ana", w.main("users/ana.git"))
	},
	"git POST /packages/{name}[.git]/git-upload-pack": func(w *accessWorld, _ caller) ask {
		return fetch("/packages/flow.git", w.main("packages/flow.git"))
	},
	"git POST /applications/{app}[.git]/git-upload-pack": func(w *accessWorld, c caller) ask {
		w.ensure(c.app, dm.Created)
		return fetch("/applications/"+c.app+".git", w.main("applications/"+c.app+".git"))
	},
	"git POST /jupyter-{user}[.git]/git-receive-pack": func(*accessWorld, caller) ask {
		return pushedFile("/jupyter-ana", "refs/heads/main")
	},
	"git POST /packages/{name}[.git]/git-receive-pack": func(w *accessWorld, _ caller) ask {
		version := fmt.Sprintf("6.%d.0", w.next())
		notebook, properties := pushtest.BlobOf(string(crashNotebook(version, "x"))), pushtest.BlobOf("{}")
		report := pushtest.TreeOf(pushtest.File("properties.json", properties), pushtest.File("report.ipynb", notebook))
		jupyter := pushtest.TreeOf(pushtest.Folder("report", report))
		top := pushtest.TreeOf(pushtest.Folder("jupyter", jupyter))
		return push("/packages/flow.git", pushtest.Zero, "refs/tags/"+version, notebook, properties, report, jupyter, top,
			pushtest.CommitOf(top.ID(), "Publish.\n"))
	},
	"git POST /applications/{app}[.git]/git-receive-pack":         proposed,
	"git POST /applications/{app}[.git]/git-receive-pack" + alone: own(proposed),

	"packages GET /livez": at("/livez"), "packages GET /readyz": at("/readyz"), "packages GET /metrics": at("/metrics"),
	"manager GET /livez": at("/livez"), "manager GET /readyz": at("/readyz"), "manager GET /metrics": at("/metrics"),
	"git GET /livez": at("/livez"), "git GET /readyz": at("/readyz"), "git GET /metrics": at("/metrics"),
}

// alone marks the row of an application that delivers to its owner alone: changing
// one that delivers to others as well needs the right to deliver to them.
const alone = ", for its owner alone"

// own asks about that one.
func own(how func(*accessWorld, caller) ask) func(*accessWorld, caller) ask {
	return func(w *accessWorld, c caller) ask {
		delete(w.known, "own") // the column names another, so nobody notes what is done
		c.app = "own"
		return how(w, c)
	}
}

func changed(w *accessWorld, c caller) ask {
	w.ensure(c.app, dm.Created)
	return ask{path: "/api/v1/applications/" + c.app, body: `{"overrides":{"jupyter":{"report":{"topic":"` + delivered + `"}}}}`}
}

func rolledBack(w *accessWorld, c caller) ask {
	w.ensure(c.app, dm.Created)
	_, newest, _ := w.state(c.app)
	return ask{path: "/api/v1/applications/" + c.app + "/rollback", body: fmt.Sprintf(`{"to":%d}`, newest)}
}

// proposed pushes another package for the application.
func proposed(w *accessWorld, c caller) ask {
	w.ensure(c.app, dm.Created)
	other := "flow-1.1.0"
	if _, _, now := w.state(c.app); now == other {
		other = "flow-1.0.0"
	}
	main := w.main("applications/" + c.app + ".git")
	spec := pushtest.BlobOf(`{"package": "` + other + `"}`)
	tree := pushtest.TreeOf(pushtest.File("application.json", spec))
	return push("/applications/"+c.app+".git", main, "refs/heads/main", spec, tree, pushtest.CommitOf(tree.ID(), "Change.\n", main))
}

// pushedFile pushes a commit of one file.
func pushedFile(repository, ref string) ask {
	blob := pushtest.BlobOf("x")
	tree := pushtest.TreeOf(pushtest.File("x", blob))
	return push(repository, pushtest.Zero, ref, blob, tree, pushtest.CommitOf(tree.ID(), "Push.\n"))
}

// at asks for a path that is the same for everybody.
func at(path string) func(*accessWorld, caller) ask {
	return func(*accessWorld, caller) ask { return ask{path: path} }
}

// of asks about the column's application in a phase.
func of(path, body string, phase dm.Phase) func(*accessWorld, caller) ask {
	return func(w *accessWorld, c caller) ask {
		w.ensure(c.app, phase)
		return ask{path: strings.ReplaceAll(path, "{name}", c.app), body: body}
	}
}

// fetch asks for one commit with all that it leads to.
func fetch(repository, commit string) ask {
	body := pushtest.Packet("command=fetch") + pushtest.Packet("object-format=sha1") + "0001" +
		pushtest.Packet("want "+commit+"\n") + pushtest.Packet("done\n") + pushtest.Flush
	return ask{path: repository + "/git-upload-pack", body: body, header: http.Header{
		"Content-Type": {"application/x-git-upload-pack-request"}, "Git-Protocol": {"version=2"},
	}}
}

// push asks to move a ref to the last of the objects.
func push(repository, old, ref string, objects ...pushtest.Object) ask {
	items := make([]pushtest.Item, len(objects))
	for i, o := range objects {
		items[i] = pushtest.ItemOf(o)
	}
	command := old + " " + objects[len(objects)-1].ID() + " " + ref + "\x00 report-status agent=test"
	return ask{path: repository + "/git-receive-pack", body: pushtest.Packet(command) + pushtest.Flush + string(pushtest.Pack(items...)),
		header: http.Header{"Content-Type": {"application/x-git-receive-pack-request"}}}
}
