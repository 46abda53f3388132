package v1

import (
	"maps"
	"net/http"
	"slices"
	"time"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/apihandlers"
)

func (a *API) audienceRoutes() []apihandlers.Route {
	return []apihandlers.Route{{
		Name: "v1-audience", Method: http.MethodGet, Path: "/api/v1/applications/{name}/audience", Access: apihandlers.Reading,
		Actions: []dm.Action{dm.ApplicationOverrides, dm.ApplicationChange}, Success: http.StatusOK, Handle: a.audience,
		Summary:  "To whom an application delivers, and who of them has fetched which deployment, and when: all whom the audience names, the members of its groups that the configuration names, and everybody else who has come. `deployment` and `time` are null for who has fetched nothing of it yet; `current` is true where its files are those that are delivered now. Who may not change the application sees themselves only.",
		Response: `{"application":"noon-run","deployment":2,"audience":["group:class-7","user:bob"],"users":[{"user":"ana","deployment":2,"current":true,"time":"2025-01-06T10:21:00Z"},{"user":"bob","deployment":null,"current":false,"time":null}]}`,
	}}
}

type audience struct {
	Application dm.ApplicationName `json:"application"`
	Deployment  int                `json:"deployment"`
	Audience    []dm.Subject       `json:"audience"`
	Users       []receiver         `json:"users"`
}

type receiver struct {
	User       dm.UserName `json:"user"`
	Deployment *int        `json:"deployment"`
	Current    bool        `json:"current"`
	Time       *time.Time  `json:"time"`
}

func (a *API) audience(w http.ResponseWriter, r *http.Request) error {
	const op = "v1.audience"
	app, err := apihandlers.ReadApplication(r, a.Policy, a.Applications.Application)
	if err != nil {
		return err
	}
	if !app.Known {
		return notCreated(apihandlers.Var(r, "name"))
	}
	actor, err := apihandlers.Actor(r)
	if err != nil {
		return err
	}
	if err := a.Policy.Authorize(actor, dm.ApplicationOverrides, app.Resource()); err != nil {
		return err
	}
	fetched, err := a.Deliveries.Receivers(app.Spec.Name)
	if err != nil {
		return dm.Wrap(op, err)
	}
	answer := audience{Application: app.Spec.Name, Deployment: app.Deployment, Audience: app.Spec.Receivers(), Users: []receiver{}}
	for _, u := range a.everybody(answer.Audience, fetched) {
		if !a.mayFollow(actor, app.Resource(), u) {
			continue
		}
		line := receiver{User: u}
		if f := fetched[u]; f.Deployment > 0 {
			line = receiver{u, &f.Deployment, f.Current, &f.Time}
		}
		answer.Users = append(answer.Users, line)
	}
	apihandlers.WriteJSON(w, http.StatusOK, answer)
	return nil
}

// everybody are those whom the audience names and those who have come, in byte order.
func (a *API) everybody(subjects []dm.Subject, fetched map[dm.UserName]dm.Fetch) []dm.UserName {
	users := slices.Collect(maps.Keys(fetched))
	for _, subject := range subjects {
		if u, ok := subject.User(); ok {
			users = append(users, u)
		} else if group, ok := subject.Group(); ok {
			users = append(users, a.Directory.Members(group)...)
		}
	}
	slices.Sort(users)
	return slices.Compact(users)
}

// mayFollow tells whether the actor may know what a user fetched of an application.
func (a *API) mayFollow(actor dm.Actor, on dm.Resource, user dm.UserName) bool {
	return actor.User == user || a.Policy.Authorize(actor, dm.ApplicationChange, on) == nil
}
